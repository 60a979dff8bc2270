"""Causal convolution over a text (Dauphin et al. 2017), with a memory of the last inputs instead of padding.

The K inputs that a place sees are laid side by side and multiplied by one matrix: on a CPU that is as fast as torch's
own kernel forward, and takes 0.92 of its time with the gradients (widths 256 and 512, K = 4 and 5). It also leaves the
weight a matrix, which is what an optimizer of matrices treats, and lets a text that begins in the middle of a row be
cut off from what stands before.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.nn.linear import PackedLinear


def windows(x: Tensor, before: Tensor, documents: Tensor | None = None) -> Tensor:
    """Return (B, T, K·I): at each place the last K inputs, the oldest first.

    Args:
        x: (B, T, I).
        before: (B, K - 1, I), what was read last before; zeros where nothing was.
        documents: (B, T) document numbers, each in one stretch: another document's inputs count as zeros.
    """
    length, size = x.shape[1], before.shape[1] + 1
    whole = torch.cat([before, x], dim=1)
    parts = [whole[:, place : place + length] for place in range(size)]
    if documents is not None:
        numbers = functional.pad(documents, (size - 1, 0), value=-1)
        same = [(numbers[:, place : place + length] == documents)[..., None] for place in range(size)]
        parts = [part * seen for part, seen in zip(parts, same, strict=True)]
    return torch.cat(parts, dim=-1)


def memory(x: Tensor, before: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Return (B, K - 1, I): the last inputs once ``x`` is read, up to each row's own end (``lengths``; None: all)."""
    whole, size = torch.cat([before, x], dim=1), before.shape[1]
    if lengths is None:
        return whole[:, whole.shape[1] - size :].clone()  # a view would keep all of the text alive
    places = lengths[:, None] + torch.arange(size, device=x.device)
    return whole.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


class CausalConvolution(PackedLinear):
    """``y_t = b + sum over k of x_(t-k) W_k``; several outputs (``sections``) of one window are one product.

    The weight is (O, K·I), the block of the oldest input first.
    """

    def __init__(self, input_width: int, sections: Sequence[int], kernel: int) -> None:
        super().__init__(kernel * input_width, sections)
        self.input_width, self.kernel = input_width, kernel

    def new_memory(self, batch: int) -> Tensor:
        """Return what ``batch`` rows remember that have read nothing: zeros, (B, K - 1, I)."""
        return self.weight.detach().new_zeros(batch, self.kernel - 1, self.input_width)

    def forward(self, x: Tensor, before: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """(B, T, I) to (B, T, O); ``before`` and ``documents`` as for ``windows``."""
        before = self.new_memory(len(x)).to(x.dtype) if before is None else before
        return super().forward(windows(x, before, documents))


class GatedConvolution(CausalConvolution):
    """A causal convolution through a gated linear unit: ``(x * W + b) · sigmoid(x * V + c)``."""

    def __init__(self, input_width: int, width: int, kernel: int) -> None:
        super().__init__(input_width, (width, width), kernel)

    def forward(self, x: Tensor, before: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """(B, T, I) to (B, T, D)."""
        return functional.glu(super().forward(x, before, documents), dim=-1)


def maximum_over_time(x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """(B, T, D) to (B, D): each feature's largest value among the first ``lengths`` (B,) places; None: all."""
    if lengths is None:
        return x.amax(dim=1)
    padding = torch.arange(x.shape[1], device=x.device) >= lengths[:, None]
    return x.masked_fill(padding[..., None], float("-inf")).amax(dim=1)
