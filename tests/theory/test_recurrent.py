"""Recurrent cells and back-propagation through time: every gradient is the slope, and what the gates promise holds."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import recurrent
from zhixing.theory.recurrent import Weights

STEPS, ROWS, INPUT, WIDTH = 5, 2, 3, 4
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def weights_of(rng, kind, scale=0.6):
    shapes = ((INPUT, GATES[kind] * WIDTH), (WIDTH, GATES[kind] * WIDTH), (GATES[kind] * WIDTH,))
    return Weights(*(scale * rng.normal(size=shape) for shape in (*shapes, shapes[-1])))


def replaced(weights, part):
    return lambda value: weights._replace(**{part: value})


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_gradients_of_a_step(kind, rng, differences):
    cell, gradient = getattr(recurrent, f"{kind}_cell"), getattr(recurrent, f"{kind}_cell_gradient")
    x, h, p = rng.normal(size=(ROWS, INPUT)), rng.normal(size=(ROWS, WIDTH)), weights_of(rng, kind)
    upstream = rng.normal(size=(ROWS, WIDTH))
    dx, dh, dp = gradient(x, h, p, upstream)
    np.testing.assert_allclose(dx, differences(lambda v: cell(v, h, p), x, upstream), atol=1e-9)
    np.testing.assert_allclose(dh, differences(lambda v: cell(x, v, p), h, upstream), atol=1e-9)
    for part, found in dp._asdict().items():
        put = replaced(p, part)
        expected = differences(lambda v, put=put: cell(x, h, put(v)), getattr(p, part), upstream)
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["rnn", "gru"])
def test_gradients_through_time(kind, rng, differences):
    function, gradient = getattr(recurrent, kind), getattr(recurrent, f"{kind}_gradient")
    x, h, p = rng.normal(size=(STEPS, ROWS, INPUT)), rng.normal(size=(ROWS, WIDTH)), weights_of(rng, kind)
    upstream = rng.normal(size=(STEPS, ROWS, WIDTH))
    dx, dh, dp = gradient(x, h, p, upstream)
    np.testing.assert_allclose(dx, differences(lambda v: function(v, h, p), x, upstream), atol=1e-9)
    np.testing.assert_allclose(dh, differences(lambda v: function(x, v, p), h, upstream), atol=1e-9)
    for part, found in dp._asdict().items():
        put = replaced(p, part)
        expected = differences(lambda v, put=put: function(x, h, put(v)), getattr(p, part), upstream)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_gradients_of_an_lstm_step_reach_both_results(rng, differences):
    x, p = rng.normal(size=(ROWS, INPUT)), weights_of(rng, "lstm")
    h, m, up_h, up_m = (rng.normal(size=(ROWS, WIDTH)) for _ in range(4))
    both = np.stack([up_h, up_m])
    dx, dh, dm, dp = recurrent.lstm_cell_gradient(x, h, m, p, up_h, up_m)

    def step(*arguments):
        return np.stack(recurrent.lstm_cell(*arguments))

    np.testing.assert_allclose(dx, differences(lambda v: step(v, h, m, p), x, both), atol=1e-9)
    np.testing.assert_allclose(dh, differences(lambda v: step(x, v, m, p), h, both), atol=1e-9)
    np.testing.assert_allclose(dm, differences(lambda v: step(x, h, v, p), m, both), atol=1e-9)
    for part, found in dp._asdict().items():
        put = replaced(p, part)
        expected = differences(lambda v, put=put: step(x, h, m, put(v)), getattr(p, part), both)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_gradients_of_an_lstm_through_time(rng, differences):
    x, p = rng.normal(size=(STEPS, ROWS, INPUT)), weights_of(rng, "lstm")
    h, m = rng.normal(size=(2, ROWS, WIDTH))
    upstream = rng.normal(size=(STEPS, ROWS, WIDTH))

    def states(*arguments):
        return recurrent.lstm(*arguments)[0]

    dx, dh, dm, dp = recurrent.lstm_gradient(x, h, m, p, upstream)
    np.testing.assert_allclose(dx, differences(lambda v: states(v, h, m, p), x, upstream), atol=1e-9)
    np.testing.assert_allclose(dh, differences(lambda v: states(x, v, m, p), h, upstream), atol=1e-9)
    np.testing.assert_allclose(dm, differences(lambda v: states(x, h, v, p), m, upstream), atol=1e-9)
    for part, found in dp._asdict().items():
        put = replaced(p, part)
        expected = differences(lambda v, put=put: states(x, h, m, put(v)), getattr(p, part), upstream)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_the_past_is_read_and_the_future_is_not(rng):
    x, p = rng.normal(size=(STEPS, ROWS, INPUT)), weights_of(rng, "gru")
    changed = x.copy()
    changed[2] += 1.0
    before, after = (recurrent.gru(v, np.zeros((ROWS, WIDTH)), p) for v in (x, changed))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (np.abs(before[2:] - after[2:]).max(axis=(1, 2)) > 1e-6).all()


def test_a_text_read_in_two_parts_is_the_text_read_at_once(rng):
    x, p = rng.normal(size=(STEPS, ROWS, INPUT)), weights_of(rng, "lstm")
    zero = np.zeros((ROWS, WIDTH))
    whole, memories = recurrent.lstm(x, zero, zero, p)
    first, kept = recurrent.lstm(x[:2], zero, zero, p)
    rest, end = recurrent.lstm(x[2:], first[-1], kept[-1], p)
    np.testing.assert_allclose(np.concatenate([first, rest]), whole, rtol=1e-14)
    np.testing.assert_allclose(end[-1], memories[-1], rtol=1e-14)


def test_only_the_sum_of_both_biases_matters_but_for_the_gru_candidate(rng):
    x, h = rng.normal(size=(ROWS, INPUT)), rng.normal(size=(ROWS, WIDTH))
    shift = rng.normal(size=3 * WIDTH)

    def moved(p, by):
        return p._replace(input_bias=p.input_bias + by, recurrent_bias=p.recurrent_bias - by)

    gates_only = np.where(np.arange(3 * WIDTH) < 2 * WIDTH, shift, 0.0)
    p = weights_of(rng, "gru")
    np.testing.assert_allclose(recurrent.gru_cell(x, h, moved(p, gates_only)), recurrent.gru_cell(x, h, p))
    assert np.abs(recurrent.gru_cell(x, h, moved(p, shift)) - recurrent.gru_cell(x, h, p)).max() > 1e-3
    p = weights_of(rng, "rnn")
    np.testing.assert_allclose(recurrent.rnn_cell(x, h, moved(p, shift[:WIDTH])), recurrent.rnn_cell(x, h, p))


def test_an_lstm_keeps_over_a_hundred_steps_what_an_rnn_has_lost():
    """Gradient at the first token of a loss at the last: the forget gate near 1 against a matrix of norm 0.5."""
    steps, only_last = 100, np.zeros((100, 1, 1))
    only_last[-1] = 1.0
    x, zero = np.zeros((steps, 1, 1)), np.zeros((1, 1))
    plain = Weights(np.ones((1, 1)), np.full((1, 1), 0.5), np.zeros(1), np.zeros(1))
    open_gates = Weights(np.ones((1, 4)), np.zeros((1, 4)), np.array([0.0, 9.0, 0.0, 9.0]), np.zeros(4))
    lost = recurrent.rnn_gradient(x, zero, plain, only_last)[0][0, 0, 0]
    kept = recurrent.lstm_gradient(x, zero, zero, open_gates, only_last)[0][0, 0, 0]
    assert lost == pytest.approx(0.5**99)
    assert kept > 0.4


def test_cells_agree_with_another_implementation(rng):
    """Gate order and biases are those of torch's modules, so that weights can be exchanged."""
    torch = pytest.importorskip("torch")
    for kind, module in (("rnn", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)):
        p, x = weights_of(rng, kind), rng.normal(size=(STEPS, ROWS, INPUT))
        other = module(INPUT, WIDTH).double()
        pairs = zip(other.parameters(), (p.input.T, p.recurrent.T, p.input_bias, p.recurrent_bias), strict=True)
        with torch.no_grad():
            for theirs, ours in pairs:
                theirs.copy_(torch.from_numpy(np.ascontiguousarray(ours)))
            expected = other(torch.from_numpy(x))[0].numpy()
        zero = np.zeros((ROWS, WIDTH))
        found = recurrent.lstm(x, zero, zero, p)[0] if kind == "lstm" else getattr(recurrent, kind)(x, zero, p)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
