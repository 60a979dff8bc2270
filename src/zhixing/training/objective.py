"""What a training step asks of its task: a batch becomes a summed loss and the weight to divide it by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Loss:
    """The loss of one micro-batch.

    Attributes:
        total: scalar tensor, the sum over all predictions, each times its weight (nats).
        metrics: more named scalars to log, averaged over the micro-batches of a step.
    """

    total: Tensor
    metrics: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """A task. The loop knows nothing else about what is being learned."""

    def weight(self, batch: Any) -> float:
        """Return the summed weight of the batch's predictions; a step divides its total by its weight."""

    def loss(self, model: nn.Module, batch: Any) -> Loss:
        """Return the summed loss of one micro-batch, ready for ``backward``."""


class BatchSource(Protocol):
    """Batches as a pure function of a position in one global order: a cursor is all the state there is."""

    def batch(self, start: int, count: int) -> Any:
        """Return the items at positions ``start`` to ``start + count - 1``."""
