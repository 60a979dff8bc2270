"""All ways of cutting all words into pieces, as arrays: expectation, likelihood and pruning losses of Kudo (2018).

A word of n bytes has n + 1 slots, the places before, between and after its bytes; a piece that fits is an edge from
the slot where it begins to the slot where it ends. A way of cutting is a path from a word's first slot to its last.
The sums over all paths (``theory.tokenization.unigram_sums``) go through all words in step: all edges that end one
byte after their word's beginning, then two bytes, and so on; each step is a few NumPy calls, whatever the number of
words. Sums are kept as logarithms: a word of 64 rare bytes has a probability below the smallest number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.cores import usable_cores

Floats = NDArray[np.float64]
Integers = NDArray[Any]

BYTES = 256
"""The first pieces are the single bytes; they are in every vocabulary."""

_CLOSE_TO_ONE = 0.99999
"""Posterior from which on ``log(1 - posterior)`` has less than ten digits: the sum is taken anew."""
_PORTION = 2_000_000
"""Edges copied at a time."""


@dataclass(frozen=True)
class Sweep:
    """Edges in the order in which sums pass over them: by depth (steps from the origin), then by target."""

    source: Integers
    target: Integers
    levels: Integers
    """Where each depth's edges begin, and the end: shape ``(depths + 1,)``."""

    @classmethod
    def of(cls, source: Integers, target: Integers, depth: Integers) -> tuple[Sweep, Integers]:
        """Return the sweep over edges with their targets' depths (1, 2, …), and the order it put them into."""
        order = np.argsort(target, kind="stable")
        order = order[np.argsort(depth[order].astype(np.uint16), kind="stable")].astype(np.int32)  # by radix
        levels = np.concatenate([[0], np.cumsum(np.bincount(depth, minlength=1)[1:])])
        return cls(source[order], target[order], levels), order

    def keep(self, mask: NDArray[np.bool_]) -> Sweep:
        """Return the sweep over some of the edges."""
        levels = np.concatenate([[0], np.cumsum(mask)])[self.levels]
        return Sweep(self.source[mask], self.target[mask], levels)

    def log_sums(self, log_weight: Floats, slots: int) -> Floats:
        """Return for each slot the logarithm of the sum over all paths to it; log 1 where no edge arrives."""
        sums = np.zeros(slots)
        first = np.flatnonzero(np.diff(self.target, prepend=-1))
        groups = np.searchsorted(first, self.levels)
        for (low, high), (begin, end) in zip(itertools.pairwise(self.levels), itertools.pairwise(groups), strict=True):
            arriving = sums[self.source[low:high]] + log_weight[low:high]
            starts, where = first[begin:end] - low, self.target[first[begin:end]]
            largest = np.maximum.reduceat(arriving, starts)
            sums[where] = largest
            arriving -= sums[self.target[low:high]]
            np.exp(arriving, out=arriving)
            sums[where] = largest + np.log(np.add.reduceat(arriving, starts))
        return sums


@dataclass(frozen=True)
class Block:
    """Some of the words, with all edges of theirs."""

    counts: Integers
    """How often each word occurs: shape ``(words,)``."""
    word: Integers
    """The word of each slot: shape ``(slots,)``."""
    last: Integers
    """The last slot of each word: shape ``(words,)``."""
    forward: Sweep
    backward: Sweep
    order: Integers
    """Of each edge of ``backward`` its number in ``forward``."""
    piece: Integers
    """The piece of each edge of ``forward``: shape ``(edges,)``."""
    repeated: NDArray[np.bool_]
    """Whether the piece fits its word at more than one place: shape ``(edges,)``."""

    def keep(self, new_number: Integers) -> Block:
        """Return the block with its pieces renumbered, those without a number (below 0) gone."""
        piece = new_number[self.piece]
        mask = piece >= 0
        rank = np.cumsum(mask) - 1
        behind = mask[self.order]
        return replace(
            self,
            forward=self.forward.keep(mask),
            backward=self.backward.keep(behind),
            order=rank[self.order[behind]].astype(np.int32),
            piece=piece[mask],
            repeated=self.repeated[mask],
        )

    def posteriors(self, log_probability: Floats) -> tuple[Floats, Floats]:
        """Return how probable each edge is, its word given (edges,), and log p of each word (words,)."""
        log_weight = log_probability[self.piece]
        before = self.forward.log_sums(log_weight, len(self.word))
        after = self.backward.log_sums(log_weight[self.order], len(self.word))
        totals = before[self.last]
        after -= totals[self.word]
        return np.exp(before[self.forward.source] + log_weight + after[self.forward.target]), totals

    def expected_counts(self, log_probability: Floats) -> tuple[Floats, float]:
        """Return the expected count of each piece (pieces,), and the log-likelihood of the words, in nats."""
        posterior, totals = self.posteriors(log_probability)
        posterior *= self.counts[self.word[self.forward.source]]
        found: Floats = np.bincount(self.piece, posterior, len(log_probability)).astype(np.float64, copy=False)
        return found, float(self.counts @ totals)

    def losses(self, log_probability: Floats) -> Floats:
        """Return the nats that go with each piece (pieces,); 0 for the bytes.

        A piece at one place of a word is in that word with its edge's probability P, and without it the word keeps
        the share 1 - P. Where it fits twice, or P is close to 1, the sum without it is taken anew.
        """
        posterior, totals = self.posteriors(log_probability)
        word = self.word[self.forward.source]
        long = self.piece >= BYTES
        anew = long & (self.repeated | (posterior > _CLOSE_TO_ONE))
        simple = long & ~anew
        nats = -np.log1p(-posterior[simple]) * self.counts[word[simple]]
        found = np.zeros(len(log_probability))
        found += np.bincount(self.piece[simple], nats, len(found))
        pairs = np.unique(word[anew].astype(np.int64) * len(log_probability) + self.piece[anew])
        words, pieces = np.divmod(pairs, len(log_probability))
        for some, without in self._without(words, pieces, log_probability):
            nats = (totals[words[some]] - without) * self.counts[words[some]]
            found += np.bincount(pieces[some], nats, len(found))
        return found

    def _without(self, words: Integers, pieces: Integers, log_probability: Floats) -> Iterator[tuple[slice, Floats]]:
        """Yield log p of words, each without one piece: which of the pairs (sorted by word), and the values.

        Every pair gets a copy of its word's edges; the copies of some pairs at a time are summed together.
        """
        word = self.word[self.forward.source]
        edges = np.argsort(word, kind="stable")
        begins, ends = (np.searchsorted(word[edges], words, side) for side in ("left", "right"))
        size = np.diff(self.last, prepend=-1)[words]
        for some in _portions(ends - begins):
            lengths = (ends - begins)[some]
            copy = np.repeat(np.arange(len(lengths)), lengths)
            which = edges[np.arange(len(copy)) + (begins[some] - (np.cumsum(lengths) - lengths))[copy]]
            there = self.piece[which] != pieces[some][copy]
            copy, which = copy[there], which[there]
            last = np.cumsum(size[some]) - 1
            shift = (last - self.last[words[some]])[copy]
            source, target = self.forward.source[which] + shift, self.forward.target[which] + shift
            sweep, order = Sweep.of(source, target, target - (last - size[some] + 1)[copy])
            yield some, sweep.log_sums(log_probability[self.piece[which[order]]], int(last[-1]) + 1)[last]


def _portions(lengths: Integers) -> Iterator[slice]:
    """Yield slices of about ``_PORTION`` edges each, at least one pair."""
    ends = np.cumsum(lengths)
    begin = 0
    while begin < len(lengths):
        done = ends[begin] - lengths[begin]
        end = max(begin + 1, int(np.searchsorted(ends, done + _PORTION)))
        yield slice(begin, end)
        begin = end


class Lattice:
    """Blocks of words, each worked on by one thread; sums are taken in the order of the blocks."""

    def __init__(self, blocks: Sequence[Block], pieces: Sequence[bytes]) -> None:
        """Take blocks whose edges are numbered by ``pieces``."""
        self._blocks = tuple(blocks)
        self.pieces = tuple(pieces)

    def expected_counts(self, log_probability: Floats) -> tuple[Floats, float]:
        """Return the expected count of each piece over all ways of cutting, and the log-likelihood in nats."""
        counts, log_likelihood = np.zeros(len(self.pieces)), 0.0
        for some, nats in self._each(lambda block: block.expected_counts(log_probability)):
            counts += some
            log_likelihood += nats
        return counts, log_likelihood

    def losses(self, log_probability: Floats) -> Floats:
        """Return by how many nats the log-likelihood falls when a piece goes (pieces,); infinity for the bytes."""
        losses = np.zeros(len(self.pieces))
        for some in self._each(lambda block: block.losses(log_probability)):
            losses += some
        losses[:BYTES] = np.inf
        return losses

    def keep(self, mask: NDArray[np.bool_]) -> Lattice:
        """Return the lattice of some of the pieces, in their order."""
        number = np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int32)
        blocks = list(self._each(lambda block: block.keep(number)))
        return Lattice(blocks, list(itertools.compress(self.pieces, mask)))

    def _each(self, work: Callable[[Block], Any]) -> Iterator[Any]:
        workers = min(usable_cores(), len(self._blocks))
        if workers < 2:
            yield from map(work, self._blocks)
            return
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, self._blocks)
