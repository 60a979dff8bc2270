"""Losses as pure functions of logits and targets: sums, so that the caller can divide by a global count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LOGITS_WORTH_CHUNKING = 1 << 23
"""Below this many logits the plain form is faster; above it, memory traffic makes the chunked form win."""


def cross_entropy_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``-sum(weight * log softmax(logits)[target])``, a scalar in nats.

    Args:
        logits: (N, V).
        targets: (N,) ids.
        weights: (N,) weight of each target; None: all 1.
    """
    if weights is None:
        return functional.cross_entropy(logits, targets, reduction="sum")
    return (functional.cross_entropy(logits, targets, reduction="none") * weights).sum()


class _ChunkedHead(torch.autograd.Function):
    """Output head and cross-entropy by rows, gradients on the way, so that (N, V) logits never exist.

    The loss is a scalar, so its gradient with respect to hidden states and weight is known up to the one
    factor that ``backward`` receives: each chunk's logits are used and forgotten.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        rows: int,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight)
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            logits = (hidden[part] @ weight.T).float()
            log_normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
            picked = targets[part, None]
            losses = log_normaliser - logits.gather(1, picked)
            gradient = logits.sub_(log_normaliser).exp_()
            gradient.scatter_add_(1, picked, gradient.new_full(picked.shape, -1.0))
            if weights is not None:
                losses = losses * weights[part, None]
                gradient.mul_(weights[part, None])
            total += losses.sum()
            gradient = gradient.to(hidden.dtype)
            torch.mm(gradient, weight, out=hidden_gradient[part])
            weight_gradient.addmm_(gradient.T, hidden[part])
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors  # type: ignore[attr-defined]
        factor = gradients[0].to(hidden_gradient.dtype)
        return hidden_gradient * factor, weight_gradient * factor, None, None, None


def linear_cross_entropy_sum(
    hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None = None, rows: int = 512
) -> Tensor:
    """Return ``cross_entropy_sum(hidden @ weight.T, targets, weights)`` without holding all logits.

    Args:
        hidden: (N, D).
        weight: (V, D) output embedding.
        targets: (N,) ids; weights: (N,) or None.
        rows: how many rows of logits exist at a time.
    """
    if not torch.is_grad_enabled():
        parts = range(0, hidden.shape[0], rows)
        sums = [
            cross_entropy_sum(
                (hidden[i : i + rows] @ weight.T).float(),
                targets[i : i + rows],
                None if weights is None else weights[i : i + rows],
            )
            for i in parts
        ]
        return torch.stack(sums).sum()
    result: Tensor = _ChunkedHead.apply(hidden, weight, targets, weights, rows)  # type: ignore[no-untyped-call]
    return result


def masked_lm_sum(logits: Tensor, ids: Tensor, masked: Tensor) -> Tensor:
    """Return the cross-entropy at the masked places, a scalar in nats; divide by ``masked.sum()`` of the whole step.

    Only the masked rows are looked at: at the usual 15 % that saves most of the softmax.

    Args:
        logits: (B, T, V) of the corrupted text.
        ids: (B, T) true ids.
        masked: (B, T) bool, True at places to be predicted.
    """
    return cross_entropy_sum(logits[masked], ids[masked])


def factorisation_rank(order: Tensor) -> Tensor:
    """Return when each place is predicted: the inverse of every row's permutation; (B, T) -> (B, T)."""
    rank = torch.empty_like(order)
    return rank.scatter_(1, order, torch.arange(order.shape[1], device=order.device).expand_as(order))


def factorisation_mask(order: Tensor, *, content: bool) -> Tensor:
    """Return who may see whom under a factorisation order; (B, T) -> (B, 1, T, T) bool, True where allowed.

    The query stream (``content=False``) sees what comes earlier in the order; the content stream also itself.
    """
    rank = factorisation_rank(order)
    earlier, later = rank[:, None, None, :], rank[:, None, :, None]
    return earlier <= later if content else earlier < later


def permutation_lm_sum(logits: Tensor, ids: Tensor, order: Tensor, predicted: int) -> Tensor:
    """Return the cross-entropy at the last ``predicted`` places of each order, a scalar in nats; B * P places.

    Args:
        logits: (B, T, V) of the query stream under ``factorisation_mask(order, content=False)``.
        ids: (B, T).
        order: (B, T), each row a permutation of 0 ... T - 1: the places in the order of their prediction.
        predicted: P, from 1 to T.
    """
    places = order[:, order.shape[1] - predicted :]
    rows = torch.arange(len(order), device=order.device)[:, None]
    return cross_entropy_sum(logits[rows, places].flatten(0, 1), ids.gather(1, places).flatten())


def head_cross_entropy_sum(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``cross_entropy_sum`` of what an output head makes of hidden states, in whichever form is faster.

    Args:
        hidden: (N, D).
        weight: (V, D) of the head.
        targets: (N,) ids.
        weights: (N,) weight of each target; None: all 1.
    """
    if len(hidden) * len(weight) >= _LOGITS_WORTH_CHUNKING and hidden.dtype == weight.dtype:
        return linear_cross_entropy_sum(hidden, weight, targets, weights)
    return cross_entropy_sum(functional.linear(hidden, weight).float(), targets, weights)
