from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import losses


def test_squared_error_gradient(differences, rng):
    prediction, target = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(
        losses.squared_error_gradient(prediction, target),
        differences(lambda v: losses.squared_error(v, target), prediction),
        atol=1e-9,
    )


def test_cross_entropy_gradients(differences, rng):
    logits, targets = rng.normal(size=(4, 6)), rng.integers(6, size=4)
    np.testing.assert_allclose(
        losses.cross_entropy_gradient(logits, targets),
        differences(lambda v: losses.cross_entropy(v, targets), logits),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        losses.label_smoothed_cross_entropy_gradient(logits, targets, 0.1),
        differences(lambda v: losses.label_smoothed_cross_entropy(v, targets, 0.1), logits),
        atol=1e-9,
    )


def test_no_smoothing_is_plain_cross_entropy(rng):
    logits, targets = rng.normal(size=(4, 6)), rng.integers(6, size=4)
    assert losses.label_smoothed_cross_entropy(logits, targets, 0.0) == pytest.approx(
        losses.cross_entropy(logits, targets)
    )


def test_binary_cross_entropy_is_the_two_class_case(differences, rng):
    logits, targets = rng.normal(size=8), rng.integers(2, size=8)
    two = np.stack([np.zeros(8), logits], axis=-1)
    assert losses.binary_cross_entropy(logits, targets) == pytest.approx(losses.cross_entropy(two, targets))
    np.testing.assert_allclose(
        losses.binary_cross_entropy_gradient(logits, targets),
        differences(lambda v: losses.binary_cross_entropy(v, targets), logits),
        atol=1e-9,
    )


def test_binary_cross_entropy_far_out():
    assert losses.binary_cross_entropy(np.array([1e4, -1e4]), np.array([1.0, 0.0])) == 0.0


def test_causal_lm_loss_gradient(differences, rng):
    logits, ids = rng.normal(size=(2, 4, 5)), rng.integers(5, size=(2, 4))
    counted = np.array([[True, True, False, True], [True, False, False, True]])
    np.testing.assert_allclose(
        losses.causal_lm_loss_gradient(logits, ids, counted),
        differences(lambda v: losses.causal_lm_loss(v, ids, counted), logits),
        atol=1e-9,
    )


def test_causal_lm_loss_is_one_mean_over_the_whole_batch(rng):
    """Two texts of different length: the mean over tokens, which is not the mean of the two means."""
    logits, ids = rng.normal(size=(2, 6, 5)), rng.integers(5, size=(2, 6))
    counted = np.arange(6) < np.array([[6], [3]])
    each = [losses.causal_lm_loss(logits[i : i + 1], ids[i : i + 1], counted[i : i + 1]) for i in range(2)]
    whole = losses.causal_lm_loss(logits, ids, counted)
    assert whole == pytest.approx((5 * each[0] + 2 * each[1]) / 7)
    assert abs(whole - sum(each) / 2) > 1e-3


def test_causal_lm_loss_never_reads_the_last_logits(rng):
    logits, ids, counted = (
        rng.normal(size=(1, 4, 5)),
        rng.integers(5, size=(1, 4)),
        np.ones((1, 4), dtype=bool),
    )
    before = losses.causal_lm_loss(logits, ids, counted)
    logits[:, -1] += 7.0 * rng.normal(size=5)
    assert losses.causal_lm_loss(logits, ids, counted) == before


def test_masked_lm_loss_gradient(differences, rng):
    logits, ids = rng.normal(size=(2, 4, 5)), rng.integers(5, size=(2, 4))
    masked = np.array([[True, True, False, True], [True, False, False, True]])
    np.testing.assert_allclose(
        losses.masked_lm_loss_gradient(logits, ids, masked),
        differences(lambda v: losses.masked_lm_loss(v, ids, masked), logits),
        atol=1e-9,
    )


def test_permutation_lm_loss_gradient(differences, rng):
    logits, ids = rng.normal(size=(2, 4, 5)), rng.integers(5, size=(2, 4))
    order = np.array([[2, 0, 3, 1], [3, 2, 1, 0]])
    np.testing.assert_allclose(
        losses.permutation_lm_loss_gradient(logits, ids, order, 2),
        differences(lambda v: losses.permutation_lm_loss(v, ids, order, 2), logits),
        atol=1e-9,
    )


def test_permutation_lm_over_all_places_is_a_chain_rule(rng):
    """In any order the whole loss, times T, is minus the log-probability of the text."""
    logits, ids, order = rng.normal(size=(1, 4, 5)), rng.integers(5, size=(1, 4)), np.array([[2, 0, 3, 1]])
    each = [losses.cross_entropy(logits[0, t : t + 1], ids[0, t : t + 1]) for t in range(4)]
    assert losses.permutation_lm_loss(logits, ids, order, 4) == pytest.approx(np.mean(each))
    assert losses.permutation_lm_loss(logits, ids, order, 1) == pytest.approx(each[1])


def test_the_natural_order_gives_the_causal_mask():
    mask = losses.factorisation_mask(np.arange(5)[None], content=True)[0]
    assert (mask == np.tri(5, dtype=bool)).all()
