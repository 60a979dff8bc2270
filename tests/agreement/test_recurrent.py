"""Recurrent layers and attention agree with the formulas, and layers that are broken on purpose do not."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from zhixing.agreement.families.recurrent import ROWS
from zhixing.agreement.run import check
from zhixing.models import recurrent as model
from zhixing.nn import recurrent, recurrent_attention

CPU = torch.device("cpu")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_practice_computes_what_the_theory_says(row, dtype) -> None:
    result = check(row, CPU, dtype, seed=0)
    assert result.ok, result


def _exchanged_gates(self, x, state, lengths, weights):
    """Forget where the candidate should be: another library's order."""
    moved = [torch.cat([part.chunk(4)[gate] for gate in (0, 2, 1, 3)]) for part in weights]
    outputs, h, m = torch.lstm(x, [each[None] for each in state], moved, True, 1, 0.0, True, False, True)
    return outputs, (h[0], m[0])


def _truncated(ctx, upstream):
    """Each step's own gradient, nothing carried back."""
    states, first, weight = ctx.saved_tensors
    deltas = upstream * (1 - states.square())
    before = recurrent._before(states, first)
    return deltas, deltas[0] @ weight, recurrent._weight_gradient(deltas, before)


def _reset_before_the_matrix(ctx, inputs, first, weight, bias):
    """The GRU as printed in 2014: the reset gate on the state, not on its product."""
    states, state, width = [], first, first.shape[-1]
    for given in inputs:
        r, z = torch.sigmoid(
            given[:, : 2 * width] + functional.linear(state, weight[: 2 * width], bias[: 2 * width])
        ).chunk(2, dim=-1)
        n = torch.tanh(given[:, 2 * width :] + functional.linear(r * state, weight[2 * width :], bias[2 * width :]))
        state = torch.lerp(n, state, z)
        states.append(state)
    ctx.save_for_backward(*(torch.zeros_like(inputs), *(torch.stack(states),) * 2), first, weight)
    return torch.stack(states)


RIGHT_FUSED, RIGHT_MIX, RIGHT_READ = recurrent.RecurrentLayer._fused, recurrent_attention._mix, model.Recurrent._read
BROKEN = {
    "rnn: truncated at one step": (
        "recurrent.rnn",
        lambda patch: patch.setattr(recurrent._RNN, "backward", staticmethod(_truncated)),
    ),
    "lstm: gates in another order": (
        "recurrent.lstm",
        lambda patch: patch.setattr(recurrent.RecurrentLayer, "_fused", _exchanged_gates),
    ),
    "gru: reset before the matrix": (
        "recurrent.gru",
        lambda patch: patch.setattr(recurrent._GRU, "forward", staticmethod(_reset_before_the_matrix)),
    ),
    "gru_of_ragged_rows: padding read as text": (
        "recurrent.gru_of_ragged_rows",
        lambda patch: patch.setattr(
            recurrent.RecurrentLayer,
            "_fused",
            lambda self, x, state, lengths, weights: RIGHT_FUSED(self, x, state, None, weights),
        ),
    ),
    "lstm_model_with_state: the state is forgotten": (
        "recurrent.lstm_model_with_state",
        lambda patch: patch.setattr(
            model.Recurrent,
            "_read",
            lambda self, ids, state, lengths: RIGHT_READ(self, ids, self.new_cache(len(ids)), lengths),
        ),
    ),
    "gru_tied_model: the embedding is not scaled": (
        "recurrent.gru_tied_model",
        lambda patch: patch.setattr(
            model.Recurrent, "embedding_scale", property(lambda _: 1.0, lambda *_: None), raising=False
        ),
    ),
    "additive_attention: padding attended to": (
        "recurrent.additive_attention",
        lambda patch: patch.setattr(recurrent_attention, "_mix", lambda s, a, _: RIGHT_MIX(s, a, None)),
    ),
    "dot_attention: scaled as in the Transformer": (
        "recurrent.dot_attention",
        lambda patch: patch.setattr(
            recurrent_attention, "_mix", lambda s, a, m: RIGHT_MIX(s / math.sqrt(a.shape[-1]), a, m)
        ),
    ),
    "concat_attention: not squashed": (
        "recurrent.concat_attention",
        lambda patch: patch.setattr(
            recurrent_attention, "additive_scores", lambda q, k, v: (q[:, :, None] + k[:, None]) @ v
        ),
    ),
    "multiplicative_attention: scaled as in the Transformer": (
        "recurrent.multiplicative_attention",
        lambda patch: patch.setattr(
            recurrent_attention, "_mix", lambda s, a, m: RIGHT_MIX(s / math.sqrt(a.shape[-1]), a, m)
        ),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, breaks = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == name)
    assert check(row, CPU, torch.float32, seed=0).ok
    breaks(monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 10 * result.bound
    assert math.isfinite(result.error), result.worst
