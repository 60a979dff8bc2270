from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import compression as theory


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_element_is_off_by_more_than_half_a_step(rng, bits):
    x = rng.normal(size=(20, 64)) * rng.exponential(size=(20, 1))
    codes, scale = theory.quantise(x, bits)
    assert np.abs(codes).max() == theory.largest_code(bits)
    error = np.abs(x - theory.dequantise(codes, scale))
    assert (error <= theory.quantisation_error_bound(x, bits) * (1 + 1e-12)).all()
    assert error.max() > 0.4 * scale.min()


def test_zeros_stay_zeros():
    codes, scale = theory.quantise(np.zeros((2, 3)), 8)
    assert not theory.dequantise(codes, scale).any()


def test_a_product_is_off_by_no_more_than_its_bound(rng):
    weight, x = rng.normal(size=(30, 16)), rng.normal(size=16)
    error = np.abs(weight @ x - theory.dequantise(*theory.quantise(weight, 4)) @ x)
    assert (error <= theory.product_error_bound(weight, x, 4)).all()


def test_groups_contain_an_outlier(rng):
    x = rng.normal(size=(4, 128))
    x[:, 0] = 50.0
    errors = [np.abs(x - theory.quantise_groups(x, 4, group))[:, 32:].max() for group in (128, 32)]
    assert errors[1] < 0.2 * errors[0]
    assert np.array_equal(theory.quantise_groups(x, 4, 128), theory.dequantise(*theory.quantise(x, 4)))


def test_the_smallest_weights_go(rng):
    x = rng.normal(size=(8, 8))
    mask = theory.magnitude_mask(x, 0.25)
    assert (~mask).sum() == 16
    assert np.abs(x[~mask]).max() < np.abs(x[mask]).min()
    assert theory.magnitude_mask(x, 0.0).all()
    assert theory.magnitude_mask(np.ones(4), 0.5).tolist() == [False, False, True, True]


def test_distillation_gradient(differences, rng):
    student, teacher, targets = rng.normal(size=(3, 5)), 2 * rng.normal(size=(3, 5)), rng.integers(5, size=3)
    np.testing.assert_allclose(
        theory.soft_target_loss_gradient(student, teacher, 2.5),
        differences(lambda v: theory.soft_target_loss(v, teacher, 2.5), student),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        theory.distillation_loss_gradient(student, teacher, targets, 2.5, 0.7),
        differences(lambda v: theory.distillation_loss(v, teacher, targets, 2.5, 0.7), student),
        atol=1e-9,
    )


def test_hot_distillation_matches_logits(rng):
    """At high temperature the gradient is that of squared error of centred logits: Hinton et al., equation 4."""
    student, teacher = rng.normal(size=(2, 6)), rng.normal(size=(2, 6))
    centred = (student - student.mean(-1, keepdims=True)) - (teacher - teacher.mean(-1, keepdims=True))
    np.testing.assert_allclose(theory.soft_target_loss_gradient(student, teacher, 1e4), centred / 6 / 2, atol=1e-4)


def test_nothing_to_learn_from_oneself(rng):
    logits = rng.normal(size=(2, 6))
    assert theory.soft_target_loss(logits, logits + 3.0, 2.0) == pytest.approx(0.0, abs=1e-12)
