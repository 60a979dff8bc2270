from __future__ import annotations

import numpy as np

from zhixing.theory import optimizers, regularisation


def test_dropout_keeps_the_expectation_and_its_gradient(differences, rng):
    x = rng.normal(size=(4, 3))
    masks = rng.random((20000, 4, 3)) >= 0.3
    mean = np.mean([regularisation.dropout(x, mask, 0.3) for mask in masks], axis=0)
    np.testing.assert_allclose(mean, x, atol=0.05)
    upstream, mask = rng.normal(size=(4, 3)), masks[0]
    np.testing.assert_allclose(
        regularisation.dropout(upstream, mask, 0.3),
        differences(lambda v: regularisation.dropout(v, mask, 0.3), x, upstream),
        atol=1e-9,
    )


def test_penalty_gradients(differences, rng):
    w = rng.normal(size=(3, 4))
    np.testing.assert_allclose(
        regularisation.l1_gradient(w, 0.2),
        differences(lambda v: regularisation.l1_penalty(v, 0.2), w),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        regularisation.l2_gradient(w, 0.2),
        differences(lambda v: regularisation.l2_penalty(v, 0.2), w),
        atol=1e-9,
    )


def test_l2_is_decoupled_decay_under_sgd_only(rng):
    w, g = rng.normal(size=4), rng.normal(size=4)
    penalised = g + regularisation.l2_gradient(w, 0.3)
    decayed = optimizers.sgd(optimizers.decoupled_decay(w, 0.1, 0.3), g, 0.1)
    np.testing.assert_allclose(optimizers.sgd(w, penalised, 0.1), decayed)
    zeros = (np.zeros(4), np.zeros(4))
    coupled, _ = optimizers.adam(w, penalised, zeros, 1, 0.1)
    decoupled, _ = optimizers.adamw(w, g, zeros, 1, 0.1, weight_decay=0.3)
    assert np.abs(coupled - decoupled).max() > 1e-3
