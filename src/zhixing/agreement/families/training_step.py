"""One step of the training loop, on least squares: micro-batches add up to the whole's gradient; clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from zhixing.agreement.row import Row, draw, normal
from zhixing.theory import optimizers as theory
from zhixing.training import loop, optimizers
from zhixing.training.machine import Machine
from zhixing.training.objective import Loss
from zhixing.training.schedules import ScheduleSettings
from zhixing.training.settings import TrainingSettings

INPUTS, RATE = 3, 0.05
EXAMPLES, MICRO_BATCHES, LIMIT = 8, 2, 0.5
COUNTED = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
"""Which examples count: one of the first micro-batch, three of the second."""


class _LeastSquares(nn.Module):
    """A task for the training loop: its own model, objective and source of batches."""

    def __init__(self, start: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(start.clone())
        self.data = x, y, torch.as_tensor(COUNTED).to(x)

    def batch(self, start: int, count: int) -> Any:
        """Return some of the examples: (count, INPUTS), (count,), (count,)."""
        return tuple(part[start : start + count] for part in self.data)

    def weight(self, batch: Any) -> float:
        """Return how many of them count."""
        return float(batch[2].sum())

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Return the sum of their squared errors."""
        x, y, counted = batch
        return Loss((counted * (x @ self.coefficients - y) ** 2).sum())


def _training_step(micro_batches: int, limit: float) -> Callable[..., Any]:
    """Return one step of the training loop, by plain gradient descent."""
    settings = TrainingSettings(
        steps=1, batch_windows=EXAMPLES // micro_batches, accumulation=micro_batches, clip_norm=limit,
        optimizer=optimizers.OptimizerSettings(kind="sgd", learning_rate=RATE),
        schedule=ScheduleSettings(kind="constant", warmup=0.0),
    )  # fmt: skip

    def run(start: Any, x: Any, y: Any) -> Any:
        task = _LeastSquares(start, x, y)
        optimizer = optimizers.Optimizer(task, settings.optimizer)
        whole = loop.Task(task, task, task, task, optimizer, EXAMPLES, 1.0)
        machine = Machine(str(start.device), "float32", False, 1, 1.0)
        loop._step(whole, settings, machine, loop.Progress(), 0.0)
        return task.coefficients

    return run


_examples = draw(start=normal(INPUTS), x=normal(EXAMPLES, INPUTS), y=normal(EXAMPLES, scale=3.0))


def _gradient_sums(start: Any, x: Any, y: Any) -> tuple[list[Any], list[int]]:
    """By micro-batch: the gradient of its summed loss, and how many examples count."""
    parts = np.split(np.arange(EXAMPLES), MICRO_BATCHES)
    sums = [2.0 * x[part].T @ (COUNTED[part] * (x[part] @ start - y[part])) for part in parts]
    return sums, [int(COUNTED[part].sum()) for part in parts]


def _accumulated(start: Any, x: Any, y: Any) -> Any:
    return theory.sgd(start, theory.accumulate(*_gradient_sums(start, x, y)), RATE)


def _clipped(start: Any, x: Any, y: Any) -> Any:
    gradient = theory.accumulate(*_gradient_sums(start, x, y))
    (clipped,), _ = theory.clip_by_global_norm([gradient], LIMIT)
    return theory.sgd(start, clipped, RATE)


ROWS: tuple[Row, ...] = (
    Row(
        name="optimizers.accumulation",
        family="optimizers",
        states=(theory.accumulate,),
        theory=_accumulated,
        practice=_training_step(MICRO_BATCHES, limit=0.0),
        inputs=_examples,
        tolerance=8.0,
        reason="sums of 3 products and of 8 examples",
    ),
    Row(
        name="optimizers.clipping",
        family="optimizers",
        states=(theory.clip_by_global_norm,),
        theory=_clipped,
        practice=_training_step(MICRO_BATCHES, LIMIT),
        inputs=_examples,
        tolerance=8.0,
        reason="as for accumulation; torch adds 1e-6 to the norm it divides by",
        coarsest="float32",
    ),
)
