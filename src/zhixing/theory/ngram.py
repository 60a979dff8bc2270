"""N-gram smoothing as its papers state it: maximum likelihood, Witten-Bell, Kneser-Ney, modified Kneser-Ney.

A corpus is a list of sequences of ids. The first id of a sequence is context only, and no context reaches
back past the latest separator, which so plays both <s> and </s>. Counts are dictionaries from tuples of ids.

Papers: Witten and Bell (1991); Ney, Essen and Kneser (1994); Kneser and Ney (1995); Chen and Goodman, "An
empirical study of smoothing techniques for language modeling" (1998), which compares them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ngram = tuple[int, ...]
Discounts = tuple[float, float, float]


def count_ngrams(sequences: Iterable[Sequence[int]], order: int, separator: int) -> Counter[Ngram]:
    """Return how often each n-gram of length 1 to ``order`` occurs. Equation (ngram.1).

    >>> counts = count_ngrams([[0, 1, 2, 1, 2, 0]], order=2, separator=0)
    >>> counts[1, 2], counts[2, 0], counts[0,], counts[0, 1]
    (2, 1, 1, 1)
    """
    counts: Counter[Ngram] = Counter()
    for sequence in sequences:
        begin = 0
        for i in range(1, len(sequence)):
            begin = i - 1 if sequence[i - 1] == separator else begin
            first = max(begin, i - order + 1)
            counts.update(tuple(sequence[j : i + 1]) for j in range(first, i + 1))
    return counts


def adjusted_counts(counts: Mapping[Ngram, int], order: int, separator: int) -> dict[Ngram, int]:
    """Return what Kneser-Ney counts: below ``order``, the different ids that occur before an n-gram.

    An n-gram that begins with the separator has nothing before it and keeps its occurrences; one that is met
    only where a sequence begins counts once. Equation (ngram.4).

    >>> counts = count_ngrams([[0, 1, 2, 1, 2, 0]], order=2, separator=0)
    >>> adjusted_counts(counts, order=2, separator=0)[1,]
    2
    """
    before = Counter(ngram[1:] for ngram in counts if len(ngram) > 1)
    adjusted = {}
    for ngram, count in counts.items():
        kept = len(ngram) == order or (len(ngram) > 1 and ngram[0] == separator)
        adjusted[ngram] = count if kept else max(before[ngram], int(len(ngram) > 1))
    return adjusted


def counts_of_counts(counts: Mapping[Ngram, int], length: int) -> NDArray[np.int64]:
    """Return (n1, n2, n3, n4): how many n-grams of ``length`` are counted once, twice, ... Equation (ngram.5)."""
    values = [count for ngram, count in counts.items() if len(ngram) == length]
    return np.array([values.count(c) for c in (1, 2, 3, 4)], np.int64)


def single_discount(n: NDArray[np.int64]) -> Discounts:
    """Return Ney's discount for every count, n1 / (n1 + 2 n2); one half where it is undefined. Equation (ngram.6).

    >>> single_discount(np.array([6, 2, 0, 0]))
    (0.6, 0.6, 0.6)
    """
    discount = float(n[0] / (n[0] + 2 * n[1])) if n[0] and n[1] else 0.5
    return discount, discount, discount


def modified_discounts(n: NDArray[np.int64]) -> Discounts:
    """Return D1, D2, D3+ (Chen and Goodman, equation 26).

    Where one is undefined or not positive: Ney's; without n1 or n2: constants. Equation (ngram.7).


    >>> modified_discounts(np.array([12, 6, 4, 2]))
    (0.5, 1.0, 2.0)
    """
    if not n[0] or not n[1]:
        return 0.5, 1.0, 1.5
    y = n[0] / (n[0] + 2 * n[1])
    if not n[2] or not n[3]:
        return single_discount(n)
    found = tuple(float(c - (c + 1) * y * n[c] / n[c - 1]) for c in (1, 2, 3))
    return (found[0], found[1], found[2]) if min(found) > 0 else single_discount(n)


@dataclass(frozen=True)
class Smoothing:
    """A smoothed model: adjusted counts, and three discounts for each length of n-gram."""

    counts: Mapping[Ngram, int]
    discounts: Mapping[int, Discounts]
    vocab_size: int

    def probability(self, word: int, context: Ngram) -> float:
        """Return p(word | context) = (a - D(a)) / sum + gamma p(word | shorter context). Equation (ngram.8)."""
        shorter = self.probability(word, context[1:]) if context else 1 / self.vocab_size
        followers = [self.counts.get((*context, v), 0) for v in range(self.vocab_size)]
        total = sum(followers)
        if total == 0:
            return shorter
        d = (0.0, *self.discounts[len(context) + 1])
        own = followers[word] - d[min(followers[word], 3)]
        gamma = sum(d[min(a, 3)] for a in followers) / total
        return own / total + gamma * shorter


def kneser_ney(
    sequences: Iterable[Sequence[int]], order: int, separator: int, vocab_size: int, modified: bool = True
) -> Smoothing:
    """Return interpolated Kneser-Ney, with three discounts per order or (``modified=False``) one. Equation (ngram.8).

    >>> model = kneser_ney([[0, 1, 2, 1, 2, 0]], order=2, separator=0, vocab_size=4)
    >>> round(sum(model.probability(w, (1,)) for w in range(4)), 12)
    1.0
    """
    counts = adjusted_counts(count_ngrams(sequences, order, separator), order, separator)
    estimate = modified_discounts if modified else single_discount
    discounts = {n: estimate(counts_of_counts(counts, n)) for n in range(1, order + 1)}
    return Smoothing(counts, discounts, vocab_size)


def witten_bell(word: int, context: Ngram, counts: Mapping[Ngram, int], vocab_size: int) -> float:
    """Return p(word | context) = (c + t p(word | shorter)) / (sum of c + t); t followers differ. Equation (ngram.3).

    >>> counts = count_ngrams([[0, 1, 1, 2]], order=1, separator=0)
    >>> witten_bell(1, (), counts, vocab_size=4)
    0.5
    """
    shorter = witten_bell(word, context[1:], counts, vocab_size) if context else 1 / vocab_size
    followers = [counts.get((*context, v), 0) for v in range(vocab_size)]
    total, different = sum(followers), sum(c > 0 for c in followers)
    return (followers[word] + different * shorter) / (total + different) if total else shorter


def maximum_likelihood(word: int, context: Ngram, counts: Mapping[Ngram, int], vocab_size: int) -> float:
    """Return p(word | context) = c(context word) / sum of c(context v); 0 in an unknown context. Equation (ngram.2)."""
    total = sum(counts.get((*context, v), 0) for v in range(vocab_size))
    return counts.get((*context, word), 0) / total if total else 0.0
