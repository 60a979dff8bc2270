"""Attention and its masks against ``zhixing.nn.attention``, and a whole layer against
``zhixing.models.gpt2``.

Shapes: B = 2, H = 4 heads on G = 2 groups, T = 7, E = 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.models import gpt2
from zhixing.nn import attention as practice
from zhixing.nn import cache, sliding_window
from zhixing.theory import attention as theory

BATCH, HEADS, GROUPS, LENGTH, WIDTH = 2, 4, 2, 7, 8
TOLERANCE = 16.0
WINDOW = 3
REASON = "sums of 8 products, a softmax over 7, sums of 7 products; scores of order 3 enter an exponential"


def _documents(rng: np.random.Generator) -> Any:
    return np.sort(rng.integers(0, 3, size=(BATCH, LENGTH)), axis=1)


def _grouped(rng: np.random.Generator) -> dict[str, Any]:
    return draw(
        query=normal(BATCH, HEADS, LENGTH, WIDTH),
        key=normal(BATCH, GROUPS, LENGTH, WIDTH),
        value=normal(BATCH, GROUPS, LENGTH, WIDTH),
    )(rng)


def _causal(query: Any, key: Any, value: Any) -> Any:
    mask = theory.causal_mask(query.shape[-2], key.shape[-2])
    return theory.grouped_query_attention(query, key, value, mask)


def _causal_derivative(query: Any, key: Any, value: Any, upstream: Any) -> dict[str, Any]:
    mask = theory.causal_mask(query.shape[-2], key.shape[-2])
    gradients = theory.attention_gradient(query, key, value, mask, upstream)
    return dict(zip(("query", "key", "value"), gradients, strict=True))


def _within_documents(query: Any, key: Any, value: Any, documents: Any) -> Any:
    parts = zip(query, key, value, documents, strict=True)
    return np.stack([theory.grouped_query_attention(q, k, v, theory.document_mask(d)) for q, k, v, d in parts])


def _cached(query: Any, key: Any, value: Any, positions: Any) -> Any:
    """The queries are the last of the text: their positions are S - T .. S - 1."""
    return theory.grouped_query_attention(query, key, value, theory.causal_mask(query.shape[-2], key.shape[-2]))


def _windowed(query: Any, key: Any, value: Any) -> Any:
    return theory.grouped_query_attention(query, key, value, theory.window_mask(LENGTH, LENGTH, WINDOW))


def _windowed_with_cache(query: Any, key: Any, value: Any) -> Any:
    """What decoding does: some tokens, then a block that overwrites their slots, then one more."""
    store = cache.KeyValueCache.empty(
        1, BATCH, GROUPS, WIDTH, like=key, capacity=1, limits=(sliding_window.slots_needed(WINDOW),)
    )
    parts = []
    for start, end in ((0, 2), (2, LENGTH - 1), (LENGTH - 1, LENGTH)):
        ids = torch.zeros(BATCH, end - start, dtype=torch.int64, device=key.device)
        reading = sliding_window.narrow(practice.plan_reading(ids, cache=store), WINDOW, ids)
        keys, values = reading.remember(0, key[:, :, start:end], value[:, :, start:end])
        parts.append(practice.attend(query[:, :, start:end], keys, values, reading.mask, reading.causal))
    return torch.cat(parts, dim=2)


def _multi_head(x: Any, query: Any, key: Any, value: Any, output: Any) -> Any:
    weights = theory.Projections(query, key, value, output)
    return theory.multi_head_attention(x, x, weights, HEADS, theory.causal_mask(LENGTH, LENGTH))


def _multi_head_practice(x: Any, query: Any, key: Any, value: Any, output: Any) -> Any:
    layer = gpt2.Attention(gpt2.GPT2Settings(width=HEADS * WIDTH, heads=HEADS))
    packed = torch.cat([query.T, key.T, value.T])
    weights = {"query_key_value.weight": packed, "output.weight": output.T}
    biases = {
        "query_key_value.bias": packed.new_zeros(len(packed)),
        "output.bias": packed.new_zeros(len(output)),
    }
    reading = practice.Reading(None, None, None, True, None)
    return functional_call(layer, weights | biases, (x, reading, 0))


ROWS: tuple[Row, ...] = (
    Row(
        name="attention.scaled_dot_product",
        family="attention",
        states=(theory.attention, theory.attention_gradient, theory.scores, theory.causal_mask),
        theory=_causal,
        practice=lambda query, key, value: practice.attend(query, key, value, causal=True),
        inputs=draw(**dict.fromkeys(("query", "key", "value"), normal(BATCH, HEADS, LENGTH, WIDTH))),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
        derivative=_causal_derivative,
    ),
    Row(
        name="attention.grouped_query",
        family="attention",
        states=(theory.grouped_query_attention,),
        theory=_causal,
        practice=lambda query, key, value: practice.attend(query, key, value, causal=True),
        inputs=_grouped,
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
    ),
    Row(
        name="attention.multi_head",
        family="attention",
        states=(theory.multi_head_attention, theory.split_heads, theory.join_heads),
        theory=_multi_head,
        practice=_multi_head_practice,
        inputs=draw(
            x=normal(BATCH, LENGTH, HEADS * WIDTH),
            **dict.fromkeys(("query", "key", "value", "output"), normal(HEADS * WIDTH, HEADS * WIDTH, scale=0.2)),
        ),
        tolerance=TOLERANCE,
        reason="as one head, between two more layers of sums of 32 products",
        gradient=True,
    ),
    Row(
        name="attention.document_mask",
        family="attention",
        states=(theory.document_mask,),
        theory=lambda documents: np.stack([theory.document_mask(row) for row in documents])[:, None],
        practice=lambda documents: practice.document_mask(documents),
        inputs=draw(documents=_documents),
        tolerance=0.0,
        reason="true or false",
    ),
    Row(
        name="attention.within_documents",
        family="attention",
        states=(theory.document_mask, theory.grouped_query_attention),
        theory=_within_documents,
        practice=lambda query, key, value, documents: practice.attend(
            query, key, value, practice.document_mask(documents)
        ),
        inputs=lambda rng: _grouped(rng) | {"documents": _documents(rng)},
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
    ),
    Row(
        name="attention.window_mask",
        family="attention",
        states=(theory.window_mask,),
        theory=lambda length: theory.window_mask(length, length, WINDOW),
        practice=lambda length: sliding_window.window_mask(int(length), WINDOW),
        inputs=draw(length=lambda rng: int(rng.integers(1, 9))),
        tolerance=0.0,
        reason="true or false",
    ),
    Row(
        name="attention.window_with_cache",
        family="attention",
        states=(theory.window_mask, theory.grouped_query_attention),
        theory=_windowed,
        practice=_windowed_with_cache,
        inputs=_grouped,
        tolerance=TOLERANCE,
        reason=REASON,
    ),
    Row(
        name="attention.with_cache",
        family="attention",
        states=(theory.causal_mask, theory.grouped_query_attention),
        theory=_cached,
        practice=lambda query, key, value, positions: practice.attend(
            query, key, value, practice.cache_mask(positions, key.shape[-2])
        ),
        inputs=draw(
            query=normal(BATCH, HEADS, 3, WIDTH),
            key=normal(BATCH, GROUPS, LENGTH, WIDTH),
            value=normal(BATCH, GROUPS, LENGTH, WIDTH),
            positions=np.tile(np.arange(LENGTH - 3, LENGTH), (BATCH, 1)),
        ),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
    ),
)
