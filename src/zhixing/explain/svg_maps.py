"""Heat maps, lattices and trees as inline SVG; colours and fonts are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from zhixing.explain.pictures import HeatMap, Lattice, Tree
from zhixing.explain.rounding import number, table
from zhixing.explain.scales import strengths, thinned
from zhixing.explain.svg import WIDTH, element, frame, text_width, told
from zhixing.explain.terminal_maps import wrapped
from zhixing.language import tr

_LINE = 30
_CELLS = 90


def heat_map(picture: HeatMap) -> Markup:
    """Return values as shades, with the numbers in the cells where they fit."""
    values = np.asarray(picture.values, dtype=np.float64)
    cells, shares = table(values), strengths(values)
    left = min(max((text_width(name) for name in picture.rows), default=0) + 12, WIDTH / 3)
    left += 20 if picture.row_axis else 0
    wide = min((WIDTH - left - 4) / max(values.shape[1], 1), 84)
    tall = min(max(wide * 0.62, 14), 44) if values.shape[0] <= 24 else max(min(wide, 14), 4)
    slanted = max((text_width(name) for name in picture.columns), default=0) > wide - 4
    top = (26 + (max(text_width(name) for name in picture.columns) * 0.75 if slanted else 12)) + (
        18 if picture.column_axis else 0
    )
    written = max(text_width(cell, 12) for row in cells for cell in row) < wide - 4 and tall >= 14
    parts = [*_column_names(picture.columns, left, top, wide, slanted), *_row_names(picture.rows, left, top, tall)]
    for (r, c), share in np.ndenumerate(shares):
        parts += _cell(cells[r][c] if written else "", float(share), left + c * wide, top + r * tall, wide, tall)
    bottom, middle = top + values.shape[0] * tall, left + values.shape[1] * wide / 2
    parts.append(element("text", picture.column_axis, class_="name mid", x=middle, y=14))
    turned = f"translate(13 {(top + bottom) / 2:.0f}) rotate(-90)"
    parts.append(element("text", picture.row_axis, class_="name mid", transform=turned))
    leaning = 0.68 * text_width(picture.columns[-1]) if slanted else 0  # the last name leans out to the right
    width = max(left + values.shape[1] * wide + 4 + leaning, left + text_width(picture.column_axis, 12))
    return frame(picture.title, _largest(picture, values), bottom + 6, parts, width)


def _column_names(names: Sequence[str], left: float, top: float, wide: float, slanted: bool) -> Iterator[Markup]:
    most = WIDTH / 24
    for n in thinned(len(names), int(most) if slanted else len(names) or 1):
        x = left + (n + 0.5) * wide
        if slanted:
            yield element(
                "text", names[n], class_="label", transform=f"translate({x + 3:.1f} {top - 8:.1f}) rotate(-48)"
            )
        else:
            yield element("text", names[n], class_="label mid", x=x, y=top - 8)


def _row_names(names: Sequence[str], left: float, top: float, tall: float) -> Iterator[Markup]:
    step = max(1, math.ceil(14 / tall))
    for n in range(0, len(names), step):
        yield element("text", names[n], class_="label end", x=left - 8, y=top + (n + 0.5) * tall + 4)


def _cell(text: str, share: float, x: float, y: float, wide: float, tall: float) -> Iterator[Markup]:
    gap = 1 if wide > 10 else 0
    size = {"width": wide - gap, "height": tall - gap}
    yield element("rect", class_="paper", x=x, y=y, rx=2 * gap, **size)
    if math.isfinite(share):
        kind = "s1" if share >= 0 else "s2"
        yield element("rect", class_=f"bar {kind}", x=x, y=y, rx=2 * gap, fill_opacity=round(abs(share), 3), **size)
    if text:
        strong = "strong" if math.isfinite(share) and abs(share) > 0.55 else ""
        yield element("text", text, class_=f"in mid {strong}", x=x + (wide - gap) / 2, y=y + tall / 2 + 4)


def _largest(picture: HeatMap, values: np.ndarray) -> str:
    """Say in words where each row is largest."""
    words = {}
    for name, row in zip(picture.rows, values, strict=False):
        finite = np.where(np.isfinite(row), row, -np.inf)
        place = int(finite.argmax())
        largest, column = number(float(row[place])), picture.columns[place]
        words[name] = tr(f"largest {largest} at {column}", f"最大值 {largest}，位于 {column}")
    return told(words)


def lattice(picture: Lattice) -> Markup:
    """Return states against time: every node's score, where it came from, and the best path."""
    left = min(max(text_width(name) for name in picture.states) + 16, WIDTH / 3)
    longest = max(text_width(number(float(v)), 12) for v in np.asarray(picture.score).flat)
    step = max((WIDTH - left - 10) / len(picture.times), longest + 34)
    wide = min(longest + 16, step * 0.75)
    tall, top, drop = 26.0, 44.0, 58.0
    at = {
        (s, t): (left + (t + 0.5) * step, top + s * drop)
        for s in range(len(picture.states))
        for t in range(len(picture.times))
    }
    parts = [element("text", name, class_="label mid", x=at[0, t][0], y=18) for t, name in enumerate(picture.times)]
    parts += [
        element("text", name, class_="label end", x=left - 4, y=at[s, 0][1] + 4)
        for s, name in enumerate(picture.states)
    ]
    parts += sorted(_edges(picture, at, wide), key=lambda edge: "best" in edge)
    for (s, t), (x, y) in at.items():
        score = float(picture.score[s, t])
        if math.isnan(score):
            continue
        best = "best" if picture.best[t] == s else ""
        parts.append(
            element("rect", class_=f"node {best}", x=x - wide / 2, y=y - tall / 2, width=wide, height=tall, rx=7)
        )
        parts.append(element("text", number(score), class_=f"in mid {best}", x=x, y=y + 4))
    path = {time: picture.states[state] for time, state in zip(picture.times, picture.best, strict=True)}
    return frame(
        picture.title,
        told(path),
        top + drop * (len(picture.states) - 1) + 26,
        parts,
        left + step * len(picture.times) + 4,
    )


def _edges(picture: Lattice, at: dict[tuple[int, int], tuple[float, float]], wide: float) -> Iterator[Markup]:
    for (s, t), (x, y) in at.items():
        before = int(picture.came_from[s, t])
        if t == 0 or before < 0 or math.isnan(float(picture.score[s, t])):
            continue
        x0, y0 = at[before, t - 1]
        start, end = x0 + wide / 2 + 1, x - wide / 2 - 1
        bend = (start + end) / 2
        best = "best" if picture.best[t] == s and picture.best[t - 1] == before else ""
        d = f"M{start:.1f} {y0:.1f}C{bend:.1f} {y0:.1f} {bend:.1f} {y:.1f} {end:.1f} {y:.1f}"
        yield element("path", class_=f"edge {best}", d=d)


def tree(picture: Tree) -> Markup:
    """Return nested nodes below each other, children indented and joined to their parent."""
    parts: list[Markup] = []
    texts: list[str] = []
    places: list[tuple[float, str]] = []
    bottom = 0.0

    def walk(node: Tree, depth: int, parent: float | None) -> None:
        nonlocal bottom
        x, y = 12.0 + 30 * depth, bottom + _LINE / 2
        if parent is not None:
            px = x - 27
            parts.append(element("path", class_="edge", d=f"M{px} {parent + 6}V{y - 8}Q{px} {y} {px + 8} {y}H{x - 7}"))
        parts.append(element("circle", class_="bar s2" if parent is None else "bar s1", cx=x, cy=y, r=4.5))
        lines = wrapped(node.text, max(_CELLS - 4 * depth, 20))
        for n, line in enumerate(lines):
            parts.append(element("text", line, class_="label", x=x + 13, y=y + 5 + 18 * n))
            places.append((x + 13, line))
        texts.append(node.text)
        bottom += _LINE + 18 * (len(lines) - 1)
        for child in node.children:
            walk(child, depth + 1, y)

    walk(picture, 0, None)
    width = max(x + text_width(line) for x, line in places)
    return frame(picture.text, "; ".join(texts), bottom, parts, max(width + 8, 320.0))
