"""Losses that learn from judgements of whole answers: DPO and GRPO; sums, as in ``losses``.

Log-probabilities come in float32 or better: differences of sums over hundreds of tokens do not survive bfloat16.
Formulas, papers and gradients by hand: ``zhixing.theory.preference_losses``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dpo_sum(chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float) -> Tensor:
    """Return the sum of ``-log sigmoid(beta * margin)`` over N pairs, in nats.

    Args:
        chosen, rejected: (N,) log-probabilities of whole answers under the policy.
        ref_chosen, ref_rejected: (N,) the same under the frozen reference.
        beta: how dear it is to leave the reference; 0.1 is usual.
    """
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -functional.logsigmoid(beta * margin).sum()


def group_advantages(rewards: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Return each reward's distance from its group's mean in the group's standard deviations; (Q, G) -> (Q, G).

    The deviation is divided by G, not G - 1, so that a group of one has advantage 0 and not NaN.
    """
    spread, mean = torch.std_mean(rewards, dim=-1, correction=0, keepdim=True)
    return (rewards - mean) / (spread + epsilon)


def grpo_sum(
    log_probs: Tensor,
    old: Tensor,
    reference: Tensor,
    advantages: Tensor,
    counted: Tensor,
    *,
    clip: float = 0.2,
    beta: float = 0.04,
) -> Tensor:
    """Return the sum over answers of their mean token loss; divide by the number of answers of the whole step.

    Args:
        log_probs: (N, T) of the sampled tokens under the policy; gradients flow here alone.
        old: (N, T) under the policy that drew them.
        reference: (N, T) under the frozen reference.
        advantages: (N,), see ``group_advantages``.
        counted: (N, T) bool, True at an answer's own tokens, at least one in each row.
        clip: how far the ratio of new to old may move and still be rewarded.
        beta: weight of the divergence from the reference; 0: none.
    """
    # Padding is replaced before the exponentials: 0 times an infinite slope would be NaN.
    ratio, advantage = torch.where(counted, log_probs - old, 0.0).exp(), advantages[:, None]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
    difference = torch.where(counted, reference - log_probs, 0.0)
    divergence = torch.expm1(difference) - difference
    losses = torch.where(counted, beta * divergence - gain, 0.0)
    return (losses.sum(-1) / counted.sum(-1)).sum()
