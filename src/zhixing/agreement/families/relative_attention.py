"""Relative attention with two streams against ``zhixing.nn.relative_attention``, a layer against XLNet's.

Shapes: B = 2, H = 2 heads, T = 6, M = 3 places asked for, E = 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import relative_attention as practice
from zhixing.pretraining import permutation
from zhixing.theory import relative_attention as theory

BATCH, HEADS, LENGTH, ASKED, WIDTH = 2, 2, 6, 3, 4
FULL = HEADS * WIDTH
TOLERANCE = 32.0
REASON = "sums of 4 products each for content, distance and segment, a softmax over 6, sums of 6 products"
MAPS = ("query", "key", "value", "position", "output")
BIASES = ("content_bias", "position_bias", "segment_bias")


def _order(rng: np.random.Generator) -> Any:
    return np.stack([rng.permutation(LENGTH) for _ in range(BATCH)])


def _ranks(rng: np.random.Generator) -> dict[str, Any]:
    """An order, and the places that it predicts last, one of them behind the text; the rank of each."""
    order = _order(rng)
    rank = theory.given_rank(order, ASKED)
    places = order[:, LENGTH - ASKED :].copy()
    query_rank = np.take_along_axis(rank, places, axis=1)
    places[0, -1] = LENGTH
    return {"rank": rank, "places": places, "query_rank": query_rank}


def _given_rank(order: Any) -> Any:
    return np.stack([permutation.given_rank(LENGTH, row[LENGTH - ASKED :]) for row in order])


def _masks_theory(rank: Any, query_rank: Any, documents: Any) -> Any:
    same = documents[:, None, :] == documents[:, :, None]
    asked = documents[:, None, :] == documents[:, :ASKED, None]
    return [theory.content_mask(rank) & same, theory.query_mask(rank, query_rank) & asked]


def _masks_practice(rank: Any, query_rank: Any, documents: Any) -> Any:
    masks = practice.two_stream_masks(rank, query_rank, documents, documents[:, :ASKED])
    return [mask[:, 0] for mask in masks]


def _layer_inputs(rng: np.random.Generator) -> dict[str, Any]:
    inputs = draw(
        content=normal(BATCH, LENGTH, FULL),
        asking=normal(BATCH, ASKED, FULL),
        **dict.fromkeys(MAPS, normal(FULL, FULL, scale=0.5)),
        **dict.fromkeys(BIASES, normal(FULL, scale=0.5)),
        segment=normal(2, FULL, scale=0.5),
    )(rng)
    return inputs | _ranks(rng) | {"segments": np.sort(rng.integers(0, 3, size=(BATCH, LENGTH)), axis=1)}


def _weights(parts: dict[str, Any]) -> theory.RelativeWeights:
    return theory.RelativeWeights(**{name: parts[name] for name in (*MAPS, *BIASES, "segment")})


def _layer(asking: Any, content: Any, places: Any, rank: Any, query_rank: Any, segments: Any, **parts: Any) -> Any:
    """Both streams, one text at a time; the query stream belongs to the segment of the text's first tokens."""
    found = []
    for row in range(BATCH):
        differs = segments[row][:, None] != segments[row]
        sees = theory.content_mask(rank[row : row + 1])[0]
        asks = theory.query_mask(rank[row : row + 1], query_rank[row : row + 1])[0]
        weights, text = _weights(parts), content[row]
        own = theory.relative_attention(text, text, np.arange(LENGTH), weights, HEADS, sees, differs)
        other = theory.relative_attention(asking[row], text, places[row], weights, HEADS, asks, differs[:ASKED])
        found.append(np.concatenate([own, other]))
    return np.stack(found)


def _layer_practice(
    asking: Any, content: Any, places: Any, rank: Any, query_rank: Any, segments: Any, **parts: Any
) -> Any:
    layer = practice.RelativeAttention(FULL, HEADS, segments=True)
    maps = {f"{name}.weight": parts[name].T for name in ("query", "position", "output")}
    maps["key_value.weight"] = torch.cat([parts["key"].T, parts["value"].T])
    biases = {name: parts[name] for name in BIASES} | {"segment_embedding": parts["segment"]}
    see, ask = practice.two_stream_masks(rank, query_rank)
    differs = segments[:, :, None] != segments[:, None, :]
    streams = _Streams(layer)
    waves = practice.distance_waves(LENGTH, 1 - LENGTH, FULL, content)
    sights = practice.Sight(see, None, differs), practice.Sight(ask, LENGTH - places, differs[:, :ASKED])
    return functional_call(streams, _under("layer", maps | biases), (content, asking, waves, sights))


def _two_streams(asking: Any, content: Any, places: Any, rank: Any, query_rank: Any, **parts: Any) -> Any:
    silent = {"segment_bias": np.zeros(FULL), "segment": np.zeros((2, FULL))}
    rows = zip(content, asking, places, rank, query_rank, strict=True)
    found = [theory.two_streams(h, g, at, _weights(parts | silent), HEADS, r, q) for h, g, at, r, q in rows]
    return np.stack([np.concatenate(both) for both in found])


def _two_streams_practice(asking: Any, content: Any, places: Any, rank: Any, query_rank: Any, **parts: Any) -> Any:
    layer = practice.RelativeAttention(FULL, HEADS)
    maps = {f"{name}.weight": parts[name].T for name in ("query", "position", "output")}
    maps["key_value.weight"] = torch.cat([parts["key"].T, parts["value"].T])
    biases = {name: parts[name] for name in BIASES[:2]}
    see, ask = practice.two_stream_masks(rank, query_rank)
    waves = practice.distance_waves(LENGTH, 1 - LENGTH, FULL, content)
    sights = practice.Sight(see), practice.Sight(ask, LENGTH - places)
    return functional_call(_Streams(layer), _under("layer", maps | biases), (content, asking, waves, sights))


class _Streams(torch.nn.Module):
    """A layer that moves both streams, content first."""

    def __init__(self, layer: practice.RelativeAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, content: Any, asking: Any, waves: Any, sights: Any) -> Any:
        """Return (B, T + M, D)."""
        key, value = self.layer.keys_values(content)
        distance = self.layer.distances(waves)
        both = [self.layer(x, key, value, distance, s) for x, s in zip((content, asking), sights, strict=True)]
        return torch.cat(both, dim=1)


def _under(name: str, weights: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": weight for key, weight in weights.items()}


def _two_stream_inputs(rng: np.random.Generator) -> dict[str, Any]:
    inputs = _layer_inputs(rng)
    return {name: value for name, value in inputs.items() if name not in ("segments", "segment", "segment_bias")}


ROWS: tuple[Row, ...] = (
    Row(
        name="relative_attention.distance_waves",
        family="relative_attention",
        states=(theory.distance_waves,),
        theory=lambda like: theory.distance_waves(np.arange(9, -6, -1), 8),
        practice=lambda like: practice.distance_waves(9, -5, 8, like),
        inputs=draw(like=normal(1)),
        tolerance=16.0,
        reason="an angle of up to 9 is rounded before its sine is taken",
    ),
    Row(
        name="relative_attention.relative_shift",
        family="relative_attention",
        states=(theory.relative_shift,),
        theory=lambda by_distance: theory.relative_shift(by_distance, LENGTH),
        practice=lambda by_distance: practice.relative_shift(by_distance, LENGTH),
        inputs=draw(by_distance=normal(BATCH, HEADS, ASKED, ASKED + LENGTH)),
        tolerance=0.0,
        reason="numbers are moved, not computed",
        gradient=True,
    ),
    Row(
        name="relative_attention.given_rank",
        family="relative_attention",
        states=(theory.given_rank,),
        theory=lambda order: theory.given_rank(order, ASKED),
        practice=_given_rank,
        inputs=draw(order=_order),
        tolerance=0.0,
        reason="whole numbers",
        takes="arrays",
    ),
    Row(
        name="relative_attention.masks",
        family="relative_attention",
        states=(theory.content_mask, theory.query_mask),
        theory=_masks_theory,
        practice=_masks_practice,
        inputs=lambda rng: {
            **{name: value for name, value in _ranks(rng).items() if name != "places"},
            "documents": np.sort(rng.integers(0, 2, size=(BATCH, LENGTH)), axis=1),
        },
        tolerance=0.0,
        reason="yes or no",
    ),
    Row(
        name="relative_attention.layer",
        family="relative_attention",
        states=(theory.relative_attention, theory.relative_scores, theory.segment_scores, theory.mix),
        theory=_layer,
        practice=_layer_practice,
        inputs=_layer_inputs,
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
    ),
    Row(
        name="relative_attention.two_streams",
        family="relative_attention",
        states=(theory.two_streams,),
        theory=_two_streams,
        practice=_two_streams_practice,
        inputs=_two_stream_inputs,
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
    ),
)
