"""The masked language-modelling objective: say what stood at hidden places, from both sides (Devlin et al. 2019,
section 3.1).

Of the chosen places 80 % become the mask token, 10 % a random token and 10 % stay as they are, so that the network
cannot trust what it sees. Masks are dynamic (Liu et al. 2019, section 4.1): each reading of a window draws its own.
They are a pure function of (seed, position in the global order), as the windows are: a resumed run draws the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.data.windows import Batch, TokenWindows
from zhixing.models.encoder import mask_id
from zhixing.models.protocol import Ids
from zhixing.nn.losses import cross_entropy_sum
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.visibility import around
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.training.objective import Loss

Flags = NDArray[np.bool_]


class MaskedSettings(Settings):
    """How masks are drawn."""

    kind: Literal["masked"] = setting("masked", "hidden tokens from both sides", "由两侧上下文预测被遮盖的词元")
    share: float = setting(0.15, "of the tokens are predicted", "参与预测的词元占比", gt=0, lt=1)
    hidden: float = setting(0.8, "of those become the mask token", "其中换成掩码词元的比例", ge=0, le=1)
    random: float = setting(0.1, "of those become a random token", "其中换成随机词元的比例", ge=0, le=1)
    whole_words: bool = setting(False, "the tokens of a word are masked together", "同一个词的词元一起遮盖")


@dataclass(frozen=True)
class MaskedBatch:
    """B corrupted windows of T ids, M places of each to be predicted.

    ``inputs`` (B, T) int64; ``places``, ``targets`` (B, M) int64: where, and what stood there; ``weights`` (B, M)
    float32, 0 where a row has fewer places; ``documents``, ``positions`` as in ``Batch``; ``lengths`` (B,) real ids,
    None: all.
    """

    inputs: Ids
    places: Ids
    targets: Ids
    weights: NDArray[np.float32]
    documents: NDArray[np.int32] | None = None
    positions: Ids | None = None
    lengths: Ids | None = None


class MaskedWindows:
    """Windows with masks, at positions of the windows' global order."""

    def __init__(self, windows: TokenWindows, settings: MaskedSettings, tokenizer: Tokenizer, seed: int) -> None:
        self._windows, self._settings, self._seed = windows, settings, seed
        self._mask_id = mask_id(tokenizer)
        special = np.zeros(tokenizer.vocab_size, dtype=bool)
        special[list(tokenizer.special_ids)] = True
        self._special, self._ordinary = special, np.flatnonzero(~special)
        self._joins = _word_joins(tokenizer) if settings.whole_words else None

    def batch(self, start: int, count: int) -> MaskedBatch:
        """Return the windows at positions ``start`` to ``start + count - 1``."""
        plain = self._windows.batch(start, count)
        most = max(1, round(self._settings.share * plain.inputs.shape[1]))
        inputs = plain.inputs.copy()
        places, weights = np.zeros((count, most), np.int64), np.zeros((count, most), np.float32)
        for row in range(count):
            draw = np.random.Generator(np.random.PCG64([self._seed, start + row]))
            chosen = self._choose(plain, row, draw)
            inputs[row, chosen] = self._corrupt(plain.inputs[row, chosen], draw)
            places[row, : len(chosen)] = chosen
            weights[row, : len(chosen)] = 1
        lengths = plain.weights.sum(axis=1).astype(np.int64)
        return MaskedBatch(
            inputs,
            places,
            np.take_along_axis(plain.inputs, places, axis=1),
            weights,
            plain.documents,
            plain.positions,
            None if (lengths == inputs.shape[1]).all() else np.maximum(lengths, 1),
        )

    def shown(self, batch: MaskedBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one row as an encoder reads it."""
        size = batch.inputs.shape[1]
        asked = batch.weights[row] > 0
        targets, weights = np.full(size, -1, np.int64), np.zeros(size, np.float32)
        targets[batch.places[row][asked]] = batch.targets[row][asked]
        weights[batch.places[row][asked]] = batch.weights[row][asked]
        documents = None if batch.documents is None else batch.documents[row].astype(np.int64)
        part = ShownPart(
            name="inputs",
            ids=batch.inputs[row],
            targets=targets,
            weights=weights,
            positions=np.arange(size) if batch.positions is None else batch.positions[row],
            documents=np.zeros(size, np.int64) if documents is None else documents,
            visible=around(documents, size, None if batch.lengths is None else int(batch.lengths[row])),
        )
        return (part,)

    def _choose(self, plain: Batch, row: int, draw: np.random.Generator) -> Ids:
        """Return the places of one row to be predicted, in order: no special token, no padding."""
        ids = plain.inputs[row]
        may = ~self._special[ids] & (plain.weights[row] > 0)
        candidates = np.flatnonzero(may)
        number = min(len(candidates), max(1, round(self._settings.share * len(candidates))))
        if self._joins is None:
            return np.sort(candidates[np.argsort(draw.random(len(candidates)))[:number]])
        return choose_words(candidates, self._joins(ids), number, draw)

    def _corrupt(self, ids: Ids, draw: np.random.Generator) -> Ids:
        """Return what is shown in the place of ``ids`` (M,): mask, another token, or the same."""
        fate = draw.random(len(ids))
        others = self._ordinary[(draw.random(len(ids)) * len(self._ordinary)).astype(np.int64)]
        s = self._settings
        return np.where(fate < s.hidden, self._mask_id, np.where(fate < s.hidden + s.random, others, ids))


def choose_words(candidates: Ids, joins: Flags, number: int, draw: np.random.Generator) -> Ids:
    """Return at most ``number`` of the ``candidates``: whole words in random order; if none is that short, one is cut.

    Args:
        candidates: (N,) places that may be masked, rising.
        joins: (T,) True where a token continues the word of the one before it.
        number: of places.
        draw: the source of the order.
    """
    follows = np.diff(candidates, prepend=-2) == 1
    words = np.split(candidates, np.flatnonzero(~(follows & joins[candidates]))[1:])
    chosen: list[Ids] = []
    room = number
    order = np.argsort(draw.random(len(words)))
    for word in (words[index] for index in order):
        if len(word) <= room:
            chosen.append(word)
            room -= len(word)
    return np.sort(np.concatenate(chosen)) if chosen else words[order[0]][:number]


def _word_joins(tokenizer: Tokenizer) -> Callable[[Ids], Flags]:
    """Return a function that marks, in (T,) ids, each that continues the word of the one before it.

    A word is a run of letters and digits of scripts that set blanks between words; of other scripts (Chinese, Japanese,
    Thai, …) each token is a word of its own. Pieces of one character always belong together.
    """
    pieces = [tokenizer.token_bytes(index) for index in range(tokenizer.vocab_size)]
    inside = np.array([bool(piece) and 0x80 <= piece[0] < 0xC0 for piece in pieces])
    begins = np.array([_is_letter(piece.decode("utf-8", "replace")[:1]) for piece in pieces])
    ends = np.array([_is_letter(piece.decode("utf-8", "replace")[-1:]) for piece in pieces])

    def joins(ids: Ids) -> Flags:
        found = inside[ids]
        found[1:] |= begins[ids[1:]] & ends[ids[:-1]]
        return found

    return joins


def _is_letter(character: str) -> bool:
    """Say whether a character can stand inside a word between blanks; U+0E00 to U+FFFF hold the scripts without."""
    return character.isalnum() and not 0x0E00 <= ord(character) <= 0x0EFF and not 0x2E80 <= ord(character) <= 0xFFFF


class MaskedLM:
    """Cross-entropy of the hidden tokens, in nats, summed; and how many of them the model named.

    The module it is given is an ``EncoderWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: MaskedBatch) -> float:
        """Return how many predictions count."""
        return float(batch.weights.sum())

    def loss(self, model: nn.Module, batch: MaskedBatch) -> Loss:
        """Return the summed loss of one micro-batch; ``masked_accuracy`` is the share of tokens named right."""
        b = batch
        total, right = model(
            *(self._move(array) for array in (b.inputs, b.places, b.targets, b.weights)),
            *(None if array is None else self._move(array) for array in (b.documents, b.positions, b.lengths)),
        )
        return Loss(total, {"masked_accuracy": float(right) / max(1.0, self.weight(batch))})

    def _move(self, array: object) -> Tensor:
        return torch.as_tensor(array).to(self._device, non_blocking=True)


class EncoderWithLoss(nn.Module):
    """An encoder and its loss as one module; only the masked places pass through the output head."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self,
        inputs: Tensor,
        places: Tensor,
        targets: Tensor,
        weights: Tensor,
        documents: Tensor | None,
        positions: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the summed loss at the (B, M) places of (B, T) inputs, and the summed weight of those named right."""
        encoder: Any = self.encoder
        hidden = encoder(inputs, positions=positions, documents=documents, lengths=lengths)
        hidden = hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = encoder.logits(hidden).float().flatten(0, 1)
        targets, weights = targets.flatten(), weights.flatten()
        right = ((logits.detach().argmax(dim=-1) == targets) * weights).sum()
        return cross_entropy_sum(logits, targets, weights), right
