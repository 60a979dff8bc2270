"""Positions put on attention's scores: T5's learned biases by bucket of distance (Raffel et al. 2020, section 2.1,
after Shaw et al. 2018), and ALiBi's fixed slopes (Press, Smith and Lewis 2022, section 3).

Only the distance of key and query counts, so a text may begin anywhere and may be longer than those seen in training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def attend_with_bias(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``softmax(Q Kᵀ + bias) V``: T5 does not scale, its initial weights do (the published code).

    Args:
        query: (B, H, T, E).
        key: (B, H, S, E); value: likewise.
        bias: broadcastable to (B, H, T, S), -inf where a query may not look; None: 0. Every query sees some key.

    Returns:
        (B, H, T, E).
    """
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)


def relative_bucket(distance: Tensor, buckets: int = 32, farthest: int = 128, both_ways: bool = True) -> Tensor:
    """Return the bucket of each distance, key's place minus query's: near ones have their own, far ones share.

    Args:
        distance: whole numbers of any shape.
        buckets: how many there are, at least 4; both_ways: half of them are for keys after the query, else those share
            bucket 0.
        farthest: from here on all distances share the last bucket.
    """
    count = buckets // 2 if both_ways else buckets
    far = distance.abs() if both_ways else (-distance).clamp(min=0)
    exact = count // 2
    share = torch.log(far.clamp(min=1).float() / exact) / math.log(farthest / exact)
    steps = (exact + (share * (count - exact)).long()).clamp(max=count - 1)
    bucket = torch.where(far < exact, far, steps)
    return bucket + (distance > 0).long() * count if both_ways else bucket


def distances(places: Tensor, keys: int) -> Tensor:
    """Return key's place minus query's for keys at 0 .. S - 1; places (T,) or (B, T) -> (..., T, S)."""
    return torch.arange(keys, device=places.device) - places[..., None]


class RelativeBias(nn.Module):
    """A learned number per bucket of distance and head, which all layers of a stack add to their scores."""

    def __init__(self, heads: int, buckets: int, farthest: int, both_ways: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, heads)
        self.buckets, self.farthest, self.both_ways = buckets, farthest, both_ways

    def forward(self, places: Tensor, keys: int) -> Tensor:
        """Return the biases of queries at (T,) or (B, T) places on keys at 0 .. S - 1: (1 or B, H, T, S)."""
        bucket = relative_bucket(distances(places, keys), self.buckets, self.farthest, self.both_ways)
        bias = self.embedding(bucket).movedim(-1, -3)
        return bias if bias.ndim == 4 else bias[None]


def alibi_slopes(heads: int) -> Tensor:
    """Return how steeply each head's scores fall with the distance, (H,) float32.

    ``2^(-8h/H)`` for H a power of two; else those of the power below, then every other one of the power above.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = 2.0 ** (-8.0 * torch.arange(1, below + 1, dtype=torch.float64) / below)
    between = 2.0 ** (-4.0 * torch.arange(1, 2 * below + 1, 2, dtype=torch.float64) / below)
    return torch.cat([slopes, between])[:heads].float()


def alibi(places: Tensor, keys: int, slopes: Tensor) -> Tensor:
    """Return ALiBi's biases of queries at (T,) or (B, T) places on keys at 0 .. S - 1: (1 or B, H, T, S)."""
    bias = -slopes[:, None, None] * distances(places, keys).abs()[..., None, :, :]
    return bias if bias.ndim == 4 else bias[None]
