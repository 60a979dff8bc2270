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


def alignment_sum(query: Tensor, key: Tensor) -> Tensor:
    """Return the summed squared distance of (N, E) queries from their own (N, E) keys on the unit sphere."""
    return (functional.normalize(query, dim=-1) - functional.normalize(key, dim=-1)).square().sum()


def uniformity(x: Tensor) -> Tensor:
    """Return the logarithm of the mean ``exp(-2 distance²)`` between (N, E) vectors on the unit sphere, N >= 2.

    The lower, the more evenly their directions spread; 0 where all are the same.
    """
    unit = functional.normalize(x, dim=-1)
    first, second = torch.triu_indices(len(x), len(x), 1, device=x.device)
    distances = (unit[first] - unit[second]).square().sum(-1)
    return (-2.0 * distances).exp().mean().log()


def retrieved_sum(query: Tensor, key: Tensor) -> Tensor:
    """Return how many of the (N, E) queries have their own one of the (N, E) keys nearest."""
    similarities = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).T
    return (similarities.argmax(dim=-1) == torch.arange(len(query), device=query.device)).sum()
