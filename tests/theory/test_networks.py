from __future__ import annotations

import itertools

import numpy as np
import pytest

from zhixing.theory import networks

PAIRS = [
    (networks.sigmoid, networks.sigmoid_derivative),
    (networks.tanh, networks.tanh_derivative),
    (networks.relu, networks.relu_derivative),
    (networks.squared_relu, networks.squared_relu_derivative),
    (networks.silu, networks.silu_derivative),
    (networks.gelu, networks.gelu_derivative),
    (networks.gelu_tanh, networks.gelu_tanh_derivative),
]


@pytest.mark.parametrize(("function", "derivative"), PAIRS, ids=lambda f: f.__name__)
def test_derivatives_match_differences(function, derivative, differences, rng):
    x = rng.normal(size=50) * 2
    x = x[np.abs(x) > 0.01]  # a kink at 0 has no derivative
    np.testing.assert_allclose(derivative(x), differences(function, x), atol=1e-9)


@pytest.mark.parametrize("function", [networks.sigmoid, networks.tanh, networks.silu, networks.gelu_tanh])
def test_no_overflow_far_out(function):
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(function(np.array([-1e4, 1e4]))).all()


def test_tanh_is_tanh(rng):
    x = rng.normal(size=100) * 3
    np.testing.assert_allclose(networks.tanh(x), np.tanh(x), atol=1e-15)


def test_gelu_approximation_is_as_close_as_said():
    x = np.linspace(-8, 8, 4001)
    assert np.abs(networks.gelu(x) - networks.gelu_tanh(x)).max() < 5e-4


def test_affine_gradient(differences, rng):
    x, weight, bias, upstream = (rng.normal(size=s) for s in ((3, 4), (4, 2), (2,), (3, 2)))
    by_hand = networks.affine_gradient(x, weight, upstream)
    np.testing.assert_allclose(
        by_hand[0], differences(lambda v: networks.affine(v, weight, bias), x, upstream), atol=1e-9
    )
    np.testing.assert_allclose(
        by_hand[1], differences(lambda v: networks.affine(x, v, bias), weight, upstream), atol=1e-9
    )
    np.testing.assert_allclose(
        by_hand[2], differences(lambda v: networks.affine(x, weight, v), bias, upstream), atol=1e-9
    )


def test_swiglu_gradient(differences, rng):
    values = [rng.normal(size=s) for s in ((3, 4), (4, 5), (4, 5), (5, 4))]
    upstream = rng.normal(size=(3, 4))
    for index, gradient in enumerate(networks.swiglu_gradient(*values, upstream)):

        def function(v, index=index):
            return networks.swiglu(*values[:index], v, *values[index + 1 :])

        np.testing.assert_allclose(gradient, differences(function, values[index], upstream), atol=1e-8)


def test_softmax_gradients(differences, rng):
    x, upstream = rng.normal(size=(3, 5)), rng.normal(size=(3, 5))
    np.testing.assert_allclose(
        networks.softmax_gradient(x, upstream), differences(networks.softmax, x, upstream), atol=1e-9
    )
    np.testing.assert_allclose(
        networks.log_softmax_gradient(x, upstream), differences(networks.log_softmax, x, upstream), atol=1e-9
    )


def test_softmax_survives_large_scores_and_forbidden_places():
    x = np.array([1000.0, 1000.0, -np.inf])
    np.testing.assert_allclose(networks.softmax(x), [0.5, 0.5, 0.0])


def test_back_propagation_through_three_layers(differences, rng):
    sizes = [3, 5, 4, 2]
    layers = [(rng.normal(size=(i, o)), rng.normal(size=o)) for i, o in itertools.pairwise(sizes)]
    x, upstream = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))

    def output(v, place):
        changed = [list(layer) for layer in layers]
        if place is not None:
            changed[place[0]][place[1]] = v
        return networks.network_forward(v if place is None else x, changed, networks.silu)[-1]

    dx, gradients = networks.network_backward(x, layers, networks.silu, networks.silu_derivative, upstream)
    np.testing.assert_allclose(dx, differences(lambda v: output(v, None), x, upstream), atol=1e-7)
    for place in ((layer, part) for layer in range(3) for part in range(2)):
        by_differences = differences(lambda v, p=place: output(v, p), layers[place[0]][place[1]], upstream)
        np.testing.assert_allclose(gradients[place[0]][place[1]], by_differences, atol=1e-7)
