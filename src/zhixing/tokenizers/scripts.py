"""Which writing system a character belongs to, as a small class number: the rows of a tokenizer report."""

from __future__ import annotations

import numpy as np
import regex
from numpy.typing import NDArray

_CLASSES = {
    "digits": r"[\p{Nd}\p{No}]",
    "Latin": r"\p{Script=Latin}",
    "Han": r"\p{Script=Han}",
    "Kana": r"[\p{Script=Hiragana}\p{Script=Katakana}]",
    "Hangul": r"\p{Script=Hangul}",
    "Cyrillic": r"\p{Script=Cyrillic}",
    "Greek": r"\p{Script=Greek}",
    "Arabic": r"\p{Script=Arabic}",
    "Hebrew": r"\p{Script=Hebrew}",
    "Devanagari": r"\p{Script=Devanagari}",
    "Thai": r"\p{Script=Thai}",
    "blanks": r"\s",
    "punctuation": r"\p{P}",
    "symbols": r"\p{S}",
    "other": r"(?s:.)",
}
SCRIPTS = tuple(_CLASSES)
_tests = [regex.compile(pattern) for pattern in _CLASSES.values()]


def script_of(character: str) -> int:
    """Return the index in ``SCRIPTS`` of the class of one character.

    >>> SCRIPTS[script_of("行")], SCRIPTS[script_of("7")]
    ('Han', 'digits')
    """
    return next(index for index, test in enumerate(_tests) if test.match(character))


class ScriptTable:
    """Classes of many characters at once; each code point is looked up only once."""

    def __init__(self) -> None:
        self._class = np.full(0x110000, -1, dtype=np.int8)

    def classes(self, text: str) -> NDArray[np.int8]:
        """Return the class of each character of ``text``: shape ``(characters,)``."""
        points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        for point in np.unique(points[self._class[points] < 0]).tolist():
            self._class[point] = script_of(chr(point))
        found: NDArray[np.int8] = self._class[points]
        return found


def utf8_widths(text: str) -> NDArray[np.int64]:
    """Return how many bytes of UTF-8 each character of ``text`` takes: shape ``(characters,)``."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    widths: NDArray[np.int64] = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return widths
