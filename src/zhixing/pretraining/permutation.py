"""The permutation objective: predict the last places of a random order of the window from all before them (Yang et
al. 2019, sections 2.2 and 2.3, equation 5).

The text is not shuffled; only who may look at whom follows the order. What is not predicted is given: it is visible to
all, as in the published code. Of a window of T tokens the last T / K of the order are predicted (K = 6 as published),
one by one or in spans of neighbours (section 3.4; up to 5 tokens in the largest published model). No special token is
asked for.

A share of the windows may be read from left to right, where every token is predicted from those before it: on these the
loss is that of the causal objective. Orders are a pure function of (seed, position in the global order), as the windows
are: a resumed run draws the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.data.windows import Batch, TokenWindows
from zhixing.models.protocol import Ids
from zhixing.nn.losses import cross_entropy_sum
from zhixing.nn.relative_attention import two_stream_masks
from zhixing.pretraining.shown import ShownPart
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.training.objective import Loss


class PermutationSettings(Settings):
    """How orders are drawn."""

    kind: Literal["permutation"] = setting("permutation", "the last of a random order", "预测随机次序中的末尾部分")
    one_in: int = setting(6, "K: one token in K is predicted", "K：每 K 个词元预测一个", ge=1)
    longest_span: int = setting(1, "tokens predicted side by side", "相邻一起预测的词元数上限", unit="tokens", ge=1)
    left_to_right: float = setting(
        0.0, "share of windows read from left to right, for writing", "从左到右阅读的窗口占比，用于续写", ge=0, le=1
    )


@dataclass(frozen=True)
class PermutationBatch:
    """B windows of T ids, M places of each to be predicted.

    ``inputs``, ``ranks`` (B, T) int64: the ids, and when each becomes visible (T + 1: never, it is padding).
    ``places``, ``place_ranks``, ``targets`` (B, M) int64: where, when, and what stands there; place T is the one behind
    the window. ``weights`` (B, M) float32, 0 where a row has fewer places. ``documents`` (B, T), ``place_documents``
    (B, M) int32, numbers within the row; None: everything is one document. ``positions`` as in ``Batch``.
    """

    inputs: Ids
    ranks: Ids
    places: Ids
    place_ranks: Ids
    targets: Ids
    weights: NDArray[np.float32]
    documents: NDArray[np.int32] | None = None
    place_documents: NDArray[np.int32] | None = None
    positions: Ids | None = None


class PermutationWindows:
    """Windows with an order, at positions of the windows' global order."""

    def __init__(self, windows: TokenWindows, settings: PermutationSettings, tokenizer: Tokenizer, seed: int) -> None:
        self._windows, self._settings, self._seed = windows, settings, seed
        self._special = np.zeros(tokenizer.vocab_size, dtype=bool)
        self._special[list(tokenizer.special_ids)] = True

    def batch(self, start: int, count: int) -> PermutationBatch:
        """Return the windows at positions ``start`` to ``start + count - 1``."""
        plain, s = self._windows.batch(start, count), self._settings
        size = plain.inputs.shape[1]
        most = size if s.left_to_right else max(1, size // s.one_in)
        ranks = np.full((count, size), size + 1, np.int64)
        places, place_ranks = np.zeros((count, most), np.int64), np.zeros((count, most), np.int64)
        weights = np.zeros((count, most), np.float32)
        causal = np.zeros(count, dtype=bool)
        for row in range(count):
            draw = np.random.Generator(np.random.PCG64([self._seed, start + row]))
            causal[row] = draw.random() < s.left_to_right
            length = int(plain.weights[row].sum())
            if causal[row]:  # the place behind the text is predicted too
                chosen, ranks[row, :length] = np.arange(1, length + 1), np.arange(length)
            else:
                chosen = self._choose(plain.inputs[row, :length], draw)
                ranks[row, :length] = given_rank(length, chosen)
            places[row, : len(chosen)] = chosen
            place_ranks[row, : len(chosen)] = np.arange(1, len(chosen) + 1)
            weights[row, : len(chosen)] = 1
        documents, asked = plain.documents, None
        if documents is not None:  # from left to right, what follows a text belongs to that text
            owner = np.clip(places - causal[:, None], 0, size - 1)
            asked = np.take_along_axis(documents, owner, axis=1)
        targets = _at(plain, places)
        return PermutationBatch(
            plain.inputs, ranks, places, place_ranks, targets, weights, documents, asked, plain.positions
        )

    def shown(self, batch: PermutationBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one row; to a place that is asked for is visible what its query sees, to the others what content sees.

        A row that is also asked what follows its last id has one place more, whose id nobody is shown.
        """
        asked = batch.weights[row] > 0
        places, size = batch.places[row][asked], batch.inputs.shape[1]
        content, query = (mask[0, 0].numpy() for mask in _masks(batch, slice(row, row + 1)))
        whole = size + int((places == size).any())
        ids = np.append(batch.inputs[row], batch.targets[row][asked][places == size])
        targets, weights = np.full(whole, -1, np.int64), np.zeros(whole, np.float32)
        targets[places], weights[places] = batch.targets[row][asked], batch.weights[row][asked]
        visible = np.zeros((whole, whole), dtype=bool)
        visible[:size, :size] = content
        visible[places, :size] = query[asked]
        positions = np.arange(size) if batch.positions is None else batch.positions[row]
        documents = np.zeros(size, np.int64) if batch.documents is None else batch.documents[row].astype(np.int64)
        if whole > size:
            positions, documents = np.append(positions, positions[-1] + 1), np.append(documents, documents[-1])
        return (ShownPart("inputs", ids, targets, weights, positions, documents, visible),)

    def _choose(self, ids: Ids, draw: np.random.Generator) -> Ids:
        """Return the places of a window to be predicted, in the order of their prediction."""
        candidates = np.flatnonzero(~self._special[ids])
        number = min(len(candidates), max(1, len(ids) // self._settings.one_in))
        chosen = choose_spans(candidates, number, self._settings.longest_span, draw)
        return chosen[np.argsort(draw.random(len(chosen)))]


def choose_spans(candidates: Ids, number: int, longest: int, draw: np.random.Generator) -> Ids:
    """Return ``number`` of the ``candidates`` (N,), rising, in random spans of 1 to ``longest`` neighbours.

    The last span is cut, and two that touch are one.
    """
    chosen = np.zeros(len(candidates), dtype=bool)
    starts = np.argsort(draw.random(len(candidates)))
    lengths = draw.integers(1, longest + 1, len(candidates))
    room = number
    for start, length in zip(starts, lengths, strict=True):
        if room == 0:
            break
        span = np.arange(start, min(start + length, len(candidates)))
        span = span[~chosen[span]][:room]
        chosen[span] = True
        room -= len(span)
    return candidates[chosen]


def given_rank(length: int, predicted: Ids) -> Ids:
    """Return when each of ``length`` places becomes visible: 0 if it is given, from 1 on in the order of prediction."""
    rank = np.zeros(length, np.int64)
    rank[predicted] = np.arange(1, len(predicted) + 1)
    return rank


def _at(plain: Batch, places: Ids) -> Ids:
    """Return the ids at (B, M) places of windows; the one behind a window is the target of its last place."""
    whole = np.concatenate([plain.inputs, plain.targets[:, -1:]], axis=1)
    return np.take_along_axis(whole, places, axis=1)


def _masks(batch: PermutationBatch, rows: slice) -> tuple[Tensor, Tensor]:
    """Return the masks of some rows of a batch, as the network computes them."""
    arrays = (batch.ranks, batch.place_ranks, batch.documents, batch.place_documents)
    ranks, place_ranks, documents, asked = (None if each is None else torch.as_tensor(each[rows]) for each in arrays)
    assert ranks is not None and place_ranks is not None
    return two_stream_masks(ranks, place_ranks, documents, asked)


class PermutationLM:
    """Cross-entropy of the predicted tokens, in nats, summed; and how many of them the model named.

    The module it is given is a ``StreamsWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: PermutationBatch) -> float:
        """Return how many predictions count."""
        return float(batch.weights.sum())

    def loss(self, model: nn.Module, batch: PermutationBatch) -> Loss:
        """Return the summed loss of one micro-batch; ``predicted_accuracy`` is the share of tokens named right."""
        b = batch
        total, right = model(
            *(self._move(each) for each in (b.inputs, b.ranks, b.places, b.place_ranks, b.targets, b.weights)),
            *(None if each is None else self._move(each) for each in (b.documents, b.place_documents)),
        )
        return Loss(total, {"predicted_accuracy": float(right) / max(1.0, self.weight(batch))})

    def _move(self, array: object) -> Tensor:
        return torch.as_tensor(array).to(self._device, non_blocking=True)


class StreamsWithLoss(nn.Module):
    """A network of two streams and its loss as one module; only the places asked for have a query."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        inputs: Tensor,
        ranks: Tensor,
        places: Tensor,
        place_ranks: Tensor,
        targets: Tensor,
        weights: Tensor,
        documents: Tensor | None,
        place_documents: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the summed loss at the (B, M) places of (B, T) inputs, and the summed weight of those named right."""
        network: Any = self.network
        content_mask, query_mask = two_stream_masks(ranks, place_ranks, documents, place_documents)
        hidden = network.predict(inputs, places, content_mask, query_mask)
        logits = nn.functional.linear(hidden, network.head_weight).float().flatten(0, 1)
        targets, weights = targets.flatten(), weights.flatten()
        right = ((logits.detach().argmax(dim=-1) == targets) * weights).sum()
        return cross_entropy_sum(logits, targets, weights), right
