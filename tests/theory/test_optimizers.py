from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from zhixing.theory import optimizers


def run_torch(optimizer, parameter, gradients, **settings):
    value = torch.nn.Parameter(torch.tensor(parameter))
    run = optimizer([value], **settings)
    for gradient in gradients:
        value.grad = torch.tensor(gradient)
        run.step()
    return value.detach().numpy()


@pytest.fixture
def walk(rng):
    return rng.normal(size=(3, 4)), [rng.normal(size=(3, 4)) for _ in range(6)]


def test_sgd_momentum_nesterov_rmsprop(walk):
    start, gradients = walk
    plain, polyak, ahead, scaled = start, start, start, start
    v, w, s = np.zeros_like(start), np.zeros_like(start), np.zeros_like(start)
    for g in gradients:
        plain = optimizers.sgd(plain, g, 0.1)
        polyak, v = optimizers.momentum(polyak, g, v, 0.1)
        ahead, w = optimizers.nesterov(ahead, g, w, 0.1)
        scaled, s = optimizers.rmsprop(scaled, g, s, 0.1)
    np.testing.assert_allclose(plain, run_torch(torch.optim.SGD, start, gradients, lr=0.1))
    np.testing.assert_allclose(polyak, run_torch(torch.optim.SGD, start, gradients, lr=0.1, momentum=0.9))
    oracle = run_torch(torch.optim.SGD, start, gradients, lr=0.1, momentum=0.9, nesterov=True)
    np.testing.assert_allclose(ahead, oracle)
    np.testing.assert_allclose(scaled, run_torch(torch.optim.RMSprop, start, gradients, lr=0.1))


def test_adam_and_adamw(walk):
    start, gradients = walk
    a, b = start, start
    state = other = (np.zeros_like(start), np.zeros_like(start))
    for step, g in enumerate(gradients, start=1):
        a, state = optimizers.adam(a, g, state, step, 0.01)
        b, other = optimizers.adamw(b, g, other, step, 0.01, weight_decay=0.3)
    np.testing.assert_allclose(a, run_torch(torch.optim.Adam, start, gradients, lr=0.01))
    np.testing.assert_allclose(b, run_torch(torch.optim.AdamW, start, gradients, lr=0.01, weight_decay=0.3))


def test_muon_agrees_with_torch_to_bfloat16(walk):
    """torch's own Muon iterates in bfloat16, so agreement is to two digits of the step."""
    start, gradients = walk
    value, velocity = start, np.zeros_like(start)
    for g in gradients:
        value, velocity = optimizers.muon(value, g, velocity, 0.02, decay=0.95, weight_decay=0.1)
    oracle = run_torch(torch.optim.Muon, start, gradients, lr=0.02, momentum=0.95, weight_decay=0.1)
    np.testing.assert_allclose(value, oracle, atol=6 * 0.02 * 0.02)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_the_polar_factor_is_reached(shape, rng):
    """Against the singular value decomposition, whose U V^T is the limit."""
    matrix = rng.normal(size=shape)
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    polar = optimizers.newton_schulz(matrix, optimizers.polar_express_schedule(12, safety=1.0))
    np.testing.assert_allclose(polar, u @ v, atol=1e-9)


def test_jordans_quintic_lands_between_bounds(rng):
    matrix = rng.normal(size=(8, 8))
    values = np.linalg.svd(optimizers.newton_schulz(matrix, [optimizers.JORDAN] * 5), compute_uv=False)
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_polar_express_is_near_one_sooner_than_jordan():
    """Over [1e-3, 1] its largest error after eight steps is far below the fixed quintic's."""
    singular = np.geomspace(1e-3, 1.0, 400)

    def largest_error(schedule):
        x = singular
        for a, b, c in schedule:
            x = a * x + b * x**3 + c * x**5
        return np.abs(x - 1).max()

    assert largest_error(optimizers.POLAR_EXPRESS) < 1e-6
    assert largest_error([optimizers.JORDAN] * 8) > 0.2


@pytest.mark.parametrize("index", range(4))
def test_each_polynomial_equioscillates(index):
    """The mark of a minimax quintic on [l, u]: the largest error is met at both ends and between, in turn."""
    low, high = 1e-3, 1.0
    for step, (a, b, c) in enumerate(optimizers.POLAR_EXPRESS[: index + 1]):
        x = np.linspace(low, high, 200001)
        error = 1 - (a * x + b * x**3 + c * x**5)
        if step == index:
            break
        low, high = 1 - np.abs(error).max(), 1 + np.abs(error).max()
    largest = np.abs(error).max()
    assert error.max() == pytest.approx(largest, rel=0.02)
    assert -error.min() == pytest.approx(largest, rel=0.02)
    assert error[0] == pytest.approx(largest, rel=0.02)


def test_clipping_against_torch(rng):
    gradients = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    clipped, norm = optimizers.clip_by_global_norm(gradients, 1.0)
    values = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for value, gradient in zip(values, gradients, strict=True):
        value.grad = torch.tensor(gradient)
    assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(values, 1.0).item())
    for ours, value in zip(clipped, values, strict=True):
        np.testing.assert_allclose(ours, value.grad.numpy(), rtol=1e-5)
    assert np.sqrt(sum((g**2).sum() for g in clipped)) == pytest.approx(1.0)


def test_small_and_zero_gradients_are_left_alone():
    zero, small = np.zeros(3), np.array([0.1, 0.2])
    assert (optimizers.clip_by_global_norm([zero], 1.0)[0][0] == zero).all()
    np.testing.assert_array_equal(optimizers.clip_by_global_norm([small], 1.0)[0][0], small)


def test_accumulation_equals_the_whole_batch(rng):
    """Least squares on eight rows: 1x8, 2x4 and uneven 3+5 give the gradient of the whole mean."""
    x, y, w = rng.normal(size=(8, 3)), rng.normal(size=8), rng.normal(size=3)

    def summed(rows):
        return 2 * x[rows].T @ (x[rows] @ w - y[rows])

    whole = summed(slice(0, 8)) / 8
    for cuts in ([0, 4, 8], [0, 3, 8], list(range(9))):
        parts = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        got = optimizers.accumulate([summed(p) for p in parts], [p.stop - p.start for p in parts])
        np.testing.assert_allclose(got, whole)
