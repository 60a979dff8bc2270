"""Words and their counts."""

from __future__ import annotations

from zhixing.tokenizers.layout import GPT2_PATTERN
from zhixing.tokenizers.words import LONGEST_WORD, count_words


def test_words_are_counted_shortest_first() -> None:
    words = count_words(["to be or not to be", " to"], GPT2_PATTERN)
    assert words.texts == ("to", " be", " or", " to", " not")
    assert words.counts.tolist() == [1, 2, 1, 2, 1]


def test_long_words_are_cut_while_learning() -> None:
    words = count_words(["=" * (2 * LONGEST_WORD + 5)], GPT2_PATTERN)
    assert dict(zip(map(len, words.texts), words.counts.tolist(), strict=True)) == {5: 1, LONGEST_WORD: 2}
