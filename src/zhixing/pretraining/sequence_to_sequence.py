"""The sequence-to-sequence objective: a target is predicted id by id after its source (Sutskever et al. 2014, section
2).

Of plain text, a window is cut in two: what stands before the cut is the source, what follows is the target, on which
alone the loss is. The window's room for a source and for a target is the model's (``source_and_target_length``), so a
source is never longer than in use. Where the cut falls is drawn:

- in a share of the windows in which a document begins, right behind the separator that opens one of them: so are the
  beginnings of texts learned, whose source is the separator alone;
- of the other windows, in a share where the source is as long as there is room, and else anywhere before: so are short
  sources learned.

With isolated documents, source and target are of the document that the last id of the source belongs to: the source
begins at its separator at the earliest, the target ends with the separator that closes it. The other documents of the
window wait for another reading. Without isolation separators are ids like others.

Cuts are a pure function of (seed, position in the global order), as the windows are: a resumed run draws the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.data.windows import TokenWindows
from zhixing.models.encoder_decoder import source_and_target_length, start_id
from zhixing.models.protocol import Ids
from zhixing.nn.losses import head_cross_entropy_sum
from zhixing.pretraining.shown import ShownPart, shown_pair
from zhixing.training.objective import Loss


class SequenceToSequenceSettings(Settings):
    """How windows are cut into source and target."""

    kind: Literal["sequence_to_sequence"] = setting("sequence_to_sequence", "a target after its source", "由源写出目标")
    beginnings: float = setting(
        0.5,
        "share of windows, if a document begins in them, cut there",
        "窗口内有文档开头时，在该处切分的占比",
        ge=0,
        le=1,
    )
    longest: float = setting(
        0.5, "share of the others cut as late as possible", "其余窗口中尽量晚切分的占比", ge=0, le=1
    )
    label_smoothing: float = setting(
        0.0, "of the target given to all ids alike (0.1 as published)", "目标概率中均分给所有编号的部分（原论文 0.1）",
        ge=0, lt=1,
    )  # fmt: skip


@dataclass(frozen=True)
class PairBatch:
    """B sources with their targets.

    ``source`` (B, S) int64, ``source_lengths`` (B,) real ids of each. ``inputs``, ``targets`` (B, L) int64: the target
    one place late, opened by the start id, and as it is; ``weights`` (B, L) float32, 0 at padding.
    """

    source: Ids
    source_lengths: Ids
    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]

    @property
    def tokens(self) -> float:
        """Ids of sources and targets, padding left out."""
        return float(self.source_lengths.sum() + self.weights.sum())


class PairWindows:
    """Windows cut in two, at positions of the windows' global order."""

    def __init__(
        self, windows: TokenWindows, settings: SequenceToSequenceSettings, model: Settings, separator_id: int, seed: int
    ) -> None:
        self._windows, self._settings, self._seed, self._separator = windows, settings, seed, separator_id
        self._source_length, self._target_length = source_and_target_length(model)
        self._start = start_id(model, separator_id)

    def batch(self, start: int, count: int) -> PairBatch:
        """Return the windows at positions ``start`` to ``start + count - 1``."""
        source = np.full((count, self._source_length), self._separator, np.int64)
        targets = np.full((count, self._target_length), self._separator, np.int64)
        sizes, weights = np.zeros(count, np.int64), np.zeros(targets.shape, np.float32)
        for row, ids in enumerate(self._windows.seen_ids(start, start + count)):
            first, asked = self._pair(ids, np.random.Generator(np.random.PCG64([self._seed, start + row])))
            source[row, : len(first)], sizes[row] = first, len(first)
            targets[row, : len(asked)], weights[row, : len(asked)] = asked, 1
        opening = np.full((count, 1), self._start, np.int64)
        return PairBatch(source, sizes, np.concatenate([opening, targets[:, :-1]], axis=1), targets, weights)

    def shown(self, batch: PairBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one row as the encoder and as the decoder read it."""
        b = batch
        return shown_pair(b.source[row], int(b.source_lengths[row]), b.inputs[row], b.targets[row], b.weights[row])

    def _pair(self, ids: Ids, draw: np.random.Generator) -> tuple[Ids, Ids]:
        """Return source and target of the (T + 1,) ids of a window."""
        cut = self._cut(ids, draw)
        begin, end = 0, len(ids)
        if self._windows.isolate_documents:
            opens = np.flatnonzero(ids == self._separator)
            begin = int(opens[opens < cut].max(initial=0))
            end = int(opens[opens >= cut].min(initial=end - 1)) + 1
        source = ids[max(begin, cut - self._source_length) : cut]
        return source, ids[cut : min(end, cut + self._target_length)]

    def _cut(self, ids: Ids, draw: np.random.Generator) -> int:
        """Return where the target of a window begins, at least 1 and less than ``len(ids)``."""
        which, late, place = draw.random(3)
        begins = np.flatnonzero(ids[:-1] == self._separator)
        if len(begins) and which < self._settings.beginnings:
            return int(begins[int(place * len(begins))]) + 1
        latest = max(1, len(ids) - self._target_length)
        return latest if late < self._settings.longest else 1 + int(place * latest)


class SequenceToSequence:
    """Cross-entropy of the targets, in nats, summed.

    The module it is given is an ``EncoderDecoderWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: PairBatch) -> float:
        """Return how many predictions count."""
        return float(batch.weights.sum())

    def loss(self, model: nn.Module, batch: PairBatch) -> Loss:
        """Return the summed loss of one micro-batch."""
        arrays = (batch.source, batch.source_lengths, batch.inputs, batch.targets, batch.weights)
        return Loss(model(*(torch.as_tensor(array).to(self._device, non_blocking=True) for array in arrays)))


class EncoderDecoderWithLoss(nn.Module):
    """An encoder-decoder and its loss as one module, so that one compiled graph holds both."""

    def __init__(self, network: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.network, self.label_smoothing = network, label_smoothing

    def forward(
        self, source: Tensor, source_lengths: Tensor, inputs: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        """Return the summed loss of (B, L) targets after (B, S) sources; smoothed while training only."""
        network: Any = self.network
        hidden = network.decode(inputs, network.encode(source, source_lengths), source_lengths).flatten(0, 1)
        head, targets, weights = network.head_weight, targets.flatten(), weights.flatten()
        smoothing = self.label_smoothing if network.training else 0.0
        if smoothing:
            logits = functional.linear(hidden, head).float()
            losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
            return (losses * weights).sum()
        return head_cross_entropy_sum(hidden, head, targets, weights)
