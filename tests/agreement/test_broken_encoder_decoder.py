"""Rows of decoder steps catch a look from the wrong state, a dropped squash, padding that is seen."""

from __future__ import annotations

import math

import pytest
import torch

from zhixing.agreement.families.encoder_decoder import ROWS
from zhixing.agreement.run import check
from zhixing.nn import recurrent_attention as practice

CPU = torch.device("cpu")
ADDITIVE, MULTIPLICATIVE = (
    "recurrent.additive_decoder_step",
    "recurrent.multiplicative_decoder_step",
)
RIGHT_MIX, RIGHT_STEP, RIGHT_LOOK = (
    practice._mix,
    practice.LookThenMove.forward,
    practice.MoveThenLook.forward,
)


def _blind(scores, annotations, mask):
    return RIGHT_MIX(scores, annotations, None)


BROKEN = {
    "padding is seen": (ADDITIVE, practice, "_mix", _blind),
    "padding is seen too": (MULTIPLICATIVE, practice, "_mix", _blind),
    "it looks after it moved": (
        ADDITIVE,
        practice.LookThenMove,
        "forward",
        lambda self, token, state, source: RIGHT_STEP(self, token, RIGHT_STEP(self, token, state, source)[1], source),
    ),
    "context and token change places": (
        ADDITIVE,
        practice.LookThenMove,
        "forward",
        lambda self, token, state, source: (
            None,
            self.layer(
                torch.cat(
                    [self.attention(state[0][:, None], source.annotations, source.mask)[0], token[:, None]], dim=-1
                ),
                state,
            )[1],
        ),
    ),
    "the attentional state is not squashed": (
        MULTIPLICATIVE,
        practice.MoveThenLook,
        "forward",
        lambda self, states, source: torch.atanh(RIGHT_LOOK(self, states, source)),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, owner, function, broken = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == name)
    assert check(row, CPU, torch.float64, seed=0).ok
    monkeypatch.setattr(owner, function, broken)
    result = check(row, CPU, torch.float64, seed=0)
    assert not result.ok and result.error > 10 * result.bound
    assert math.isfinite(result.error), result.worst


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_rows_hold_for_every_seed(row, dtype) -> None:
    for seed in range(20):
        result = check(row, CPU, dtype, seed=seed)
        assert result.ok, (seed, result)
