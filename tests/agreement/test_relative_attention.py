"""Rows of relative attention hold for every seed and number type, and catch what is broken on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from zhixing.agreement.families.relative_attention import ROWS
from zhixing.agreement.run import check
from zhixing.nn import relative_attention as practice
from zhixing.pretraining import permutation

CPU = torch.device("cpu")
ATTEND, MASKS, SEGMENTS = (
    practice.attend_relative,
    practice.two_stream_masks,
    practice.RelativeAttention._segment_scores,
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_rows_hold_for_every_seed(row, dtype) -> None:
    for seed in range(5):
        result = check(row, CPU, dtype, seed=seed)
        assert result.ok, (seed, result)


def _attend(**changes):
    """Attention with some arguments replaced by functions of themselves."""
    names = ("query", "key", "value", "distance", "content_bias", "position_bias", "sight", "segment")

    def broken(*given):
        named = dict(zip(names, given, strict=True))
        return ATTEND(*(changes.get(name, lambda x: x)(value) for name, value in named.items()))

    return lambda patch: patch.setattr(practice, "attend_relative", broken)


def _exchanged_biases(query, key, value, distance, u, v, sight, segment):
    return ATTEND(query, key, value, distance, v, u, sight, segment)


def _even_where_nothing_is_seen(query, key, value, distance, u, v, sight, segment):
    seen = sight.mask | ~sight.mask.any(-1, keepdim=True)
    return ATTEND(query, key, value, distance, u, v, practice.Sight(seen, sight.starts, sight.differs), segment)


BROKEN = {
    "waves: interleaved as in 2017": (
        "distance_waves",
        lambda patch: patch.setattr(
            practice,
            "distance_waves",
            lambda *given, f=practice.distance_waves: f(*given).unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2),
        ),
    ),
    "shift: one column off": (
        "relative_shift",
        lambda patch: patch.setattr(
            practice, "relative_shift", lambda x, keys, f=practice.relative_shift: f(x.roll(1, -1), keys)
        ),
    ),
    "ranks: the given count too": (
        "given_rank",
        lambda patch: patch.setattr(
            permutation, "given_rank", lambda n, chosen, f=permutation.given_rank: f(n, chosen[::-1])
        ),
    ),
    "masks: a query sees itself": (
        "masks",
        lambda patch: patch.setattr(practice, "two_stream_masks", lambda r, q, *d: MASKS(r, q + 1, *d)),
    ),
    "masks: documents run together": (
        "masks",
        lambda patch: patch.setattr(practice, "two_stream_masks", lambda r, q, *_: MASKS(r, q)),
    ),
    "layer: distances with the other sign": ("layer", _attend(distance=lambda x: x.flip(1))),
    "layer: no bias for content": ("layer", _attend(content_bias=torch.zeros_like)),
    "layer: biases exchanged": (
        "layer",
        lambda patch: patch.setattr(practice, "attend_relative", _exchanged_biases),
    ),
    "layer: segments forgotten": ("layer", _attend(segment=torch.zeros_like)),
    "layer: segments exchanged": (
        "layer",
        lambda patch: patch.setattr(practice.RelativeAttention, "_segment_scores", lambda s, q, d: SEGMENTS(s, q, ~d)),
    ),
    "two streams: no scale": ("two_streams", _attend(query=lambda x: 2 * x)),
    "two streams: the query stands one place off": (
        "two_streams",
        lambda patch: patch.setattr(
            practice, "pick_distances", lambda x, s, k, f=practice.pick_distances: f(x, s + 1, k)
        ),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, breaks = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == f"relative_attention.{name}")
    assert check(row, CPU, torch.float32, seed=0).ok
    breaks(monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 10 * result.bound
    assert math.isfinite(result.error), result.worst


def test_a_query_that_sees_nothing_must_not_see_everything(monkeypatch) -> None:
    """Where an order is predicted whole, its first query sees nothing."""
    (row,) = (row for row in ROWS if row.name == "relative_attention.two_streams")

    def first_of_all(rng):
        inputs = row.inputs(rng)
        return inputs | {"query_rank": inputs["query_rank"] * 0}

    hard = replace(row, inputs=first_of_all)
    assert check(hard, CPU, torch.float32, seed=0).ok
    monkeypatch.setattr(practice, "attend_relative", _even_where_nothing_is_seen)
    assert not check(hard, CPU, torch.float32, seed=0).ok
