"""The visible text of an HTML page: tags removed, blocks on lines of their own, scripts and styles dropped.

The standard library's parser keeps no tree and does not recurse, so nesting costs nothing. Comments and
marked sections are cut out beforehand in one pass: the parser's search for the end of one is slow.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCK_NAMES = (
    "address article aside blockquote body br caption dd details div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre section summary table td th title tr ul"
)
BLOCKS = frozenset(_BLOCK_NAMES.split())
HIDDEN = frozenset({"script", "style", "template"})
PARAGRAPHS = BLOCKS - {"br", "dd", "dt", "hr", "li", "td", "th", "tr", "body", "caption", "summary"}


def visible_text(page: str) -> str:
    """Return what a reader of ``page`` sees: paragraphs apart, spaces collapsed outside ``pre``."""
    head, tail = _last_tag(_without(_without(page, "<!--", "-->"), "<![", ">"))
    parser = _VisibleText()
    parser.feed(head)
    parser.close()
    if not parser.hidden:
        parser.handle_data(tail)
    return parser.text()


def _without(page: str, opening: str, closing: str) -> str:
    """Cut out every span from ``opening`` to ``closing``, or to the end where it is never closed."""
    kept, place = [], 0
    while (start := page.find(opening, place)) >= 0:
        kept.append(page[place:start])
        end = page.find(closing, start + len(opening))
        if end < 0:
            return "".join(kept)
        place = end + len(closing)
    return "".join([*kept, page[place:]])


def _last_tag(page: str) -> tuple[str, str]:
    """Split behind the last ``>``: no tag can be complete after it, so the rest is plain text."""
    end = page.rfind(">") + 1
    return page[:end], page[end:]


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self.hidden = 0
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._edge(tag)
        self.hidden += tag in HIDDEN
        self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._edge(tag)
        self.hidden = max(0, self.hidden - (tag in HIDDEN))
        self._pre = max(0, self._pre - (tag == "pre"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._edge(tag)

    def handle_data(self, data: str) -> None:
        if self.hidden or not data:
            return
        if not self._pre:
            data = re.sub(r"\s+", " ", data)
            if not self._parts or self._parts[-1].endswith(("\n", " ")):
                data = data.removeprefix(" ")
        if data:
            self._parts.append(data)

    def _edge(self, tag: str) -> None:
        if not self.hidden and tag in BLOCKS:
            self._parts.append("\n\n" if tag in PARAGRAPHS else "\n")

    def text(self) -> str:
        trimmed = "\n".join(line.rstrip(" \t") for line in "".join(self._parts).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", trimmed).strip("\n")
