"""The two feed-forward blocks in use: GELU of GPT-2, and SwiGLU (Shazeer 2020) of Llama."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from zhixing.nn.linear import PackedLinear


class GeluFeedForward(nn.Module):
    """``contract(gelu(expand(x)))`` with biases; the tanh form of GELU, as GPT-2 was trained, or the exact one."""

    def __init__(self, width: int, inner: int, approximate: Literal["tanh", "none"] = "tanh") -> None:
        super().__init__()
        self.approximate = approximate
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.contract(functional.gelu(self.expand(x), approximate=self.approximate))


class SwiGLU(nn.Module):
    """``down(silu(gate(x)) * up(x))``, no biases; gate and up are one matrix product."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = PackedLinear(width, (inner, inner), bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(functional.silu(gate) * up)
