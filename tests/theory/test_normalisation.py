from __future__ import annotations

import numpy as np

from zhixing.theory import normalisation


def test_layer_norm_gradient(differences, rng):
    x, gain, shift, upstream = (rng.normal(size=s) for s in ((3, 5), (5,), (5,), (3, 5)))
    dx, dgain, dshift = normalisation.layer_norm_gradient(x, gain, upstream)
    norm = normalisation.layer_norm
    np.testing.assert_allclose(dx, differences(lambda v: norm(v, gain, shift), x, upstream), atol=1e-8)
    np.testing.assert_allclose(dgain, differences(lambda v: norm(x, v, shift), gain, upstream), atol=1e-8)
    np.testing.assert_allclose(dshift, differences(lambda v: norm(x, gain, v), shift, upstream), atol=1e-8)


def test_rms_norm_gradient(differences, rng):
    x, gain, upstream = (rng.normal(size=s) for s in ((2, 3, 5), (5,), (2, 3, 5)))
    dx, dgain = normalisation.rms_norm_gradient(x, gain, upstream)
    norm = normalisation.rms_norm
    np.testing.assert_allclose(dx, differences(lambda v: norm(v, gain), x, upstream), atol=1e-8)
    np.testing.assert_allclose(dgain, differences(lambda v: norm(x, v), gain, upstream), atol=1e-8)


def test_what_the_norms_ignore(rng):
    x, one = rng.normal(size=(3, 6)), np.ones(6)
    layer = normalisation.layer_norm(x, one, 0 * one, epsilon=0.0)
    np.testing.assert_allclose(normalisation.layer_norm(3 * x + 7, one, 0 * one, epsilon=0.0), layer)
    root = normalisation.rms_norm(x, one, epsilon=0.0)
    np.testing.assert_allclose(normalisation.rms_norm(3 * x, one, epsilon=0.0), root)
    assert np.abs(normalisation.rms_norm(3 * x + 7, one, epsilon=0.0) - root).max() > 0.1
