"""Fixed windows of a stream of ids, in one global order that is a pure function of (seed, position).

Window k holds ids kT .. kT + T, so that every id but the first is predicted exactly once per epoch. Position
p of the order belongs to epoch ``p // windows_per_epoch``; each epoch has its own permutation. A run is
resumed from one integer, at any batch size and on any number of machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.data.permutation import permute
from zhixing.data.shards import Ids, TokenShards
from zhixing.errors import DataError
from zhixing.language import tr


@dataclass(frozen=True)
class Batch:
    """B windows of T predictions, as NumPy arrays.

    ``inputs`` and ``targets``: (B, T) int64. ``weights``: (B, T) float32, 1 where the target counts, 0 at
    padding. ``documents``: (B, T) int32, the ordinal of each input's document within its row; inputs of
    different documents must not see each other. None: every input may see all before it. ``positions``:
    (B, T) int64, the place of each input within its document's share of the row. None: 0 .. T - 1.
    """

    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]
    documents: NDArray[np.int32] | None = None
    positions: Ids | None = None


class TokenWindows:
    """Cuts ``shards`` into windows of ``context_length`` predictions, handed out in one global order."""

    def __init__(
        self,
        shards: TokenShards,
        context_length: int,
        seed: int,
        shuffle: bool = True,
        isolate_documents: bool = False,
    ) -> None:
        if shards.token_count < 2:
            raise DataError(
                tr(
                    f"{shards.folder}: {shards.token_count} tokens: too few to predict one; add text",
                    f"{shards.folder}：只有 {shards.token_count} 个词元，无法预测；请增加文本",
                )
            )
        self.shards = shards
        self.context_length = context_length
        self.seed = seed
        self.shuffle = shuffle
        self.isolate_documents = isolate_documents

    @property
    def windows_per_epoch(self) -> int:
        """Windows that cover the stream once; the last may be short, and is padded with weight 0."""
        return -(-(self.shards.token_count - 1) // self.context_length)

    def batch(self, start: int, count: int) -> Batch:
        """Return the windows at positions ``start`` to ``start + count - 1`` of the global order."""
        length = self.context_length
        rows = np.full((count, length + 1), self.shards.separator_id, dtype=np.int64)
        weights = np.zeros((count, length), dtype=np.float32)
        sizes = np.empty(count, dtype=np.int64)
        for row, ids in enumerate(self.seen_ids(start, start + count)):
            rows[row, : len(ids)] = ids
            weights[row, : len(ids) - 1] = 1
            sizes[row] = len(ids)
        inputs, targets = rows[:, :-1].copy(), rows[:, 1:].copy()
        documents = positions = None
        if self.isolate_documents:
            documents, positions = _isolation(inputs, sizes - 1, self.shards.separator_id)
        return Batch(inputs, targets, weights, documents, positions)

    def seen_ids(self, start: int, stop: int) -> Iterator[Ids]:
        """Yield the ids of the windows at positions ``start`` to ``stop - 1``: T + 1 each, fewer in the last.

        An n-gram counted on these has seen exactly what a model has that was trained on them.
        """
        for window in global_order(start, stop, self.windows_per_epoch, self.seed, self.shuffle):
            first = int(window) * self.context_length
            yield self.shards.tokens(first, min(first + self.context_length + 1, self.shards.token_count))


def global_order(start: int, stop: int, size: int, seed: int, shuffle: bool = True) -> Iterator[int]:
    """Yield which of ``size`` things stand at positions ``start`` to ``stop - 1``, a bounded stretch at a time.

    Every epoch of ``size`` positions holds each once, in an order of its own if ``shuffle``.
    """
    while start < stop:
        epoch, place = divmod(start, size)
        places = np.arange(place, min(size, place + stop - start, place + 65_536), dtype=np.int64)
        yield from permute(places, size, seed, epoch) if shuffle else places
        start += len(places)


def _isolation(inputs: Ids, sizes: Ids, separator_id: int) -> tuple[NDArray[np.int32] | None, Ids | None]:
    """Return each input's document ordinal and its position therein, (B, T); None without any boundary.

    A separator opens its document. Padding stays with the row's last document.
    """
    columns = np.arange(inputs.shape[1])
    opens = (inputs == separator_id) & (columns < sizes[:, None])
    opens[:, 0] = False
    if not opens.any():
        return None, None
    documents = np.cumsum(opens, axis=1, dtype=np.int32)
    begin = np.maximum.accumulate(np.where(opens, columns, 0), axis=1)
    return documents, columns - begin
