"""Dropout (Srivastava et al. 2014) whose mask costs little to draw on a CPU.

torch draws one Bernoulli number per element, serially: a fifth of a training step. Here one call fills a
buffer with random 64-bit words, and each of their bytes decides one element, so the mask costs an eighth of
the draws. The probability is therefore rounded to a multiple of 1/256; ``rounded_probability`` says to what,
and the scale of the kept elements uses the rounded value, so the expectation stays exact. A compiled model leaves the
mask to the compiler, which draws it in parallel inside the fused loops.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 256


def rounded_probability(probability: float) -> float:
    """Return the multiple of 1/256, at most 255/256, that stands in for ``probability`` on a CPU."""
    return _dropped_levels(probability) / _LEVELS


def _dropped_levels(probability: float) -> int:
    return min(round(probability * _LEVELS), _LEVELS - 1)


def random_bytes(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return ``count`` uniform bytes (uint8) from torch's generator, eight per draw."""
    words = torch.empty((count + 7) // 8, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[:count]


class _CheapDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, dropped: int) -> Tensor:
        keep = (random_bytes(x.numel()) >= dropped).view(x.shape)
        ctx.save_for_backward(keep)
        ctx.scale = _LEVELS / (_LEVELS - dropped)  # type: ignore[attr-defined]
        return (x * keep).mul_(ctx.scale)  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return (gradients[0] * keep).mul_(ctx.scale), None  # type: ignore[attr-defined]


class Dropout(nn.Module):
    """Zero each element with ``probability`` while training and scale the rest up; identity otherwise."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of ``x`` (any shape)."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(x, self.probability)
        result: Tensor = _CheapDropout.apply(x, _dropped_levels(self.probability))  # type: ignore[no-untyped-call]
        return result
