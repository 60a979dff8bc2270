"""Learning WordPiece (Schuster & Nakajima 2012, section 3): join the pair that raises the likelihood of the text most.

A word begins as its bytes, all but the first marked as continuing; the best pair of neighbours becomes a piece, again
and again. Two scores, n being counts and N the count of all symbols:

    gain    n(ab) log (n(ab) N / n(a) n(b))    the nats that joining all occurrences brings: the paper's criterion
    ratio   n(ab) / n(a) n(b)                  the gain per occurrence, as it is often taught

Per occurrence the rarest pairs win, so that the vocabulary fills up with what hardly stands in the text.

All words lie in one array of symbols, linked to their neighbours. Every pair knows the places where it was seen; a
join touches those places alone, with NumPy for all of them at once.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.language import tr
from zhixing.progress import progress
from zhixing.tokenizers.words import Words

Score = Literal["gain", "ratio"]

BYTES = 256
ALPHABET = 2 * BYTES
"""Symbols before anything is joined: the bytes that begin a word, then the bytes that continue one."""

_GONE = -1
_SHIFT, _LOW = 32, (1 << 32) - 1
"""A pair in one number: the left symbol above, the right below."""
_SMALL = 20_000
"""Pairs of a table that is not worth making smaller."""

_Integers = NDArray[Any]


def learn_wordpieces(
    words: Words, number: int, longest: int, min_frequency: int, score: Score = "gain"
) -> list[tuple[bool, bytes]]:
    """Return at most ``number`` pieces beside the 512 of the alphabet, in the order they were joined.

    Each is whether it continues a word, and its bytes. Of pairs with equal scores the more frequent wins, then the one
    whose symbols came first. Equations (tokenization.6) to (tokenization.9).

    Args:
        words: what is learned from.
        number: pieces to learn.
        longest: bytes in a piece, at most.
        min_frequency: occurrences that a pair needs to be joined.
        score: which of the two.
    """
    text = LinkedWords(words, longest, min_frequency)
    with progress(tr("learning WordPiece", "学习 WordPiece"), total=number, unit=tr("pieces", "个片段")) as bar:
        while len(text.pieces) < ALPHABET + number:
            pair = text.best_pair(score)
            if pair is None:
                break
            before = len(text.pieces)
            text.join(pair)
            bar.advance(len(text.pieces) - before)
    return text.pieces[ALPHABET:]


class LinkedWords:
    """All words as linked symbols, the pairs of neighbours in them, and the pieces that symbols stand for."""

    def __init__(self, words: Words, longest: int, min_frequency: int = 1) -> None:
        """Cut every word into bytes."""
        self.pieces = [(continues, bytes([byte])) for continues in (False, True) for byte in range(BYTES)]
        self._number = {piece: number for number, piece in enumerate(self.pieces)}
        self._longest, self._least = longest, max(min_frequency, 1)
        encoded = [word.encode("utf-8") for word in words.texts]
        lengths = np.array([len(word) for word in encoded], dtype=np.int64)
        first = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum()), dtype=np.int64)
        symbol = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.int64) + BYTES
        symbol[first] -= BYTES
        self._symbol, self._previous, self._next = symbol, places - 1, places + 1
        self._previous[first] = _GONE
        self._next[first + lengths - 1] = _GONE
        self._weight = np.repeat(words.counts, lengths)
        self._occurs = np.bincount(symbol, self._weight, ALPHABET).astype(np.int64)
        self._total = int(self._occurs.sum())
        self._length = np.ones(ALPHABET, dtype=np.int64)
        self._pairs = PairTable()
        self._count(places[self._next >= 0], 1)
        self._refresh(self._pairs.everything())

    def pair_counts(self) -> dict[tuple[int, int], int]:
        """Return how often each pair of symbols stands in the text."""
        pairs = self._pairs
        rows = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.count.tolist(), strict=True)
        return {(left, right): count for left, right, count in rows if count}

    def scores(self, score: Score) -> NDArray[np.float64]:
        """Return the score of every pair of the table; minus infinity for one that is too rare or would be too long."""
        pairs = self._pairs
        if score == "ratio":
            ratio = pairs.count / (self._occurs[pairs.left] * self._occurs[pairs.right]).clip(1)
            return np.where(np.isfinite(pairs.gain), ratio, -np.inf)
        found: NDArray[np.float64] = pairs.count * np.log(self._total)
        found += pairs.gain
        return found

    def pair_scores(self, score: Score) -> dict[tuple[int, int], float]:
        """Return the score of each pair of symbols that stands in the text."""
        pairs, scores = self._pairs, self.scores(score).tolist()
        rows = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.count.tolist(), scores, strict=True)
        return {(left, right): value for left, right, count, value in rows if count}

    def best_pair(self, score: Score) -> int | None:
        """Return the number of the pair to join, or None if no pair is left."""
        pairs, scores = self._pairs, self.scores(score)
        best = scores.max(initial=-np.inf)
        if best == -np.inf:
            return None
        tied = np.flatnonzero(scores == best)
        order = np.lexsort((_rank(pairs.right[tied]), _rank(pairs.left[tied]), -pairs.count[tied]))
        return int(tied[order[0]])

    def join(self, pair: int) -> None:
        """Make every occurrence of ``pair`` one symbol, and bring all counts up to date."""
        left, right = int(self._pairs.left[pair]), int(self._pairs.right[pair])
        at = self._places(pair, left, right)
        new, second = self._new_symbol(left, right), self._next[at]
        previous, after = self._previous[at], self._next[second]
        self._count(np.concatenate([previous[previous >= 0], at, second[after >= 0]]), -1)
        self._symbol[at], self._symbol[second] = new, _GONE
        self._next[at] = after
        self._previous[after[after >= 0]] = at[after >= 0]
        previous = self._previous[at]
        self._count(np.concatenate([previous[previous >= 0], at[after >= 0]]), 1)
        joined = int(self._weight[at].sum())
        for symbol, change in ((left, -joined), (right, -joined), (new, joined)):
            self._occurs[symbol] += change
        self._total -= joined
        self._refresh(self._pairs.with_any((left, right, new)))
        self._pairs.drop_dead()

    def _places(self, pair: int, left: int, right: int) -> _Integers:
        """Return where ``pair`` stands, from the left, no two overlapping; older places may be out of date."""
        at = np.unique(np.concatenate(self._pairs.places[pair]))
        at = at[self._symbol[at] == left]
        at = at[self._next[at] >= 0]
        at = at[self._symbol[self._next[at]] == right]
        if left != right:
            return at
        kept: list[int] = []
        taken = _GONE
        for place, following in zip(at.tolist(), self._next[at].tolist(), strict=True):
            if place != taken:
                kept.append(place)
                taken = following
        return np.array(kept, dtype=np.int64)

    def _new_symbol(self, left: int, right: int) -> int:
        """Return the number of the joined piece, which may be there already: a + bc and ab + c are the same."""
        piece = (self.pieces[left][0], self.pieces[left][1] + self.pieces[right][1])
        if piece not in self._number:
            self._number[piece] = len(self.pieces)
            self.pieces.append(piece)
            self._occurs = np.append(self._occurs, 0)
            self._length = np.append(self._length, len(piece[1]))
        return self._number[piece]

    def _count(self, places: _Integers, sign: int) -> None:
        """Add (1) or take away (-1) the pairs that begin at ``places``."""
        places = np.unique(places)
        pair = self._symbol[places] << _SHIFT | self._symbol[self._next[places]]
        self._pairs.count_pairs(pair, places, self._weight[places], sign)

    def _refresh(self, some: _Integers) -> None:
        """Take anew what the scores of some pairs need: n (log n - log n(a) n(b)), N left out because it changes."""
        pairs = self._pairs
        count = pairs.count[some]
        fits = (count >= self._least) & (
            self._length[pairs.left[some]] + self._length[pairs.right[some]] <= self._longest
        )
        apart = np.log(self._occurs[pairs.left[some]].clip(1)) + np.log(self._occurs[pairs.right[some]].clip(1))
        pairs.gain[some] = np.where(fits, count * (np.log(count.clip(1)) - apart), -np.inf)


class PairTable:
    """Pairs of symbols, numbered as they come: growing columns."""

    def __init__(self) -> None:
        """Make an empty table."""
        self._number: dict[int, int] = {}
        self.places: list[list[_Integers]] = []
        """Where each pair began when it was counted."""
        self._left = np.zeros(_SMALL, dtype=np.int32)
        self._right = np.zeros(_SMALL, dtype=np.int32)
        self._count = np.zeros(_SMALL, dtype=np.int64)
        self._gain = np.zeros(_SMALL)

    @property
    def left(self) -> _Integers:
        """The left symbol of each pair: shape ``(pairs,)``."""
        return self._left[: len(self.places)]

    @property
    def right(self) -> _Integers:
        """The right symbol of each pair."""
        return self._right[: len(self.places)]

    @property
    def count(self) -> _Integers:
        """How often each pair occurs."""
        return self._count[: len(self.places)]

    @property
    def gain(self) -> NDArray[np.float64]:
        """What belongs to the pair alone in its gain; minus infinity where it must not be joined."""
        return self._gain[: len(self.places)]

    def everything(self) -> _Integers:
        """Return the numbers of all pairs."""
        return np.arange(len(self.places))

    def with_any(self, symbols: tuple[int, ...]) -> _Integers:
        """Return the numbers of the pairs that hold one of ``symbols``."""
        left, right = self.left, self.right
        found = np.zeros(len(left), dtype=bool)
        for symbol in symbols:
            found |= left == symbol
            found |= right == symbol
        return np.flatnonzero(found)

    def count_pairs(self, pair: _Integers, places: _Integers, weight: _Integers, sign: int) -> None:
        """Change the counts of pairs (left, then right, in one number) by ``sign * weight``; all shapes (places,).

        Places that are added are remembered.
        """
        if not len(pair):
            return
        order = np.argsort(pair, kind="stable")
        pair, places, weight = pair[order], places[order], weight[order]
        begins = np.concatenate([[0], np.flatnonzero(pair[1:] != pair[:-1]) + 1])
        numbers = [self._of(one) for one in pair[begins].tolist()]
        self._count[numbers] += sign * np.add.reduceat(weight, begins)
        if sign > 0:
            ends = [*begins[1:].tolist(), len(pair)]
            for number, begin, end in zip(numbers, begins.tolist(), ends, strict=True):
                self.places[number].append(places[begin:end])

    def _of(self, pair: int) -> int:
        number = self._number.setdefault(pair, len(self.places))
        if number == len(self.places):
            if number == len(self._gain):
                self._take(np.concatenate([np.arange(number), np.zeros(number + _SMALL, dtype=np.int64)]))
            self.places.append([])
            self._left[number], self._right[number], self._count[number] = pair >> _SHIFT, pair & _LOW, 0
        return number

    def _take(self, rows: _Integers) -> None:
        self._left, self._right = self._left[rows], self._right[rows]
        self._count, self._gain = self._count[rows], self._gain[rows]

    def drop_dead(self) -> None:
        """Make the table smaller where most of its pairs no longer occur."""
        if len(self.places) < _SMALL:
            return
        live = np.flatnonzero(self.count)
        if 2 * len(live) > len(self.places):
            return
        self._take(live)
        self.places = [self.places[number] for number in live.tolist()]
        pairs = (self._left.astype(np.int64) << _SHIFT | self._right).tolist()
        self._number = {pair: number for number, pair in enumerate(pairs)}


def _rank(symbols: _Integers) -> _Integers:
    """Return the order of symbols for ties: as sorted with ## before the continuing ones, then as they came."""
    return np.where(symbols < ALPHABET, symbols ^ BYTES, symbols)
