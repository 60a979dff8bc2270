"""One step of a recurrent cell, for decoders whose next input depends on the step before.

``move`` takes the gates' shares of input and state as they come from their matrices, and does the rest: sums, sigmoids,
products. Its gradient is written by hand, since for small batches the number of operations, not their size, is what a
step costs; automatic differentiation needs some three times as many.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward
_tanh_backward = torch.ops.aten.tanh_backward
"""Gradient and output of a sigmoid or tanh to the gradient of its input, in one pass."""


def move(cell: str, by_input: Tensor, by_state: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the state after one step.

    Args:
        cell: rnn, lstm or gru.
        by_input: (B, G·D) the input's share of the gates, in the order of ``recurrent.GATES``.
        by_state: (B, G·D) the state's.
        state: (h,) or, for an LSTM, (h, memory); (B, D) each.
    """
    if cell == "rnn":
        return (torch.tanh(by_input + by_state),)
    if cell == "gru":
        return (_GRUMove.apply(by_input, by_state, state[0]),)  # type: ignore[no-untyped-call]
    top, memory = _LSTMMove.apply(by_input + by_state, state[1])  # type: ignore[no-untyped-call]
    return top, memory


class _GRUMove(torch.autograd.Function):
    """``h' = n + z (h - n)`` with ``r, z = sigmoid(a + b)`` and ``n = tanh(a_n + r b_n)``."""

    @staticmethod
    def forward(ctx: Any, by_input: Tensor, by_state: Tensor, before: Tensor) -> Tensor:
        width = before.shape[-1]
        gates = (by_input[:, : 2 * width] + by_state[:, : 2 * width]).sigmoid_()
        r, z = gates.chunk(2, dim=-1)
        n = torch.addcmul(by_input[:, 2 * width :], r, by_state[:, 2 * width :]).tanh_()
        ctx.save_for_backward(gates, n, by_state, before)
        return torch.lerp(n, before, z)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, n, by_state, before = ctx.saved_tensors
        (upstream,), width = gradients, before.shape[-1]
        r, z = gates.chunk(2, dim=-1)
        kept = upstream * z
        to_candidate = _tanh_backward(upstream - kept, n)
        to_reset = _sigmoid_backward(to_candidate * by_state[:, 2 * width :], r)
        to_update = _sigmoid_backward(upstream * (before - n), z)
        of_input = torch.cat([to_reset, to_update, to_candidate], dim=-1)
        return of_input, torch.cat([to_reset, to_update, to_candidate * r], dim=-1), kept


class _LSTMMove(torch.autograd.Function):
    """``c' = f c + i g``, ``h' = o tanh(c')`` from the gates i, f, g, o before their sigmoids and tanh."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        width = memory.shape[-1]
        gates = gates.clone()
        gates[:, : 2 * width].sigmoid_()
        gates[:, 2 * width : 3 * width].tanh_()
        gates[:, 3 * width :].sigmoid_()
        i, f, g, o = gates.chunk(4, dim=-1)
        new = torch.addcmul(f * memory, i, g)
        squashed = torch.tanh(new)
        ctx.save_for_backward(gates, squashed, memory)
        return o * squashed, new

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gates, squashed, memory = ctx.saved_tensors
        of_top, of_memory = gradients
        i, f, g, o = gates.chunk(4, dim=-1)
        to_output = _sigmoid_backward(of_top * squashed, o)
        of_memory = of_memory + _tanh_backward(of_top * o, squashed)
        parts = (
            _sigmoid_backward(of_memory * g, i),
            _sigmoid_backward(of_memory * memory, f),
            _tanh_backward(of_memory * i, g),
            to_output,
        )
        return torch.cat(parts, dim=-1), of_memory * f
