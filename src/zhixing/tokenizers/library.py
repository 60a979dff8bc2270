"""What unigram and WordPiece have in common: text is cut into words, each different word is encoded once, and each id
stands for fixed bytes.

Words repeat, so most of a text is looked up. They are cut by the module ``regex``, as the ``tokenizers`` library does
by Oniguruma. The two may know different editions of Unicode: a text with a character that only one of them takes for
a letter, a number or a blank goes through the library whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from numpy.typing import NDArray

from zhixing.tokenizers.backend import open_backend
from zhixing.tokenizers.byte_alphabet import bytes_to_characters
from zhixing.tokenizers.layout import byte_level_pattern
from zhixing.tokenizers.pieces import PieceTokenizer, checked_text

if TYPE_CHECKING:
    import tokenizers

_REMEMBERED = 1 << 17
"""Words whose ids are kept: about 30 MB."""
_LONG = 64
"""Characters; longer words hardly come again."""
_CLASSES = (r"\p{L}", r"\p{N}", r"\s")
"""All that the patterns ask of a character."""

_MADE_ANEW = ("_backend", "_known", "_words", "_tables")


class LibraryTokenizer(PieceTokenizer):
    """Base class; ``_word_ids`` is what a subclass may do faster."""

    @property
    def pattern(self) -> str:
        """The regular expression that cuts text into words."""
        found = byte_level_pattern(self._document["pre_tokenizer"])
        assert found is not None  # nothing else is made, or read, as one of these kinds
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special ids added."""
        checked_text(text)
        if not text.isascii() and _is_cut_differently(set(text)):
            return list(self._backend.encode(text, add_special_tokens=False).ids)
        known, ids = self._known, []
        for word in self._words(text):
            found = known.get(word)
            if found is None:
                found = self._word_ids(word)
                if len(known) >= _REMEMBERED:
                    known.clear()
                if len(word) <= _LONG:
                    known[word] = found
            ids += found
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``."""
        return [np.array(self.encode(text), dtype=np.int64) for text in texts]

    def _word_ids(self, word: str) -> list[int]:
        """Return the ids of one word."""
        spelled = bytes_to_characters(word.encode("utf-8"))
        return [token.id for token in self._backend.model.tokenize(spelled)]

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _words(self) -> Callable[[str], list[str]]:
        return regex.compile(self.pattern).findall

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        return open_backend(self._document)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine and the words behind when another process is handed a copy; it makes its own."""
        return {name: value for name, value in self.__dict__.items() if name not in _MADE_ANEW}


def _is_cut_differently(characters: set[str]) -> bool:
    """Say whether the two engines put one of the characters into different classes."""
    return any(not characters.isdisjoint(_differing(block)) for block in {ord(one) >> 8 for one in characters})


@cache
def _differing(block: int) -> frozenset[str]:
    """Return the characters that the two engines put into different classes, of the 256 of one block."""
    import tokenizers

    points = range(block << 8, (block + 1) << 8)
    characters = [chr(point) for point in points if not 0xD800 <= point < 0xE000]
    apart = "\0\0" + "\0\0".join(characters) + "\0\0"
    found: set[str] = set()
    for name in _CLASSES:
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(name), "isolated")
        theirs = {match for match, _ in split.pre_tokenize_str(apart) if len(match) == 1}
        found |= theirs ^ set(regex.findall(name, apart))
    return frozenset(found)
