"""Given pairs for an encoder-decoder: the encoder reads a source, the decoder is asked for its target and the target's
end (Sutskever et al. 2014, section 2; Vaswani et al. 2017, section 5.1: "batched together by approximate sequence
length").

Nothing is cut: a pair whose source or target the model has no room for is left out and counted, and a notice says which
setting makes room. A batch is a pure function of (seed, position in the global order).
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from zhixing.config import Settings
from zhixing.data.pairs import LikeLengths, Pairs, find_pairs
from zhixing.data.shards import TokenShards
from zhixing.data.windows import TokenWindows
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.encoder_decoder import as_read, source_and_target_length, start_id
from zhixing.models.sentence_embedding import padded
from zhixing.pretraining.sequence_to_sequence import PairBatch
from zhixing.pretraining.shown import ShownPart, shown_pair
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)
LENGTH_STEP = 4
"""Batches are padded to a multiple of it, as far as the model has room, so that few shapes occur."""


class GivenPairs:
    """The pairs of a text that a model has room for, at positions of one global order."""

    def __init__(self, windows: TokenWindows, pairs: Pairs, model: Settings, together: int) -> None:
        self._shards, self._separator = windows.shards, windows.shards.separator_id
        self._pairs, self._model = pairs, model
        self._order = LikeLengths(pairs, together, windows.seed, windows.shuffle)
        self._room = source_and_target_length(model)

    @property
    def items_per_epoch(self) -> int:
        """Pairs of the text that the model has room for."""
        return len(self._pairs)

    def batch(self, start: int, count: int) -> PairBatch:
        """Return the pairs at positions ``start`` to ``start + count - 1``, padded to the longest."""
        sources, targets = [], []
        for number in self._order.between(start, start + count):
            source, target = self._pairs.ids(self._shards, int(number))
            sources.append(np.array(as_read(self._model, self._separator, source.tolist()), np.int64))
            targets.append(np.append(target, self._separator))
        read, sizes = padded(sources, LENGTH_STEP, self._separator)
        asked, lengths = padded(targets, LENGTH_STEP, self._separator)
        read, asked = read[:, : self._room[0]], asked[:, : self._room[1]]
        weights = (np.arange(asked.shape[1]) < lengths[:, None]).astype(np.float32)
        opening = np.full((count, 1), start_id(self._model, self._separator), np.int64)
        return PairBatch(read, sizes, np.concatenate([opening, asked[:, :-1]], axis=1), asked, weights)

    def shown(self, batch: PairBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one pair as the encoder and as the decoder read it."""
        b = batch
        return shown_pair(b.source[row], int(b.source_lengths[row]), b.inputs[row], b.targets[row], b.weights[row])


class PairIndex:
    """Finds the pairs of each text once, however often questions are asked about it."""

    def __init__(self, tokenizer: Tokenizer, model: Settings, together: int) -> None:
        self._tokenizer, self._model, self._together = tokenizer, model, together
        self._found: dict[str, Pairs] = {}

    def __call__(self, windows: TokenWindows) -> GivenPairs:
        """Return the questions about the pairs of a text.

        Raises:
            DataError: a document is no pair, or the model has room for none of them.
        """
        shards = windows.shards
        if shards.digest not in self._found:
            self._found[shards.digest] = fitting(shards, find_pairs(shards, self._tokenizer), self._model)
        return GivenPairs(windows, self._found[shards.digest], self._model, self._together)


def fitting(shards: TokenShards, pairs: Pairs, model: Settings) -> Pairs:
    """Return the pairs that the model has room for; how many are left out is logged.

    Raises:
        DataError: there is none.
    """
    read, written = source_and_target_length(model)
    fits = (pairs.sources < read) & (pairs.targets < written)  # one id more: the separator
    if not fits.all():
        words = _too_long(shards, pairs, fits, read, written)
        if not fits.any():
            raise DataError(words)
        _log.warning(words)
    return pairs.chosen(fits)


def _too_long(shards: TokenShards, pairs: Pairs, fits: NDArray[np.bool_], read: int, written: int) -> str:
    longest, target = int(pairs.sources.max()), int(pairs.targets.max())
    left, long_sources = int((~fits).sum()), int((pairs.sources >= read).sum())
    long_targets = int((pairs.targets >= written).sum())
    needed, share = longest + target + 1, target + 1
    return tr(
        f"{shards.folder}: {left:,} of {len(pairs):,} pairs are left out, too long for the model: {long_sources:,} "
        f"sources of more than {read - 1} tokens, {long_targets:,} targets of more than {written - 1}; "
        f"model.context_length: {needed} with model.target_length: {share} has room for all",
        f"{shards.folder}：{len(pairs):,} 对中有 {left:,} 对因过长而略去：源超过 {read - 1} 个词元的 {long_sources:,} "
        f"个，目标超过 {written - 1} 个词元的 {long_targets:,} 个；设 model.context_length: {needed} 与 "
        f"model.target_length: {share} 可容纳全部",
    )
