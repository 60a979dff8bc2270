"""What the drawings of the page share: escaped elements, axes, legends, an accessible frame, widths of texts."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Mapping

from markupsafe import Markup, escape

from zhixing.explain.scales import Scale
from zhixing.language import tr

WIDTH = 720
_COLOURS = 6
_numbers = itertools.count(1)


def element(name: str, content: object = "", **attributes: object) -> Markup:
    """Return an SVG element; ``class_`` is ``class``, ``_`` in a name is ``-``; everything is escaped."""
    written = " ".join(
        f'{key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name} {written}>{escape(content)}</{name}>")


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def together(parts: Iterable[Markup]) -> Markup:
    """Join elements."""
    return Markup("\n").join(parts)


def text_width(text: str, size: float = 13) -> float:
    """Estimate the width of a text in units of the drawing: wide characters are square, capitals nearly."""
    square = sum(unicodedata.east_asian_width(mark) in "WF" for mark in text)
    broad = sum(mark in "#%@mwMW" or mark.isupper() for mark in text)
    return size * (square + 0.88 * broad + 0.6 * (len(text) - square - broad))


def frame(title: str, described: str, height: float, content: Iterable[Markup], width: float = WIDTH) -> Markup:
    """Return an ``<svg>`` with a title and a description for those who cannot see it."""
    number = next(_numbers)
    head = Markup('<title id="t{0}">{1}</title><desc id="d{0}">{2}</desc>').format(number, title, described)
    return Markup(
        '<svg viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-labelledby="t{n} d{n}">{c}</svg>'
    ).format(w=round(width), h=round(height), n=number, c=head + together(content))


def colour(n: int) -> str:
    """Return the class of the n-th series."""
    return f"s{n % _COLOURS + 1}"


def legend(names: Iterable[str], *, dashes: bool = False) -> Markup:
    """Return a legend as HTML, to stand above the drawing."""
    keys = [Markup('<span class="key {} {}">{}</span>').format(colour(n), "line" if dashes else "", name)
            for n, name in enumerate(names)]  # fmt: skip
    return Markup('<p class="legend">{}</p>').format(together(keys))


def axes(
    across: Scale, up: Scale, box: tuple[float, float, float, float], x_axis: str, y_axis: str, *, grid: bool = True
) -> list[Markup]:
    """Return grid lines, ticks and names around a plot in ``box`` (left, top, width, height)."""
    left, top, width, height = box
    parts = []
    for tick, label in zip(up.ticks, up.labels, strict=True):
        y = top + height * (1 - up.place(tick))
        if grid:
            parts.append(element("line", class_="grid", x1=left, x2=left + width, y1=y, y2=y))
        parts.append(element("text", label, class_="tick end", x=left - 8, y=y + 4))
    for tick, label in zip(across.ticks, across.labels, strict=True):
        x = left + width * across.place(tick)
        parts.append(element("line", class_="axis", x1=x, x2=x, y1=top + height, y2=top + height + 4))
        parts.append(element("text", label, class_="tick mid", x=x, y=top + height + 18))
    parts.append(element("line", class_="axis", x1=left, x2=left + width, y1=top + height, y2=top + height))
    parts.append(element("text", x_axis, class_="name mid", x=left + width / 2, y=top + height + 38))
    parts.append(element("text", y_axis, class_="name", x=left - 8 if len(y_axis) > 3 else left, y=top - 10))
    return parts


def told(values: Mapping[str, str]) -> str:
    """Say in words what a drawing shows: name and value after each other."""
    return tr("; ", "；").join(f"{name}: {value}" for name, value in values.items())
