"""From documents to numbered words, in one reading: the vocabulary, the counts, and the text of word vectors."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.word_vectors import WordVectorSettings

_WORD = regex.compile(r"\p{Han}|[[\p{L}\p{M}\p{N}_]--\p{Han}]+(?:['’][[\p{L}]--\p{Han}]+)*", regex.V1)
_PARAGRAPH = regex.compile(r"\n\s*\n")


@dataclass(frozen=True)
class WordText:
    """What word vectors are learned from."""

    words: tuple[str, ...]
    """The most frequent first; of equals the one met first."""
    counts: NDArray[np.int64]
    """(V,)."""
    text: NDArray[np.int32]
    """Numbers of words, -1 between paragraphs; rarer words are left out."""
    words_read: int
    """Words of the text, the rare ones included."""


def splitter(settings: WordVectorSettings) -> Callable[[str], list[str]]:
    """Return the function that finds the words of a paragraph, as the settings say."""
    find: Callable[[str], list[str]] = str.split if settings.words == "spaces" else _WORD.findall
    return (lambda text: find(text.lower())) if settings.lowercase else find


def paragraphs(text: str) -> list[str]:
    """Return the parts of a document across which no word is a neighbour: those between blank lines."""
    return _PARAGRAPH.split(text)


def number_words(sentences: Iterable[list[str]], settings: WordVectorSettings) -> WordText:
    """Count and number the words of sentences.

    Raises:
        DataError: fewer than two words are frequent enough.
    """
    first_met: dict[str, int] = {}
    met = array("i")
    for sentence in sentences:
        met.extend([first_met.setdefault(word, len(first_met)) for word in sentence])
        met.append(-1)
    raw = np.frombuffer(met, np.int32) if met else np.zeros(0, np.int32)
    counts = np.bincount(raw[raw >= 0], minlength=len(first_met))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= settings.min_count][: settings.max_words]
    if len(order) < 2:
        raise DataError(
            tr(
                f"{len(order)} words stand at least {settings.min_count} times in the text, too few to learn from; "
                "lower model.min_count, or give more text",
                f"文本中至少出现 {settings.min_count} 次的词只有 {len(order)} 个，不足以学习；"
                "请调小 model.min_count，或提供更多文本",
            )
        )
    names = list(first_met)
    return WordText(
        tuple(names[i] for i in order), counts[order], _renumbered(raw, order, len(names)), len(raw[raw >= 0])
    )


def _renumbered(raw: NDArray[np.int32], order: NDArray[Any], size: int) -> NDArray[np.int32]:
    """Return the text with the kept words' numbers, the others left out."""
    numbers = np.full(size + 1, -2, np.int32)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    numbers[-1] = -1
    text = numbers[raw]
    return np.ascontiguousarray(text[text != -2])
