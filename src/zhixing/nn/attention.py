"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2) in the three situations a decoder meets.

- training on windows: causal, one fused kernel;
- training on windows that hold several documents: causal within each document;
- decoding with a cache: queries at known positions see the slots up to their own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``softmax(Q Kᵀ / sqrt(E) + mask) V``.

    Args:
        query: (B, H, T, E).
        key: (B, G, S, E), ``G`` dividing ``H``: each key-value head serves ``H / G`` query heads (Ainslie et al. 2023).
        value: (B, G, S, E).
        mask: boolean, broadcastable to (B, 1, T, S), True where a query may look; None: causal with ``T == S``.

    Returns:
        (B, H, T, E).
    """
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )


def document_mask(documents: Tensor) -> Tensor:
    """Return the (B, 1, T, T) mask of "not later, and in the same document" for (B, T) document numbers."""
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same = documents[:, :, None] == documents[:, None, :]
    return (same & causal).unsqueeze(1)


def cache_mask(positions: Tensor, slots: int) -> Tensor:
    """Return the (B, 1, T, slots) mask that lets a query at each of the (B, T) positions see slots up to its own."""
    slot = torch.arange(slots, device=positions.device)
    return (slot <= positions[:, :, None]).unsqueeze(1)
