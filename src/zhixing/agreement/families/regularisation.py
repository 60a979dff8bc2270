"""Dropout against ``zhixing.nn.dropout``."""

from __future__ import annotations

from typing import Any

import torch

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import dropout as practice
from zhixing.theory import regularisation as theory

LEVEL = 26
"""The rate is 26/256: production rounds rates to multiples of 1/256."""
RATE = LEVEL / 256


def _kept(seed: int, shape: tuple[int, ...]) -> Any:
    torch.manual_seed(seed)
    drawn = practice.random_bytes(torch.Size(shape).numel())
    return (drawn >= LEVEL).view(shape).numpy()


def _dropout(x: Any, seed: int) -> Any:
    """On the CPU, wherever the rest runs: only there production draws its own mask."""
    layer = practice.Dropout(0.1).train()
    torch.manual_seed(seed)
    return layer(x.cpu())


ROWS: tuple[Row, ...] = (
    Row(
        name="regularisation.dropout",
        family="regularisation",
        states=(theory.dropout,),
        theory=lambda x, seed: theory.dropout(x, _kept(seed, x.shape), RATE),
        practice=_dropout,
        inputs=draw(x=normal(12, 33), seed=7),
        tolerance=2.0,
        reason="one product",
        gradient=True,
        derivative=lambda x, seed, upstream: {"x": theory.dropout(upstream, _kept(seed, x.shape), RATE)},
    ),
)
