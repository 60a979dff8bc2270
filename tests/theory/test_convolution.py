"""Convolution and the feed-forward language model: every gradient is the slope, and each sees what it should."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import convolution as theory

B, T, I, O, K = 2, 5, 3, 4, 3  # noqa: E741


def test_the_convolution_is_a_sum_over_lags(rng):
    x, weight, bias = rng.normal(size=(B, T, I)), rng.normal(size=(K, I, O)), rng.normal(size=O)
    found = theory.causal_convolution(x, weight, bias)
    for place in range(T):
        expected = bias + sum(x[:, place - lag] @ weight[lag] for lag in range(K) if lag <= place)
        np.testing.assert_allclose(found[:, place], expected)


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_gradients_of_the_convolution(kernel, rng, differences):
    """Also of a kernel longer than the text."""
    x, weight, bias = rng.normal(size=(B, T, I)), rng.normal(size=(kernel, I, O)), rng.normal(size=O)
    upstream = rng.normal(size=(B, T, O))
    dx, d_weight, d_bias = theory.causal_convolution_gradient(x, weight, upstream)
    convolve = theory.causal_convolution
    np.testing.assert_allclose(dx, differences(lambda v: convolve(v, weight, bias), x, upstream), atol=1e-9)
    np.testing.assert_allclose(d_weight, differences(lambda v: convolve(x, v, bias), weight, upstream), atol=1e-9)
    np.testing.assert_allclose(d_bias, differences(lambda v: convolve(x, weight, v), bias, upstream), atol=1e-9)


def test_gradients_of_the_gated_linear_unit(rng, differences):
    value, gate, upstream = rng.normal(size=(3, B, T))
    d_value, d_gate = theory.gated_linear_unit_gradient(value, gate, upstream)
    unit = theory.gated_linear_unit
    np.testing.assert_allclose(d_value, differences(lambda v: unit(v, gate), value, upstream), atol=1e-9)
    np.testing.assert_allclose(d_gate, differences(lambda v: unit(value, v), gate, upstream), atol=1e-9)


def test_the_receptive_field_is_what_moves_the_last_answer(rng):
    kernel, layers, length = 3, 4, 15
    weights = rng.normal(size=(layers, kernel, 2, 2))

    def last(x):
        for weight in weights:
            x = x + theory.causal_convolution(x, weight, np.zeros(2))
        return x[0, -1]

    x = rng.normal(size=(1, length, 2))
    moved = [np.abs(last(x + (np.arange(length) == t)[:, None]) - last(x)).max() > 1e-9 for t in range(length)]
    seen = theory.receptive_field(kernel, layers)
    assert moved == [False] * (length - seen) + [True] * seen


def test_the_largest_over_time(rng, differences):
    x, lengths, upstream = rng.normal(size=(B, T, O)), np.array([5, 2]), rng.normal(size=(B, O))
    found = theory.maximum_over_time(x, lengths)
    np.testing.assert_array_equal(found[1], x[1, :2].max(axis=0))
    slope = differences(lambda v: theory.maximum_over_time(v, lengths), x, upstream)
    np.testing.assert_allclose(theory.maximum_over_time_gradient(x, lengths, upstream), slope, atol=1e-9)


def test_a_feed_forward_model_is_a_convolution_of_embeddings(rng):
    """The map of a window is a causal convolution, its blocks being the lags."""
    embedded, hidden, bias = rng.normal(size=(B, T, I)), rng.normal(size=(K * I, O)), rng.normal(size=O)
    by_lag = hidden.reshape(K, I, O)[::-1]  # the newest token's block is the last
    expected = theory.causal_convolution(embedded, by_lag, bias)
    np.testing.assert_allclose(theory.window(embedded, K) @ hidden + bias, expected)


def test_gradients_of_the_feed_forward_model(rng, differences):
    parts = {
        "x": rng.normal(size=(6, I)),
        "hidden": rng.normal(size=(I, O)),
        "bias": rng.normal(size=O),
        "output": rng.normal(size=(O, 7)),
        "direct": rng.normal(size=(I, 7)),
    }
    upstream = rng.normal(size=(6, 7))
    found = theory.feed_forward_scores_gradient(**parts, upstream=upstream)
    for gradient, (name, value) in zip(found, parts.items(), strict=True):
        slope = differences(lambda v, name=name: theory.feed_forward_scores(**{**parts, name: v}), value, upstream)
        np.testing.assert_allclose(gradient, slope, atol=1e-9, err_msg=name)
