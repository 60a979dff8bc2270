"""One step of a cell is torch's, and its gradient by hand is the slope."""

from __future__ import annotations

import pytest
import torch

from zhixing.nn.recurrent import GATES, RecurrentLayer
from zhixing.nn.recurrent_step import move

BATCH, WIDTH = 3, 5
CELLS = {"rnn": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}


def drawn(cell, seed=0):
    torch.manual_seed(seed)
    gates = len(GATES[cell]) * WIDTH
    state = [torch.randn(BATCH, WIDTH).double() for _ in range(2 if cell == "lstm" else 1)]
    return [torch.randn(BATCH, gates).double() for _ in range(2)], state


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_torchs(cell):
    layer, theirs, x = RecurrentLayer(cell, 4, WIDTH), CELLS[cell](4, WIDTH), torch.randn(BATCH, 4)
    names = {"weight_ih": "input.weight", "weight_hh": "recurrent.weight", "bias_ih": "input.bias"}
    ours = layer.state_dict() | {"recurrent.bias": torch.randn_like(layer.recurrent.bias)}
    layer.load_state_dict(ours)
    theirs.load_state_dict({n: ours[m] for n, m in names.items()} | {"bias_hh": ours["recurrent.bias"]})
    state = tuple(torch.randn(BATCH, WIDTH) for _ in range(2 if cell == "lstm" else 1))
    expected = theirs(x, state if cell == "lstm" else state[0])
    found = layer.stepper()(layer.input(x), state)
    for a, b in zip(found, expected if cell == "lstm" else (expected,), strict=True):
        torch.testing.assert_close(a, b)
    _, read = layer(x[:, None], state)
    for a, b in zip(found, read, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_by_hand_is_the_slope(cell):
    shares, state = drawn(cell)
    given = [each.requires_grad_() for each in (*shares, *state)]
    assert torch.autograd.gradcheck(lambda a, b, *s: move(cell, a, b, s), given)


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_given_is_changed(cell):
    shares, state = drawn(cell)
    before = [each.clone() for each in (*shares, *state)]
    move(cell, *shares, tuple(state))
    assert all(torch.equal(a, b) for a, b in zip((*shares, *state), before, strict=True))


def test_coarse_numbers_are_computed_in_float32():
    layer = RecurrentLayer("gru", 4, WIDTH).to(torch.bfloat16)
    (found,) = layer.stepper()(torch.randn(BATCH, 3 * WIDTH).bfloat16(), layer.new_state(BATCH))
    assert found.dtype == torch.float32
