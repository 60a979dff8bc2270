"""A matrix that every step of a loop multiplies by.

Automatic differentiation gives such a matrix one gradient per step and adds them up: for a small batch that is most of
what a step costs, for each of them is as large as the matrix. Here the steps note what they were given, and one product
over all of them at the end is the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SharedMatrix:
    """``x @ matrix + bias``, for any number of x. The matrix: (D, G), or (B, S, K), one for each row of a batch."""

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        self._uses = _Uses(matrix.detach(), None if bias is None else bias.detach())
        self._anchor: Tensor = _Gradient.apply(matrix, bias, self._uses)  # type: ignore[no-untyped-call]

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) to (..., G), or (B, T, S) to (B, T, K)."""
        product: Tensor = _Product.apply(x, self._anchor, self._uses)  # type: ignore[no-untyped-call]
        return product


class _Uses:
    """The matrix, and what the backward pass has found at each step: what was multiplied, and what came back for it."""

    def __init__(self, matrix: Tensor, bias: Tensor | None) -> None:
        self.matrix, self.bias = matrix, bias
        self.given, self.upstream = list[Tensor](), list[Tensor]()


class _Gradient(torch.autograd.Function):
    """An empty promise that every product hangs on: it is redeemed, backwards, after all of them."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, bias: Tensor | None, uses: _Uses) -> Tensor:
        ctx.uses = uses
        return matrix.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        uses: _Uses = ctx.uses
        given, upstream = torch.cat(uses.given, dim=-2), torch.cat(uses.upstream, dim=-2)
        uses.given, uses.upstream = [], []
        if uses.matrix.ndim == 2:
            given, upstream = given.flatten(0, -2), upstream.flatten(0, -2)
        of_bias = None if uses.bias is None else upstream.flatten(0, -2).sum(dim=0)
        return given.mT @ upstream, of_bias, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, uses: _Uses) -> Tensor:
        ctx.uses = uses
        ctx.save_for_backward(x)
        if uses.bias is not None and x.ndim == 2:
            return torch.addmm(uses.bias, x, uses.matrix)
        return x @ uses.matrix if uses.bias is None else x @ uses.matrix + uses.bias

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x,), uses, upstream = ctx.saved_tensors, ctx.uses, gradients[0]
        anchored = ctx.needs_input_grad[1]
        if anchored:
            uses.given.append(x)
            uses.upstream.append(upstream)
        return (
            upstream @ uses.matrix.mT if ctx.needs_input_grad[0] else None,
            upstream.new_zeros(()) if anchored else None,
            None,
        )
