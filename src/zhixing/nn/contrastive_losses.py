"""Losses over vectors that pull related pairs together and push others apart; sums, as in ``losses``.

Formulas, papers and gradients by hand: ``zhixing.theory.contrastive_losses``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.nn.losses import cross_entropy_sum


def info_nce_sum(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Return the sum over queries of ``-log softmax(cosine / temperature)`` at their own key, in nats.

    For a loss that treats both sides alike, average ``info_nce_sum(a, b)`` and ``info_nce_sum(b, a)``.

    Args:
        query: (N, E).
        key: (N, E); row i belongs to query i, all others are its negatives.
        temperature: above 0; 0.05 to 0.1 is usual.
    """
    unit_query, unit_key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
    similarities = unit_query @ unit_key.T / temperature  # (N, N)
    return cross_entropy_sum(similarities, torch.arange(len(query), device=query.device))


def triplet_sum(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Return the sum of ``max(0, |a - p|^2 - |a - n|^2 + margin)``; (N, E) each, squared distances."""
    near, far = (anchor - positive).square().sum(-1), (anchor - negative).square().sum(-1)
    return functional.relu(near - far + margin).sum()
