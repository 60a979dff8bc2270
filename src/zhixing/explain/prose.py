"""Running text in a terminal, Chinese as it is set in print: no line begins with a full stop or a comma.

rich breaks a line at spaces and, where there are none, anywhere. Chinese may be broken between any two characters, with
these exceptions: closing marks stay with what stands before them, opening ones with what follows, and a Latin word or
a number stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len
from rich.containers import Lines
from rich.text import Text

CLOSING = "。，、；：！？）」』》〉】〕”’…—·％℃.,;:!?)]}%"
"""No line begins with these."""
OPENING = "（「『《〈【〔“‘([{"
"""No line ends with these."""
_CHINESE = r"\u2e80-\u303f\u3040-\u9fff\uf900-\ufaff\uff00-\uffef‘-”…—"
_ATOM = re.compile(rf"\s+|[{_CHINESE}]|[^\s{_CHINESE}]+")
_HAN = re.compile(r"[\u3040-\u9fff\uf900-\ufaff]")


class Prose(Text):
    """Text that is broken between Chinese characters by the rules of print; other text is rich's."""

    def wrap(self, console: Any, width: int, **options: Any) -> Lines:
        """Return the lines; ``options`` are rich's, and rich's own wrapping where there is nothing Chinese."""
        if not _HAN.search(self.plain) or options.get("no_wrap") or self.no_wrap:
            return super().wrap(console, width, **options)
        lines = Lines()
        for paragraph in self.split(allow_blank=True):
            for line in paragraph.divide(breaks(paragraph.plain, width)):
                line.rstrip()
                lines.append(line)
        return lines


def breaks(text: str, width: int) -> list[int]:
    """Return the places (indices of ``text``) at which a new line begins, for lines of at most ``width`` cells."""
    found: list[int] = []
    used = 0
    for start, piece in _pieces(text):
        size = cell_len(piece.rstrip())
        if used and used + size > width:
            found.append(start)
            used = 0
        folds = _folds(piece, width, start) if size > width else []  # a word or a row of marks longer than a line
        found += folds
        used = cell_len(piece[folds[-1] - start :]) if folds else used + cell_len(piece)
    return found


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Yield (index, piece): what is never broken, with the spaces behind it."""
    start, piece = 0, ""
    for match in _ATOM.finditer(text):
        atom = match.group()
        glued = atom.isspace() or atom[0] in CLOSING or (piece != "" and piece[-1] in OPENING)
        if piece and not glued:
            yield start, piece
            start, piece = match.start(), ""
        piece += atom
    if piece:
        yield start, piece


def _folds(piece: str, width: int, start: int) -> list[int]:
    """Return where a piece longer than a line is cut."""
    found, used = [], 0
    for offset, mark in enumerate(piece):
        size = cell_len(mark)
        if used and used + size > width:
            found.append(start + offset)
            used = 0
        used += size
    return found
