"""The causal language-modelling objective: each token from those before it (Bengio et al. 2003, eq. 1)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from zhixing.data.windows import Batch, TokenWindows
from zhixing.nn.losses import head_cross_entropy_sum
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.visibility import before
from zhixing.training.objective import Loss


class CausalWindows:
    """Windows as they are: every token asks for the next."""

    def __init__(self, windows: TokenWindows) -> None:
        self._windows = windows

    def batch(self, start: int, count: int) -> Batch:
        """Return the windows at positions ``start`` to ``start + count - 1``."""
        return self._windows.batch(start, count)

    def shown(self, batch: Batch, row: int) -> tuple[ShownPart, ...]:
        """Return one row as a decoder reads it."""
        weights, size = batch.weights[row], batch.inputs.shape[1]
        documents = np.zeros(size, np.int64) if batch.documents is None else batch.documents[row].astype(np.int64)
        part = ShownPart(
            name="inputs",
            ids=batch.inputs[row],
            targets=np.where(weights > 0, batch.targets[row], -1),
            weights=weights,
            positions=np.arange(size) if batch.positions is None else batch.positions[row],
            documents=documents,
            visible=before(documents),
        )
        return (part,)


class CausalLM:
    """Cross-entropy of the next token, in nats, summed over the batch's weights.

    The module it is given is a ``DecoderWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: Batch) -> float:
        """Return how many predictions count."""
        return float(batch.weights.sum())

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """Return the summed loss of one micro-batch."""
        weights = None if batch.weights.all() else self._move(batch.weights).flatten()
        total = model(
            self._move(batch.inputs),
            self._move(batch.targets).flatten(),
            weights,
            None if batch.positions is None else self._move(batch.positions),
            None if batch.documents is None else self._move(batch.documents),
        )
        return Loss(total)

    def _move(self, array: object) -> Tensor:
        return torch.as_tensor(array).to(self._device, non_blocking=True)


class DecoderWithLoss(nn.Module):
    """A decoder and its loss as one module, so that one compiled graph holds both."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        positions: Tensor | None,
        documents: Tensor | None,
    ) -> Tensor:
        """Return the summed loss of (B, T) inputs and (B·T,) targets."""
        hidden = self.decoder(inputs, positions=positions, documents=documents).flatten(0, 1)
        head = self.decoder.head_weight
        assert isinstance(head, Tensor)
        return head_cross_entropy_sum(hidden, head, targets, weights)
