"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2) in the situations a decoder meets.

- reading windows or prompts: causal, one fused kernel, no mask in memory;
- reading windows that hold several documents: causal within each document;
- decoding with a cache: queries at known positions see the slots up to their own.

An encoder sees both ways; ``visible_mask`` keeps it from padding and from other documents.

``plan_reading`` decides which of them applies, once for all layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.nn.cache import KeyValueCache


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Return ``softmax(Q Kᵀ / sqrt(E) + mask) V``.

    Args:
        query: (B, H, T, E).
        key: (B, G, S, E), ``G`` dividing ``H``: a key-value head serves ``H / G`` query heads (Ainslie et al.
            2023).
        value: (B, G, S, E).
        mask: boolean, broadcastable to (B, 1, T, S), True where a query may look; None: everywhere.
        causal: query ``t`` sees keys ``0 .. t`` (``T == S``; not together with a mask).

    Returns:
        (B, H, T, E).
    """
    grouped = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, H * E) to (B, H, T, E)."""
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, H, T, E) to (B, T, H * E)."""
    return x.transpose(1, 2).flatten(2)


def document_mask(documents: Tensor) -> Tensor:
    """Return the (B, 1, T, T) mask of "not later, and in the same document" for (B, T) document numbers."""
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same = documents[:, :, None] == documents[:, None, :]
    return (same & causal).unsqueeze(1)


def visible_mask(ids: Tensor, documents: Tensor | None, lengths: Tensor | None) -> Tensor | None:
    """Return what an encoder's tokens may look at: all of their own document, before and after, but no padding.

    Args:
        ids: (B, T).
        documents: (B, T) document numbers; None: one document per row.
        lengths: (B,) how many ids of each row are real (right padding), at least one; None: all.

    Returns:
        Boolean, (B, 1, T, T) or (B, 1, 1, T), True where a query may look; None: everywhere.
    """
    mask = None
    if documents is not None:
        mask = (documents[:, :, None] == documents[:, None, :]).unsqueeze(1)
    if lengths is not None:
        real = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[:, None, None, :]
        mask = real if mask is None else mask & real
        # A padded place sees at least itself: a row of the mask without any True has no softmax.
        mask = mask if documents is None else mask | torch.eye(ids.shape[1], dtype=torch.bool, device=ids.device)
    return mask


def cache_mask(positions: Tensor, slots: int) -> Tensor:
    """Return the (B, 1, T, slots) mask by which queries at (B, T) positions see slots up to their own."""
    slot = torch.arange(slots, device=positions.device)
    return (slot <= positions[:, :, None]).unsqueeze(1)


@dataclass(frozen=True)
class Reading:
    """Where the tokens of one forward pass stand and what they may see, the same for every layer.

    Attributes:
        positions: (B, T) position of each token; None: 0 .. T-1 in every row.
        slots: (B, T) cache slot of each token; None without a cache.
        mask: as for ``attend``.
        causal: as for ``attend``.
        cache: where keys and values are kept; None: nowhere.
    """

    positions: Tensor | None
    slots: Tensor | None
    mask: Tensor | None
    causal: bool
    cache: KeyValueCache | None

    def remember(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store this layer's keys and values if there is a cache; return those to attend to."""
        if self.cache is None or self.slots is None:
            return key, value
        all_keys, all_values = self.cache.write(layer, key, value, self.slots)
        return (key, value) if self.causal else (all_keys, all_values)


def plan_reading(
    ids: Tensor,
    *,
    positions: Tensor | None = None,
    documents: Tensor | None = None,
    cache: KeyValueCache | None = None,
    lengths: Tensor | None = None,
) -> Reading:
    """Decide positions and visibility of a (B, T) block of ids, and advance the cache's lengths.

    Args:
        ids: (B, T).
        positions: (B, T) positions, when they restart within a window.
        documents: (B, T) document numbers: tokens of different documents do not see each other.
        cache: what was read before; rows may have different lengths.
        lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

    Raises:
        ValueError: positions or documents together with a cache, which knows its own.
    """
    if cache is None:
        mask = None if documents is None else document_mask(documents)
        return Reading(positions, None, mask, mask is None, None)
    if positions is not None or documents is not None:
        raise ValueError("a cache numbers positions itself and holds one document per row")
    length = ids.shape[1]
    before = cache.lengths
    after = before + (length if lengths is None else lengths)
    fresh = int(before.max()) == 0
    uniform = lengths is None and bool((before == before[0]).all())
    # Padding goes to the row's next free slot: masked now, overwritten by the row's next token.
    slots = torch.minimum(before[:, None] + torch.arange(length, device=ids.device), after[:, None])
    cache.reserve(int(slots.max()) + 1)
    cache.lengths = after
    if fresh:
        return Reading(slots, slots, None, True, cache)
    mask = None if uniform and length == 1 else cache_mask(slots, int(slots.max()) + 1)
    return Reading(slots, slots, mask, False, cache)
