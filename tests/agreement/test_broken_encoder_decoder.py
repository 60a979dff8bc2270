"""Rows of decoder steps catch a look from the wrong state, a dropped squash, padding that is seen."""

from __future__ import annotations

import math

import pytest
import torch

from zhixing.agreement.families.encoder_decoder import ROWS
from zhixing.agreement.run import check
from zhixing.models import transformer
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

ORIGINAL = "transformer.original"


def _without_cross_norm(self, x, reading, layer, source, mask):
    x = self.attention_norm(x + self.attention.causal(x, reading, layer))
    x = x + self.cross(x, *source, mask)
    return self.feed_forward_norm(x + self.feed_forward(x))


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
    "embeddings are not scaled": (
        ORIGINAL,
        transformer.Transformer,
        "_embed",
        lambda self, ids, slots: self.token_embedding(ids) + self.places[: ids.shape[1]],
    ),
    "a decoder sees what is to come": (
        ORIGINAL,
        transformer.SelfAttention,
        "causal",
        lambda self, x, reading, layer: self.forward(x, None),
    ),
    "the norm of the cross attention is left out": (
        ORIGINAL,
        transformer.DecoderBlock,
        "forward",
        lambda self, x, reading, layer, source, mask: _without_cross_norm(self, x, reading, layer, source, mask),
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
