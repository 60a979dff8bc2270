"""The tables of an n-gram model: what is stored of each order, and the index that finds an n-gram again.

Finding is linear probing (Knuth, TAOCP 3, 6.4) over ``context * V + id``. Keys are placed in the order of
their home slot, so the final slot of each is ``max(home, previous + 1)``: one running maximum places
millions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zhixing.cores import usable_cores
from zhixing.errors import DataError
from zhixing.language import tr

Array = NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")

_ENTRY = np.dtype([("key", np.int64), ("node", np.int32), ("prob", np.float32)])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROOM = 2.0


@dataclass(frozen=True)
class OrderTable:
    """The n-grams of one order, sorted by context, then id.

    Attributes:
        starts: (contexts + 1,) the followers of context ``c`` are ``starts[c]:starts[c + 1]``.
        words: (n,) last id of each n-gram.
        probs: (n,) its interpolated probability after its context.
        backoffs: (n,) gamma of the n-gram as a context; 1 if nothing follows it. Empty at the highest order.
    """

    starts: Array
    words: Array
    probs: NDArray[np.float32]
    backoffs: NDArray[np.float32]


class HashIndex:
    """Where each n-gram of one order is, and its probability, in one cache line.

    Memory: 16 bytes per slot, 2 slots per n-gram.
    """

    def __init__(self, starts: Array, words: Array, probs: NDArray[np.float32], vocab_size: int) -> None:
        self._slots = np.uint64(max(8, int(len(words) * _ROOM)))
        edges = starts.astype(np.int64)
        followers = edges[1:] - edges[:-1]
        keys = np.repeat(np.arange(len(followers)) * vocab_size, followers) + words
        order = sort_order(self._home(keys))
        keys = keys.take(order)
        ramp = np.arange(len(keys))
        slots = np.maximum.accumulate(self._home(keys) - ramp) + ramp
        size = max(int(self._slots), int(slots[-1]) + 1 if len(slots) else 0) + 1
        self._table = np.zeros(size, _ENTRY)
        self._table["key"] = -1
        self._table["node"] = -1
        self._table["key"][slots] = keys
        self._table["node"][slots] = order
        self._table["prob"][slots] = probs.take(order)

    def _home(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slot where each key would like to be: a multiplicative hash scaled to the table."""
        spread = (keys.astype(np.uint64) * _GOLDEN) >> np.uint64(32)
        return ((spread * self._slots) >> np.uint64(32)).view(np.int64)

    def find(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the number (-1 if absent) and the probability (meaningless if absent) of each key."""
        slots = self._home(keys)
        rows = self._table.take(slots)
        found = rows["key"] == keys
        nodes = np.where(found, rows["node"], np.int32(-1))
        probs = rows["prob"].copy()
        seeking = np.flatnonzero(~found & (rows["key"] >= 0))
        step = 0
        while len(seeking):
            step += 1
            homes = slots.take(seeking)
            rows = self._table.take(homes + step)
            found = rows["key"] == keys.take(seeking)
            here = seeking[found]
            nodes[here], probs[here] = rows["node"][found], rows["prob"][found]
            # Slots are in the order of their keys' homes: one that is at home further on ends the search.
            seeking = seeking[~found & (rows["key"] >= 0) & (self._home(rows["key"]) <= homes)]
        return nodes, probs


def sort_order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what ``np.argsort(keys, kind="stable")`` does, for keys >= 0, by one plain sort where it fits.

    Sorting ``key * 2**b + place`` in 64 bits uses the processor's vector sort; argsort moves twice the data.
    """
    bits = max(len(keys) - 1, 1).bit_length()
    if len(keys) == 0 or int(keys.max()).bit_length() + bits > 63:
        return np.argsort(keys, kind="stable")
    packed = (keys << bits) | np.arange(len(keys))
    packed.sort()
    return packed & ((1 << bits) - 1)


def check_ids(ids: Array, vocab_size: int, name: str) -> None:
    """Raise DataError unless ``ids`` are whole numbers from 0 to ``vocab_size - 1``."""
    if ids.dtype.kind not in "iu":
        raise DataError(
            tr(
                f"{name}: ids must be whole numbers, not {ids.dtype}; encode the text first",
                f"{name}：词元编号必须是整数，而不是 {ids.dtype}；请先编码文本",
            )
        )
    if ids.size == 0:
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise DataError(
            tr(
                f"{name}: id {wrong} is outside 0 to {vocab_size - 1}; use the model's own tokenizer",
                f"{name}：编号 {wrong} 不在 0 到 {vocab_size - 1} 之间；请使用与模型配套的分词器",
            )
        )


def run_threads(task: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``[task(item) for item in items]`` on all cores (NumPy's inner loops release the lock)."""
    workers = min(usable_cores(), 8)
    if workers == 1 or len(items) < 2:
        return [task(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, items))
