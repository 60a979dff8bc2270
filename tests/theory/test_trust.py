from __future__ import annotations

import math

import numpy as np
import pytest

from zhixing.theory import networks
from zhixing.theory import trust as theory


def _delta(epsilon: float, sigma: float) -> float:
    """The exact delta of a Gaussian of sensitivity 1: Balle and Wang (2018), theorem 8."""
    normal = lambda x: 0.5 * math.erfc(-x / math.sqrt(2.0))  # noqa: E731
    return normal(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * normal(-0.5 / sigma - epsilon * sigma)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("delta", [1e-3, 1e-6])
def test_the_gaussian_mechanism_keeps_its_promise(epsilon, delta):
    sigma = theory.gaussian_mechanism_sigma(epsilon, delta, 1.0)
    assert _delta(epsilon, sigma) <= delta
    assert _delta(epsilon, 0.4 * sigma) > delta  # and not by an unreasonable margin


def _renyi_by_quadrature(order: int, rate: float, sigma: float) -> float:
    z = np.linspace(-14 * sigma, 14 * sigma + order, 400_001)
    density = np.exp(-(z**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    ratio = (1 - rate) + rate * np.exp((2 * z - 1) / (2 * sigma**2))
    return math.log(float((density * ratio**order).sum() * (z[1] - z[0]))) / (order - 1)


@pytest.mark.parametrize(("order", "rate", "sigma"), [(2, 0.01, 1.0), (5, 0.1, 0.8), (16, 0.02, 1.5), (8, 0.5, 2.0)])
def test_the_accountant_is_the_integral(order, rate, sigma):
    assert theory.sampled_gaussian_rdp(order, rate, sigma) == pytest.approx(
        _renyi_by_quadrature(order, rate, sigma), rel=1e-6
    )


def test_sampling_hides():
    assert theory.sampled_gaussian_rdp(8, 0.01, 1.0) < 0.01 * theory.gaussian_rdp(8, 1.0)
    assert theory.sampled_gaussian_rdp(8, 1.0, 1.0) == pytest.approx(theory.gaussian_rdp(8, 1.0))


def test_more_steps_and_less_noise_cost_privacy():
    def spent(**change):
        return theory.private_training_epsilon(**{"rate": 0.01, "sigma": 1.0, "steps": 500, "delta": 1e-5, **change})

    assert spent() < spent(steps=2000) < 2 * spent()  # far less than four times: divergences add, not epsilons
    assert spent() < spent(sigma=0.7)
    assert spent() < spent(rate=0.05)
    assert spent() < spent(delta=1e-8)


def test_one_step_of_everyone_is_near_the_plain_mechanism():
    sigma = theory.gaussian_mechanism_sigma(0.9, 1e-5, 1.0)
    assert theory.private_training_epsilon(1.0, sigma, 1, 1e-5) == pytest.approx(0.9, rel=0.1)


def test_clipping(rng):
    gradient = rng.normal(size=10)
    assert np.linalg.norm(theory.clip_record(gradient, 0.5)) == pytest.approx(0.5)
    assert np.array_equal(theory.clip_record(gradient, 100.0), gradient)
    assert not theory.clip_record(np.zeros(3), 1.0).any()


def test_attributions_are_complete(rng):
    """Of a network with one hidden layer: they sum to the difference of the outputs."""
    first, second = rng.normal(size=(5, 4)), rng.normal(size=5)
    x, baseline = rng.normal(size=4), np.zeros(4)
    value = lambda v: float(second @ np.tanh(first @ v))  # noqa: E731
    gradient = lambda v: (second * (1 - np.tanh(first @ v) ** 2)) @ first  # noqa: E731
    found = theory.integrated_gradients(gradient, x, baseline, steps=200)
    assert found.sum() == pytest.approx(value(x) - value(baseline), abs=1e-4)
    # The plain product of gradient and input is not.
    assert abs((gradient(x) * x).sum() - (value(x) - value(baseline))) > 0.01


def test_rollout_keeps_shares(rng):
    attention = networks.softmax(rng.normal(size=(3, 6, 6)))
    rollout = theory.attention_rollout(attention)
    np.testing.assert_allclose(rollout.sum(axis=-1), 1.0)
    assert np.allclose(theory.attention_rollout(attention, residual=1.0), np.eye(6))
    causal = np.tril(attention) / np.tril(attention).sum(-1, keepdims=True)
    assert not np.triu(theory.attention_rollout(causal), 1).any()


def test_rollout_multiplies_later_layers_from_the_left():
    first, second = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    rollout = theory.attention_rollout(np.stack([first, second]), residual=0.0)
    assert rollout.tolist() == (second @ first).tolist() != (first @ second).tolist()
