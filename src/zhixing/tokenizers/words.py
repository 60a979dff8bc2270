"""The different words of a text and how often each occurs: all that a trainer of pieces looks at.

A word is what the pattern of the tokenizer cuts out, blank before it included; pieces never cross a word's edge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import regex
from numpy.typing import NDArray

LONGEST_WORD = 64
"""Characters. Longer words (rules, encoded data) are cut while learning, so that no step works on a giant."""


class Words(NamedTuple):
    """Different words, shortest first, and ``counts`` (words,): how often each occurs."""

    texts: tuple[str, ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Words:
        """Return counted words in their order: by bytes of UTF-8, then by code points."""
        texts = sorted(counts, key=lambda word: (len(word.encode("utf-8")), word))
        return cls(tuple(texts), np.array([counts[word] for word in texts], dtype=np.int64))


def count_words(texts: Iterable[str], pattern: str) -> Words:
    """Return the words that ``pattern`` finds in ``texts``; equal text gives equal words in equal order."""
    found = regex.compile(pattern)
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(found.findall(text))
    long = [word for word in counts if len(word) > LONGEST_WORD]
    for word in long:
        count = counts.pop(word)
        for begin in range(0, len(word), LONGEST_WORD):
            counts[word[begin : begin + LONGEST_WORD]] += count
    return Words.of(counts)
