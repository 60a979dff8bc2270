"""Layer norm (Ba et al. 2016) and RMS norm (Zhang & Sennrich 2019), each one call of torch's fused kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm(nn.LayerNorm):
    """``(x - mean) / sqrt(variance + epsilon) * weight + bias`` over the last axis, shape kept."""


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x²) + epsilon) * weight`` over the last axis, shape kept; no mean, no bias."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (..., width)."""
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)
