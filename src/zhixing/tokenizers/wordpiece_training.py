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
    text = LinkedWords(words, longest)
    with progress(tr("learning WordPiece", "学习 WordPiece"), total=number, unit=tr("pieces", "个片段")) as bar:
        while len(text.pieces) < ALPHABET + number:
            pair = text.best_pair(min_frequency, score)
            if pair is None:
                break
            before = len(text.pieces)
            text.join(pair)
            bar.advance(len(text.pieces) - before)
    return text.pieces[ALPHABET:]


class LinkedWords:
    """All words as linked symbols, the pairs of neighbours in them, and the pieces that symbols stand for."""

    def __init__(self, words: Words, longest: int) -> None:
        """Cut every word into bytes."""
        self.pieces = [(continues, bytes([byte])) for continues in (False, True) for byte in range(BYTES)]
        self._number = {piece: number for number, piece in enumerate(self.pieces)}
        self._longest = longest
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
        """Return the score of every pair of the table; minus infinity for one that would be too long."""
        pairs = self._pairs
        if score == "ratio":
            ratio = pairs.count / (self._occurs[pairs.left] * self._occurs[pairs.right]).clip(1)
            return np.where(np.isfinite(pairs.gain), ratio, -np.inf)
        return pairs.gain + pairs.count * np.log(self._total)

    def pair_scores(self, score: Score) -> dict[tuple[int, int], float]:
        """Return the score of each pair of symbols that stands in the text."""
        pairs, scores = self._pairs, self.scores(score).tolist()
        rows = zip(pairs.left.tolist(), pairs.right.tolist(), pairs.count.tolist(), scores, strict=True)
        return {(left, right): value for left, right, count, value in rows if count}

    def best_pair(self, min_frequency: int, score: Score) -> int | None:
        """Return the number of the pair to join, or None if no pair is left."""
        pairs = self._pairs
        if not len(pairs.count):
            return None
        scores = np.where(pairs.count >= max(min_frequency, 1), self.scores(score), -np.inf)
        best = scores.max()
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
        left, right = self._symbol[places], self._symbol[self._next[places]]
        self._pairs.count_pairs(left, right, places, self._weight[places], sign)

    def _refresh(self, some: _Integers) -> None:
        """Take anew what the scores of some pairs need: n (log n - log n(a) n(b)), N left out because it changes."""
        pairs = self._pairs
        count = pairs.count[some]
        fits = (count > 0) & (self._length[pairs.left[some]] + self._length[pairs.right[some]] <= self._longest)
        apart = np.log(self._occurs[pairs.left[some]].clip(1)) + np.log(self._occurs[pairs.right[some]].clip(1))
        pairs.gain[some] = np.where(fits, count * (np.log(count.clip(1)) - apart), -np.inf)


class PairTable:
    """Pairs of symbols, numbered as they come: growing columns."""

    def __init__(self) -> None:
        """Make an empty table."""
        self._number: dict[tuple[int, int], int] = {}
        self.places: list[list[_Integers]] = []
        """Where each pair began when it was counted."""
        self._columns = np.zeros((3, _SMALL), dtype=np.int64)
        self._gain = np.zeros(_SMALL)

    @property
    def left(self) -> _Integers:
        """The left symbol of each pair: shape ``(pairs,)``."""
        return self._columns[0, : len(self.places)]

    @property
    def right(self) -> _Integers:
        """The right symbol of each pair."""
        return self._columns[1, : len(self.places)]

    @property
    def count(self) -> _Integers:
        """How often each pair occurs."""
        return self._columns[2, : len(self.places)]

    @property
    def gain(self) -> NDArray[np.float64]:
        """What belongs to the pair alone in its gain."""
        return self._gain[: len(self.places)]

    def everything(self) -> _Integers:
        """Return the numbers of all pairs."""
        return np.arange(len(self.places))

    def with_any(self, symbols: tuple[int, ...]) -> _Integers:
        """Return the numbers of the pairs that hold one of ``symbols``."""
        left, right = self.left, self.right
        found = np.zeros(len(left), dtype=bool)
        for symbol in symbols:
            found |= (left == symbol) | (right == symbol)
        return np.flatnonzero(found)

    def count_pairs(self, left: _Integers, right: _Integers, places: _Integers, weight: _Integers, sign: int) -> None:
        """Change the counts of pairs by ``sign * weight`` (places,), and remember places that are added."""
        order = np.lexsort((right, left))
        left, right, places, weight = left[order], right[order], places[order], weight[order]
        change = (np.diff(left, prepend=-2) != 0) | (np.diff(right, prepend=-2) != 0)
        begins = np.flatnonzero(change)
        if not len(begins):
            return
        amounts = sign * np.add.reduceat(weight, begins)
        numbers = [self._of(pair) for pair in zip(left[begins].tolist(), right[begins].tolist(), strict=True)]
        self._columns[2, numbers] += amounts
        if sign > 0:
            for number, some in zip(numbers, np.split(places, begins[1:]), strict=True):
                self.places[number].append(some)

    def _of(self, pair: tuple[int, int]) -> int:
        number = self._number.setdefault(pair, len(self.places))
        if number == len(self.places):
            if number == len(self._gain):
                self._columns = np.concatenate([self._columns, np.zeros((3, number + _SMALL), dtype=np.int64)], axis=1)
                self._gain = np.concatenate([self._gain, np.zeros(number + _SMALL)])
            self.places.append([])
            self._columns[:, number] = (*pair, 0)
        return number

    def drop_dead(self) -> None:
        """Make the table smaller where most of its pairs no longer occur."""
        if len(self.places) < _SMALL:
            return
        live = np.flatnonzero(self.count)
        if 2 * len(live) > len(self.places):
            return
        self._columns, self._gain = self._columns[:, live], self._gain[live]
        self.places = [self.places[number] for number in live.tolist()]
        pairs = zip(self._columns[0].tolist(), self._columns[1].tolist(), strict=True)
        self._number = {pair: number for number, pair in enumerate(pairs)}


def _rank(symbols: _Integers) -> _Integers:
    """Return the order of symbols for ties: as sorted with ## before the continuing ones, then as they came."""
    return np.where(symbols < ALPHABET, symbols ^ BYTES, symbols)
