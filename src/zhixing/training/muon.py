"""Muon (Jordan et al. 2024): momentum whose update is orthogonalised, for weight matrices.

``update = momentum-averaged gradient M = U S Vᵀ  →  U Vᵀ``, approximated by a few steps of a polynomial
iteration on ``M`` (Newton–Schulz), with the step-by-step optimal coefficients of Amsel et al. 2025
("The Polar Express").

What differs from the published code: the iteration runs in float32 (bfloat16 products are a hundred times
slower on CPUs without such units), all matrices of one shape are iterated as one batch, and the maps packed
into one weight (query, key, value; gate, up) are orthogonalised one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
)
"""(a, b, c) of ``X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X`` at each step."""


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Return approximately ``U Vᵀ`` of each (rows, columns) matrix of a (N, rows, columns) batch."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-7)
    for a, b, c in COEFFICIENTS[:steps]:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices; a group may hold ``sections``: row counts of the maps packed into its weight."""

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        steps: int = 4,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "steps": steps, "weight_decay": weight_decay}
        super().__init__(groups, {**defaults, "sections": None})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        batches: dict[tuple[Any, ...], list[tuple[Tensor, Tensor]]] = {}
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                update = self._averaged(weight, weight.grad, group["momentum"])
                rows = list(group["sections"] or [weight.shape[0]])
                for part, change in zip(torch.split(weight, rows), torch.split(update, rows), strict=True):
                    key = (group["lr"], group["weight_decay"], group["steps"], *change.shape)
                    batches.setdefault(key, []).append((part, change))
        for (lr, weight_decay, steps, rows, columns), pairs in batches.items():
            directions = orthogonalise(torch.stack([change for _, change in pairs]), steps)
            size = lr * max(1.0, rows / columns) ** 0.5
            for (part, _), direction in zip(pairs, directions, strict=True):
                part.mul_(1 - lr * weight_decay).add_(direction, alpha=-size)

    def _averaged(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """Return the Nesterov average of the gradients."""
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        average: Tensor = state["momentum"]
        average.lerp_(gradient, 1 - momentum)
        return gradient.lerp(average, momentum)
