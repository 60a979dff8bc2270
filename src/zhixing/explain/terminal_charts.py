"""Curves, bars and landscapes in a terminal: braille dots and blocks, in colour, and legible without it.

Each curve has a mark of its own (●, ■, …), so that it can be told apart where there is no colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from zhixing.explain.pictures import Bars, Lines, Valley
from zhixing.explain.rounding import number
from zhixing.explain.scales import Scale, levels, scale, thinned

COLOURS = ("#3f8fd2", "#d2553f", "#4f9d57", "#a96fc7", "#b58a2a", "#3fa3a0", "#c7659b", "#7f8790")
MARKS = "●■▲◆○□△◇"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_MARKS = 6


class Canvas:
    """A grid of character cells, each of 2 × 4 dots; a mark hides the dots of its cell."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._dots = np.zeros((rows, columns), dtype=np.int64)
        self._styles: dict[tuple[int, int], str] = {}
        self._marks: dict[tuple[int, int], str] = {}

    def dot(self, across: float, up: float, style: str) -> None:
        """Set the dot at a place in [0, 1]², (0, 0) at the lower left; places outside are left out."""
        if not (0 <= across <= 1 and 0 <= up <= 1):
            return
        x, y = round(across * (2 * self.columns - 1)), round((1 - up) * (4 * self.rows - 1))
        self._dots[y // 4, x // 2] |= _DOTS[y % 4][x % 2]
        self._styles[y // 4, x // 2] = style

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str) -> None:
        """Draw a straight line between two places."""
        steps = max(abs(end[0] - start[0]) * 2 * self.columns, abs(end[1] - start[1]) * 4 * self.rows)
        if not math.isfinite(steps):
            return
        for share in np.linspace(0, 1, min(int(steps) + 2, 1000)):
            self.dot(start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]), style)

    def mark(self, across: float, up: float, mark: str, style: str) -> None:
        """Put a mark in the cell at a place, unless another stands there."""
        if 0 <= across <= 1 and 0 <= up <= 1:
            cell = round((1 - up) * (self.rows - 1)), round(across * (self.columns - 1))
            self._marks.setdefault(cell, mark)
            self._styles[cell] = style

    def lines(self) -> list[Text]:
        """Return the rows of the grid."""
        return [self._row(y) for y in range(self.rows)]

    def put_behind(self, other: Canvas) -> None:
        """Show another canvas of the same size wherever nothing is drawn here."""
        free = self._dots == 0
        self._dots += np.where(free, other._dots, 0)
        self._styles = other._styles | self._styles

    def _row(self, y: int) -> Text:
        row = Text()
        for x in range(self.columns):
            dots = int(self._dots[y, x])
            row.append(self._marks.get((y, x)) or (chr(0x2800 + dots) if dots else " "), self._styles.get((y, x), ""))
        return row


def draw_lines(picture: Lines, width: int, rows: int = 14) -> Iterator[Text]:
    """Draw curves over a common x."""
    everything = np.concatenate([np.asarray(curve, dtype=np.float64) for curve in picture.curves.values()])
    across = scale(np.asarray(picture.x, dtype=np.float64), 6, tight=True)
    up = scale(everything, 5)
    margin = max(map(len, up.labels))
    canvas = Canvas(width - margin - 2, rows)
    for n, curve in enumerate(picture.curves.values()):
        _curve(canvas, np.asarray(picture.x), np.asarray(curve), across, up, n)
    yield from _legend(picture.curves, width)
    yield from _framed(canvas, across, up, picture.x_axis, picture.y_axis)


def _curve(canvas: Canvas, x: NDArray[np.float64], y: NDArray[np.float64], across: Scale, up: Scale, n: int) -> None:
    colour = COLOURS[n % len(COLOURS)]
    places = [(across.place(float(px)), up.place(float(py))) for px, py in zip(x, y, strict=True)]
    for start, end in pairwise(places):
        canvas.line(start, end, colour)
    shown = [place for place in places if math.isfinite(place[1])]
    step = max(1, len(shown) // _MOST_MARKS)
    for place in shown[(n * step // 3) % step :: step]:  # marks of different curves stand at different x
        canvas.mark(*place, MARKS[n % len(MARKS)], colour)


def _legend(names: Mapping[str, object], width: int) -> Iterator[Text]:
    line = Text()
    for n, name in enumerate(names):
        entry = Text(f"{MARKS[n % len(MARKS)]} ", COLOURS[n % len(COLOURS)]).append(name, "default")
        if line and line.cell_len + entry.cell_len + 3 > width:
            yield line
            line = Text()
        line = line + Text("   " if line else "") + entry
    yield line


def _framed(canvas: Canvas, across: Scale, up: Scale, x_axis: str, y_axis: str) -> Iterator[Text]:
    """Put the axes, their ticks and their names around a canvas."""
    margin = max(map(len, up.labels))
    at = {round((1 - up.place(tick)) * (canvas.rows - 1)): label for tick, label in _pairs(up)}
    if y_axis:
        yield Text(y_axis, "dim")
    for n, row in enumerate(canvas.lines()):
        yield Text.assemble((f"{at.get(n, ''):>{margin}} {'┤' if n in at else '│'}", "dim"), row)
    yield Text(" " * margin + " └" + "─" * canvas.columns, "dim")
    below = [" "] * canvas.columns
    for tick, label in _pairs(across):
        start = min(
            max(round(across.place(tick) * (canvas.columns - 1)) - len(label) // 2, 0), canvas.columns - len(label)
        )
        free = all(mark == " " for mark in below[max(start - 1, 0) : start + len(label) + 1])
        if free:
            below[start : start + len(label)] = label
    yield Text(" " * (margin + 2) + "".join(below).rstrip(), "dim")
    if x_axis:
        yield Text(" " * (margin + 2) + x_axis.center(canvas.columns).rstrip(), "dim")


def _pairs(axis: Scale) -> list[tuple[float, str]]:
    return [(t, label) for t, label in zip(axis.ticks, axis.labels, strict=True) if -1e-9 <= axis.place(t) <= 1 + 1e-9]


def draw_bars(picture: Bars, width: int) -> Iterator[Text]:
    """Draw horizontal bars, those of one label together; bars below zero go to the left of it."""
    heights = np.array([np.asarray(values, dtype=np.float64) for values in picture.series.values()])  # (series, N)
    label_width = min(max(map(cell_len, picture.labels), default=0), width // 3)
    value_width = max(len(number(float(value))) for value in heights.flat)
    room = max(width - label_width - value_width - 5, 8)
    across = scale(heights, 6, from_zero=True, tight=True)
    if len(picture.series) > 1:
        yield from _legend(picture.series, width)
    for n, label in enumerate(picture.labels):
        for s in range(len(heights)):
            name = set_cell_size(label if s == 0 else "", label_width)
            colour = COLOURS[s % len(COLOURS)]
            row = Text(f"{name} ") + Text(MARKS[s % len(MARKS)] + " " if len(heights) > 1 else "", colour)
            yield row + _bar(float(heights[s, n]), across, room, colour)
    if picture.y_axis:
        yield Text(" " * (label_width + 1) + picture.y_axis, "dim")


def _bar(value: float, across: Scale, room: int, colour: str) -> Text:
    if not math.isfinite(value):
        return Text(number(value), "dim")
    zero, end = across.place(0) * room, across.place(value) * room
    start, length = (zero, end - zero) if value >= 0 else (end, zero - end)
    whole, part = divmod(round(length * 8), 8)
    blocks = "█" * whole + (_EIGHTHS[part] if part and value >= 0 else "")
    left = round(zero) if value >= 0 else round(start)
    return Text(" " * left) + Text(blocks, colour) + Text(f" {number(value)}")


def draw_valley(picture: Valley, width: int, rows: int = 17) -> Iterator[Text]:
    """Draw contours of the landscape and the paths over it; a path begins at its first mark and ends at ✕."""
    across, up = (scale(np.asarray(axis), 6, tight=True) for axis in (picture.x, picture.y))
    canvas = Canvas(width - max(map(len, up.labels)) - 2, rows)
    for n, path in enumerate(picture.paths.values()):
        colour = COLOURS[n % len(COLOURS)]
        places = [(across.place(float(px)), up.place(float(py))) for px, py in path]
        for start, end in pairwise(places):
            canvas.line(start, end, colour)
        shown = thinned(len(places), 12)
        for i in [len(places) - 1, *shown]:
            canvas.mark(places[i][0], places[i][1], "✕" if i == len(places) - 1 else MARKS[n % len(MARKS)], colour)
    behind = Canvas(canvas.columns, rows)
    for i, j in zip(*np.nonzero(_edges(picture, canvas)), strict=True):
        behind.dot(i / (2 * canvas.columns - 1), j / (4 * rows - 1), "dim")
    canvas.put_behind(behind)
    yield from _legend(picture.paths, width)
    yield from _framed(canvas, across, up, picture.x_axis, picture.y_axis)


def _edges(picture: Valley, canvas: Canvas) -> NDArray[np.bool_]:
    """Return, for every dot (X, Y), whether a contour passes between it and its neighbours."""
    height = np.asarray(picture.height, dtype=np.float64).T  # (X, Y)
    columns, rows = 2 * canvas.columns, 4 * canvas.rows
    x, y = np.linspace(0, height.shape[0] - 1, columns), np.linspace(0, height.shape[1] - 1, rows)
    along = np.array([np.interp(x, np.arange(height.shape[0]), line) for line in height.T]).T
    fine = np.array([np.interp(y, np.arange(height.shape[1]), line) for line in along])
    band = np.searchsorted(levels(height, 6), fine)
    edge = np.zeros(band.shape, dtype=np.bool_)
    edge[:-1] |= band[:-1] != band[1:]
    edge[:, :-1] |= band[:, :-1] != band[:, 1:]
    return edge
