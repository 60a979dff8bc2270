"""Where the pairs of a text stand in token shards, and the order in which they are read: like lengths together.

A pair is one document: the separator that opens it, its source, ``<|end|>``, its target. No text gives ``<|end|>``, so
what is which is never in doubt.

A batch is as wide as its longest source and its longest target, so pairs of like length belong together. The shuffled
order of an epoch is cut into stretches of ``POOL`` batches; within a stretch pairs are sorted by length, cut into
batches, and the batches are shuffled. A batch always begins at a multiple of its size, in every epoch, so the order is
a pure function of (seed, position) as that of windows is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.data.permutation import permute
from zhixing.data.shards import Ids, TokenShards
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.specials import TURN_END

POOL = 64
"""Batches among whose pairs like lengths are sought: enough to pad little, few enough to mix well."""
_READ_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Pairs:
    """Where N pairs stand in a stream of ids.

    Attributes:
        starts: (N,) int64, of the sources.
        sources: (N,) int64, how many ids each source has.
        targets: (N,) int64, how many ids each target has; it stands one place behind its source.
    """

    starts: Ids
    sources: Ids
    targets: Ids

    def __len__(self) -> int:
        return len(self.starts)

    def chosen(self, which: Ids | NDArray[np.bool_]) -> Pairs:
        """Return some of them."""
        return Pairs(self.starts[which], self.sources[which], self.targets[which])

    def ids(self, shards: TokenShards, number: int) -> tuple[Ids, Ids]:
        """Return the ids of one source and of its target."""
        start, size = int(self.starts[number]), int(self.sources[number])
        both = shards.tokens(start, start + size + 1 + int(self.targets[number]))
        return both[:size], both[size + 1 :]


def end_of_source(tokenizer: Tokenizer) -> int:
    """Return the id that stands between a source and its target.

    Raises:
        DataError: the tokenizer has none.
    """
    found = tokenizer.special_id(TURN_END)
    if found is None:
        raise DataError(
            tr(
                f"the tokenizer has no {TURN_END}, which closes the source of a pair; take one that was trained here",
                f"该分词器没有用于结束源文的 {TURN_END}；请使用在此训练的分词器",
            )
        )
    return found


def holds_pairs(shards: TokenShards, tokenizer: Tokenizer) -> bool:
    """Say whether the documents of ``shards``, which ``tokenizer`` made, are pairs."""
    end = tokenizer.special_id(TURN_END)
    return end is not None and shards.document_count > 0 and bool((shards.document(0) == end).any())


def find_pairs(shards: TokenShards, tokenizer: Tokenizer) -> Pairs:
    """Return where the pairs of ``shards`` are; 24 bytes of memory each.

    Raises:
        DataError: a document is no pair.
    """
    end, opens, ends = end_of_source(tokenizer), [], []
    for start in range(0, shards.token_count, _READ_AT_ONCE):
        ids = shards.tokens(start, min(start + _READ_AT_ONCE, shards.token_count))
        opens.append(start + np.flatnonzero(ids == shards.separator_id))
        ends.append(start + np.flatnonzero(ids == end))
    begin, middle = np.concatenate(opens), np.concatenate(ends)
    if len(middle) != len(begin) - 1 or (begin[:-1] >= middle).any() or (middle >= begin[1:]).any():
        raise DataError(
            tr(
                f"{shards.folder}: its documents are no pairs; prepare them with text.source_field and "
                "text.target_field",
                f"{shards.folder}：其中的文档不是成对数据；请用 text.source_field 与 text.target_field 重新准备",
            )
        )
    return Pairs(begin[:-1] + 1, middle - begin[:-1] - 1, begin[1:] - middle - 1)


class LikeLengths:
    """The order of N pairs, epoch after epoch; ``together`` of them are a batch."""

    def __init__(self, pairs: Pairs, together: int, seed: int, shuffle: bool = True) -> None:
        self._pairs, self._together, self._seed, self._shuffle = pairs, together, seed, shuffle
        self._found: tuple[tuple[int, int], Ids] | None = None

    def between(self, start: int, stop: int) -> Ids:
        """Return the numbers of the pairs at positions ``start`` to ``stop - 1``; any N in a row of an epoch differ."""
        size, found = len(self._pairs), []
        while start < stop:
            epoch, place = divmod(start, size)
            first, last = self._stretch(epoch, place)
            end = min(stop, epoch * size + last)
            found.append(self._ordered(epoch, first, last)[place - first : place - first + end - start])
            start = end
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _stretch(self, epoch: int, place: int) -> tuple[int, int]:
        """Return the stretch of an epoch's places that ``place`` lies in.

        The first completes the batch that the epoch before has begun, the last begins one for the next to complete.
        """
        size, step = len(self._pairs), self._together
        head = min(-epoch * size % step, size)
        rest = head + (size - head) // step * step
        if place < head:
            return 0, head
        if place >= rest:
            return rest, size
        first = head + (place - head) // (POOL * step) * POOL * step
        return first, min(first + POOL * step, rest)

    def _ordered(self, epoch: int, first: int, last: int) -> Ids:
        """Return which pairs stand at the places ``first`` to ``last - 1``; the stretch used last is kept."""
        if self._found is None or self._found[0] != (epoch, first):
            self._found = (epoch, first), self._drawn(epoch, first, last)
        return self._found[1]

    def _drawn(self, epoch: int, first: int, last: int) -> Ids:
        places = np.arange(first, last, dtype=np.int64)
        if not self._shuffle:
            return places
        numbers = permute(places, len(self._pairs), self._seed, epoch)
        if (last - first) % self._together:
            return numbers
        numbers = numbers[np.lexsort((self._pairs.targets[numbers], self._pairs.sources[numbers]))]
        batches = numbers.reshape(-1, self._together)
        draw = np.random.Generator(np.random.PCG64([self._seed, epoch, first]))
        return batches[draw.permutation(len(batches))].ravel()
