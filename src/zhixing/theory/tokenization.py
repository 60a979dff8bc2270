"""Byte-pair encoding: learning merges, and encoding by them.

Sennrich, Haddow & Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", algorithm 1. A
word is a tuple of symbols; the most frequent pair of neighbours in all words becomes a new symbol, again
and again. The paper leaves ties open; here, as in the ``tokenizers`` library, the pair whose symbols came
into the vocabulary first wins.

The four words are the paper's own example:

>>> words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
>>> merges = learn_merges(words, 4)
>>> merges
[('e', 's'), ('es', 't'), ('l', 'o'), ('lo', 'w')]
>>> encode("lowest", merges)
['low', 'est']
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

Pair = tuple[str, str]


def pair_counts(words: Mapping[tuple[str, ...], int]) -> Counter[Pair]:
    """Return how often each pair of neighbours stands in all words: count(a, b) = Σ_w n(w) · #(a b in w).

    >>> pair_counts({("l", "o", "w"): 5, ("l", "o", "t"): 2}).most_common(2)
    [(('l', 'o'), 7), (('o', 'w'), 5)]
    """
    counts: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in itertools.pairwise(symbols):
            counts[pair] += count
    return counts


def merge_pair(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """Return ``symbols`` with every occurrence of ``pair`` joined, from the left.

    >>> merge_pair("aaab", ("a", "a"))
    ('aa', 'a', 'b')
    """
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        found = tuple(symbols[position : position + 2]) == pair
        joined.append(pair[0] + pair[1] if found else symbols[position])
        position += 2 if found else 1
    return tuple(joined)


def learn_merges(
    word_counts: Mapping[str, int], number: int, alphabet: Iterable[str] = (), min_frequency: int = 1
) -> list[Pair]:
    """Return at most ``number`` merges, in the order they were learned.

    ``alphabet`` gives symbols that exist though no word shows them; single symbols are numbered in sorted
    order.
    """
    words = {tuple(word): count for word, count in word_counts.items()}
    symbols = sorted({*alphabet, *(symbol for word in words for symbol in word)})
    rank = {symbol: index for index, symbol in enumerate(symbols)}
    merges: list[Pair] = []
    while len(merges) < number and (counts := pair_counts(words)):
        best = min(counts, key=lambda pair: (-counts[pair], rank[pair[0]], rank[pair[1]]))
        if counts[best] < min_frequency:
            break
        merges.append(best)
        rank.setdefault(best[0] + best[1], len(rank))
        words = {merge_pair(word, best): count for word, count in words.items()}
    return merges


def encode(word: str, merges: Sequence[Pair]) -> list[str]:
    """Return the symbols of ``word``: the earliest learned of its pairs is merged, until none is left."""
    rank = {pair: index for index, pair in enumerate(merges)}
    symbols: tuple[str, ...] = tuple(word)
    while known := [pair for pair in itertools.pairwise(symbols) if pair in rank]:
        symbols = merge_pair(symbols, min(known, key=rank.__getitem__))
    return list(symbols)


def encode_by_union(word: str, ranks: Mapping[str, int]) -> list[str]:
    """Return the symbols of ``word``, merging the neighbours whose *union* has the lowest rank: no list of
    merges is needed.

    Equal to ``encode`` where every symbol is made by one merge and is found when it is encoded alone, as
    after ``learn_merges``.

    >>> encode_by_union("lowest", {"es": 0, "est": 1, "lo": 2, "low": 3})
    ['low', 'est']
    """
    symbols = list(word)
    while known := [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in ranks]:
        _, position = min(known)
        symbols[position : position + 2] = [symbols[position] + symbols[position + 1]]
    return symbols
