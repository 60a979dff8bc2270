"""Counting and smoothing: from a stream of ids to the tables of an interpolated modified Kneser-Ney model.

Papers: Kneser and Ney (1995); Chen and Goodman (1998), equation 26.

Counting is sorting. Order ``n`` is ``n - 1`` refined: positions that begin with the same (n-1)-gram stand
together, and sorting each such group by its next id makes the n-grams. An n-gram's number is its rank in
lexicographic order, so the followers of a context are one slice, and ``starts`` (one offset per context) is
the whole trie. The shorter n-gram that an n-gram ends with (its suffix) is read at the next position;
counting suffixes gives the continuation counts of Kneser-Ney without a dictionary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.ngram_tables import Array, OrderTable, check_ids, run_threads, sort_order
from zhixing.progress import Bar, progress

logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""For a corpus so small that no discount can be estimated (the customary constants)."""
BLOCK = 1 << 19
"""Positions sorted together: large enough to hide Python, small enough to stay near a core."""
_LIMIT = (1 << 31) - 1
_BELOW_ONE = np.float32(np.nextafter(np.float32(1), np.float32(0)))


@dataclass(frozen=True)
class TokenStream:
    """All training ids, end to end.

    Attributes:
        ids: (N,) unsigned; a memory map is read, never copied.
        begins: positions where a sequence begins: its first id is context only.
        separator: id that no context reaches back past.
    """

    ids: Array
    begins: NDArray[np.int64]
    separator: int


@dataclass(frozen=True)
class CountedOrder:
    """The n-grams of one order, in lexicographic order.

    Attributes:
        words: (n,) last id of each.
        starts: (contexts + 1,) followers of context ``c`` are ``starts[c]:starts[c + 1]``.
        counts: (n,) occurrences.
        suffixes: (n,) number, one order lower, of each n-gram without its first id.
    """

    words: Array
    starts: NDArray[np.int64]
    counts: NDArray[np.int32]
    suffixes: NDArray[np.int32]


def join_sequences(sequences: Iterable[Array], vocab_size: int, separator: int) -> TokenStream:
    """Lay ``sequences`` end to end in the smallest unsigned type; one whole array is taken as it is.

    Raises:
        DataError: an id lies outside the vocabulary, an array is not of whole numbers, or there are too many.
    """
    kind = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
    parts: list[Array] = []
    for number, part in enumerate([sequences] if isinstance(sequences, np.ndarray) else sequences):
        check_ids(part, vocab_size, tr(f"sequence {number}", f"序列 {number}"))
        if len(part) > 1:  # one id alone has nothing after it
            # Narrowing at once lets the caller's wide array be freed; np.asarray copies nothing.
            small = part.dtype.kind == "u" and part.dtype.itemsize <= kind.itemsize
            parts.append(np.asarray(part) if small else np.asarray(part).astype(kind))
    begins = np.cumsum([0, *map(len, parts)], dtype=np.int64)[:-1]
    ids = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, kind)])
    if len(ids) >= _LIMIT:
        raise DataError(
            tr(
                f"{len(ids)} tokens are more than an n-gram model counts ({_LIMIT - 1}); use less text",
                f"{len(ids)} 个词元超过 n 元模型可计数的上限（{_LIMIT - 1}）；请减少文本",
            )
        )
    return TokenStream(ids, begins, separator)


def count_orders(stream: TokenStream, vocab_size: int, order: int) -> list[CountedOrder]:
    """Return the n-grams of orders 2 to ``order``; the context of order 2 is the id itself."""
    total = len(stream.ids) * (order - 1)
    with progress(tr("counting n-grams", "统计 n 元组"), total=total, unit="tokens") as bar:
        return _count_orders(stream, vocab_size, order, bar)


def _count_orders(stream: TokenStream, vocab_size: int, order: int, bar: Bar) -> list[CountedOrder]:
    reach = _reach(stream, order)
    positions, firsts = _sort_by_id(stream.ids, vocab_size)
    nodes = np.empty(len(stream.ids), np.int32)
    levels: list[CountedOrder] = []
    contexts = vocab_size
    for n in range(2, order + 1):
        blocks = _split(firsts, len(positions))
        task = _Refine(stream.ids, reach, positions, firsts, n, vocab_size)
        positions, firsts, parents, words = task.join(run_threads(task, blocks))
        counts = np.diff(firsts, append=len(positions)).astype(np.int32)
        suffixes = words.astype(np.int32) if n == 2 else nodes[positions[firsts] + 1]
        starts = np.zeros(contexts + 1, np.int64)
        np.cumsum(np.bincount(parents, minlength=contexts), out=starts[1:])
        levels.append(CountedOrder(words, starts, counts, suffixes))
        contexts = len(words)
        if n < order:
            nodes[positions] = np.repeat(np.arange(contexts, dtype=np.int32), counts)
        bar.advance(len(stream.ids))
    return levels


def _reach(stream: TokenStream, order: int) -> NDArray[np.uint8]:
    """Return how long an n-gram that begins at each position may be, at most ``order``.

    It ends with the sequence, and at a separator, which it may include: there a document ends.
    """
    reach = np.full(len(stream.ids), order, np.uint8)
    separators = np.flatnonzero(stream.ids == stream.separator)
    ends = np.append(stream.begins[1:], len(stream.ids))
    for back in range(order - 1, 0, -1):
        for places, longest in ((separators - back, back + 1), (ends - back, back)):
            places = places[places >= 0]
            reach[places] = np.minimum(reach[places], longest)
    return reach


def _sort_by_id(ids: Array, vocab_size: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return all positions ordered by their id, and the first place of every id of the vocabulary."""
    # A stable sort of 16-bit numbers is a radix sort.
    positions = np.argsort(ids, kind="stable" if ids.dtype.itemsize <= 2 else None).astype(np.int32)
    firsts = np.zeros(vocab_size, np.int64)
    for begin in range(0, len(ids), BLOCK):
        firsts += np.bincount(ids[begin : begin + BLOCK], minlength=vocab_size)
    np.cumsum(firsts[:-1], out=firsts[1:])
    firsts[:1] = 0
    return positions, firsts


def _split(firsts: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    """Return ranges of whole groups that together hold about ``BLOCK`` positions each."""
    cuts = np.searchsorted(firsts, np.arange(0, size, BLOCK), side="left")
    edges = np.unique(np.concatenate([[0], cuts, [len(firsts)]]))
    return [(int(a), int(b)) for a, b in pairwise(edges)] or [(0, 0)]


_Block = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], Array]


@dataclass(frozen=True)
class _Refine:
    """Turn groups of equal (n-1)-grams into groups of equal n-grams, a block of groups at a time."""

    ids: Array
    reach: NDArray[np.uint8]
    positions: NDArray[np.int32]
    firsts: NDArray[np.int64]
    n: int
    vocab_size: int

    def __call__(self, block: tuple[int, int]) -> _Block:
        """Return (positions, first place of each n-gram, its context, its last id) of one range of groups."""
        first, last = block
        edges = np.append(self.firsts[first : last + 1], len(self.positions))[: last - first + 1]
        positions = self.positions[edges[0] : edges[-1]]
        groups = np.repeat(np.arange(last - first), np.diff(edges))
        keep = np.flatnonzero(self.reach.take(positions) >= self.n)
        positions, groups = positions.take(keep), groups.take(keep)
        words = self.ids.take(positions + np.int32(self.n - 1))
        keys = groups * self.vocab_size + words
        order = sort_order(keys)
        keys = keys.take(order)
        new = np.flatnonzero(np.diff(keys, prepend=-1))
        heads = order.take(new)
        return positions.take(order), new, groups.take(heads) + first, words.take(heads)

    def join(self, blocks: Sequence[_Block]) -> _Block:
        """Return the blocks as one, places shifted to where each block now begins."""
        sizes = np.cumsum([0, *(len(block[0]) for block in blocks)])
        return (
            np.concatenate([block[0] for block in blocks]),
            np.concatenate([block[1] + size for block, size in zip(blocks, sizes[:-1], strict=True)]),
            np.concatenate([block[2] for block in blocks]),
            np.concatenate([block[3] for block in blocks]),
        )


def adjusted_counts(stream: TokenStream, counted: Sequence[CountedOrder], vocab_size: int) -> list[Array]:
    """Return ``a`` of every n-gram: occurrences at the highest order, continuation counts below it."""
    if not counted:
        counts = np.bincount(stream.ids, minlength=vocab_size)
        np.subtract.at(counts, stream.ids[stream.begins], 1)
        return [counts]
    adjusted = [np.bincount(counted[0].suffixes, minlength=vocab_size)]
    low, high = stream.separator, stream.separator + 1
    for level, above in pairwise(counted):
        # An n-gram met only at the beginning of a sequence has nothing before it: it counts once.
        continuations = np.maximum(np.bincount(above.suffixes, minlength=len(level.words)), 1)
        low, high = int(level.starts[low]), int(level.starts[high])
        continuations[low:high] = level.counts[low:high]
        adjusted.append(continuations.astype(np.int32))
    return [*adjusted, counted[-1].counts]


def modified_discounts(counts: Array) -> tuple[float, float, float]:
    """Return the discounts of n-grams counted once, twice, and thrice or more (equation 26).

    Where one is undefined or would leave (0, count]: Ney's n1 / (n1 + 2 n2) for all three, else constants.
    """
    n1, n2, n3, n4 = (int(n) for n in np.bincount(np.minimum(counts, 5), minlength=6)[1:5])
    if n1 == 0 or n2 == 0:
        return FALLBACK_DISCOUNTS
    single = n1 / (n1 + 2 * n2)
    if n3 == 0 or n4 == 0:
        return single, single, single
    found = (1 - 2 * single * n2 / n1, 2 - 3 * single * n3 / n2, 3 - 4 * single * n4 / n3)
    return found if min(found) > 0 else (single, single, single)


@dataclass(frozen=True)
class SmoothedTables:
    """What ``smooth`` computes: the arguments of the model.

    Attributes:
        unigram: (V,) probability of each id with no context.
        backoffs: (V,) gamma of each id as a context.
        tables: orders 2, 3, ...
        discounts: three per order.
    """

    unigram: NDArray[np.float32]
    backoffs: NDArray[np.float32]
    tables: tuple[OrderTable, ...]
    discounts: tuple[tuple[float, float, float], ...]


def smooth(
    counted: Sequence[CountedOrder], adjusted: Sequence[Array], unpredictable: frozenset[int] = frozenset()
) -> SmoothedTables:
    """Turn counts into interpolated probabilities and backoff weights, from order 1 up.

    Raises:
        DataError: an id of ``unpredictable`` comes next in the data, or is not in the vocabulary.
    """
    size = len(adjusted[0])
    _refuse_unpredictable(adjusted[0], unpredictable)
    starts = [np.array([0, size]), *(level.starts for level in counted)]
    discounts = tuple(modified_discounts(counts) for counts in adjusted)
    _report_fallbacks(discounts)
    shorter = np.full(size, 1.0 / max(size - len(unpredictable), 1))
    shorter[list(unpredictable)] = 0.0
    probs: list[NDArray[np.float32]] = []
    backoffs: list[NDArray[np.float32]] = []
    for n, counts in enumerate(adjusted):
        own, gamma = _discounted(counts, starts[n], discounts[n])
        interpolated = own + np.repeat(gamma, np.diff(starts[n])) * shorter
        probs.append(interpolated.astype(np.float32))
        backoffs.append(_stored_backoffs(gamma))
        shorter = interpolated.take(counted[n].suffixes) if n < len(counted) else shorter
    none = np.zeros(0 if counted else size, np.float32)
    backoffs.append(none if counted else none + 1)
    tables = [
        OrderTable(level.starts.astype(np.uint32), level.words, probs[n], backoffs[n + 1])
        for n, level in enumerate(counted, start=1)
    ]
    return SmoothedTables(probs[0], backoffs[1], tuple(tables), discounts)


def _discounted(counts: Array, starts: NDArray[np.int64], discounts: Sequence[float]) -> tuple[Floats, Floats]:
    """Return (a - D(a)) / sum of ``a`` of each n-gram, gamma of each context (1: nothing follows)."""
    taken = np.array([0.0, *discounts]).take(np.minimum(counts, 3))
    followed = np.flatnonzero(np.diff(starts))
    totals, gamma = np.zeros(len(starts) - 1), np.ones(len(starts) - 1)
    if len(followed):
        totals[followed] = np.add.reduceat(counts, starts[followed], dtype=np.int64)
        gamma[followed] = np.add.reduceat(taken, starts[followed])
    np.divide(gamma, totals, out=gamma, where=totals > 0)
    gamma[totals == 0] = 1.0  # an empty corpus: all weight to the uniform distribution
    return (counts - taken) / np.maximum(np.repeat(totals, np.diff(starts)), 1.0), gamma


def _stored_backoffs(gamma: Floats) -> NDArray[np.float32]:
    """Return ``gamma`` as float32 in which 1 means, and only means, that nothing follows."""
    return np.where(gamma < 1, np.minimum(gamma.astype(np.float32), _BELOW_ONE), np.float32(1))


def _report_fallbacks(discounts: Sequence[tuple[float, float, float]]) -> None:
    weak = [str(n) for n, (d1, d2, d3) in enumerate(discounts, 1) if d1 == d2 == d3]
    weak += [str(n) for n, found in enumerate(discounts, 1) if found == FALLBACK_DISCOUNTS]
    if weak:
        orders = ", ".join(sorted(weak, key=int))
        logger.info(
            tr(
                f"too little text to estimate three discounts at order {orders}: simpler ones are used there",
                f"文本太少，无法为 {orders} 阶估计三个折扣：改用更简单的折扣",
            )
        )


def _refuse_unpredictable(counts: Array, unpredictable: frozenset[int]) -> None:
    for token in sorted(unpredictable):
        if not 0 <= token < len(counts) or counts[token]:
            raise DataError(
                tr(
                    f"id {token} is listed as never predicted, but it comes next in the data "
                    "or is not in the vocabulary; take it off the list or out of the data",
                    f"编号 {token} 被列为永不预测，却在数据中出现或不在词表中；请移出列表或数据",
                )
            )
