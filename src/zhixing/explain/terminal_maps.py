"""Heat maps, lattices and trees in a terminal.

Where there is colour a cell of a heat map is tinted; where there is none it carries a block that is as dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from zhixing.explain.pictures import HeatMap, Lattice, Tree
from zhixing.explain.rounding import number, table
from zhixing.explain.scales import strengths

_BLOCKS = " ░▒▓█"
_PALE, _BLUE, _RED = (238, 241, 244), (31, 92, 153), (181, 56, 42)


def draw_heat_map(picture: HeatMap, width: int, *, colour: bool) -> Iterator[Text]:
    """Draw values as shades, with the numbers in them where there is room."""
    values = np.asarray(picture.values, dtype=np.float64)
    cells, shares = table(values), strengths(values)
    labels = _cut(picture.rows, width // 4)
    left = max(map(cell_len, labels), default=0)
    cell_width = max([*(len(cell) for row in cells for cell in row), *map(cell_len, picture.columns)]) + (
        1 if colour else 3
    )
    if (left + 1 + (cell_width + 1) * values.shape[1]) > width:
        narrow = max(len(cell) for row in cells for cell in row) + (1 if colour else 3)
        cell_width = (
            max(narrow, (width - left - 1) // max(values.shape[1], 1) - 1) if _fits(narrow, left, values, width) else 0
        )
    if picture.row_axis or picture.column_axis:
        yield Text(f"{picture.row_axis} ↓   {picture.column_axis} →".strip(), "dim")
    if not cell_width:
        yield from _shades(labels, picture.columns, shares, left, width, colour=colour)
        return
    yield Text(" " * left + " ") + Text(" ").join(
        Text(_right(_cut([name], cell_width)[0], cell_width), "dim") for name in picture.columns
    )
    for label, row, strength in zip(labels, cells, shares, strict=True):
        line = Text(_right(label, left) + " ")
        for cell, share in zip(row, strength, strict=True):
            line = Text.assemble(line, _value(cell, float(share), cell_width, colour=colour), " ")
        yield line


def _fits(cell_width: int, left: int, values: np.ndarray, width: int) -> bool:
    return bool(left + 1 + (cell_width + 1) * values.shape[1] <= width)


def _value(cell: str, share: float, width: int, *, colour: bool) -> Text:
    if colour:
        return Text(cell.rjust(width), _tint(share) if math.isfinite(share) else "")
    return Text(_block(share) + cell.rjust(width - 1))


def _block(share: float) -> str:
    return _BLOCKS[min(math.ceil(abs(share) * 4), 4)] if math.isfinite(share) else " "


def _tint(share: float) -> str:
    """Return a background between pale and blue (red below zero) and a text colour that is read on it."""
    end = _BLUE if share >= 0 else _RED
    red, green, blue = (round(p + abs(share) * (e - p)) for p, e in zip(_PALE, end, strict=True))
    return f"{'#ffffff' if abs(share) > 0.55 else '#1d2125'} on #{red:02x}{green:02x}{blue:02x}"


def _shades(
    labels: Sequence[str], columns: Sequence[str], shares: np.ndarray, left: int, width: int, *, colour: bool
) -> Iterator[Text]:
    """Draw a map too wide for numbers: two cells a value, or one; columns beyond the width in a next band."""
    size = 2 if left + 1 + 2 * len(columns) <= width else 1
    room = (width - left - 1) // size
    for start in range(0, len(columns), room):
        names = columns[start : start + room]
        yield Text(" " * (left + 1) + "".join(set_cell_size(name, size) for name in names), "dim")
        for label, row in zip(labels, shares[:, start : start + room], strict=True):
            line = Text(_right(label, left) + " ")
            for share in row:
                tinted = colour and math.isfinite(float(share))
                line += Text(" " * size, _tint(float(share))) if tinted else Text(_block(float(share)) * size)
            yield line


def draw_lattice(picture: Lattice, width: int) -> Iterator[Text]:
    """Draw states against time: in each node the state it came from and its score; the best path in [brackets]."""
    cells = [[_node(picture, s, t) for t in range(len(picture.times))] for s in range(len(picture.states))]
    labels = _cut(picture.states, width // 4)
    left = max(map(cell_len, labels), default=0)
    cell_width = max(*(cell_len(cell) for row in cells for cell in row), *map(cell_len, picture.times), 3) + 2
    cell_width = min(cell_width, width - left - 1)
    room = max((width - left - 1) // cell_width, 1)
    for start in range(0, len(picture.times), room):
        times = range(start, min(start + room, len(picture.times)))
        if start:
            yield Text("")
        heads = "".join(_right(_cut([picture.times[t]], cell_width - 2)[0], cell_width - 1) + " " for t in times)
        yield Text(" " * (left + 1) + heads, "dim")
        for s, label in enumerate(labels):
            line = Text(_right(label, left) + " ")
            for t in times:
                best = picture.best[t] == s
                text = f"[{cells[s][t]}]" if best else f" {cells[s][t]} "
                line += Text(_right(text, cell_width), "bold #d2553f" if best else "")
            yield line


def _node(picture: Lattice, s: int, t: int) -> str:
    score, before = float(picture.score[s, t]), int(picture.came_from[s, t])
    if math.isnan(score):
        return ""
    came = f"{_cut([picture.states[before]], 8)[0]}→ " if t and before >= 0 else ""
    return came + number(score)


def draw_tree(picture: Tree, width: int, before: str = "", mark: str = "") -> Iterator[Text]:
    """Draw nested nodes with their branches; a text that is too long goes on below itself."""
    follows = before + ("" if not mark else "   " if mark.startswith("└") else "│  ")
    trunk = follows + ("│  " if picture.children else "   ")
    lines = wrapped(picture.text, max(width - cell_len(before + mark), 12))
    for n, line in enumerate(lines):
        yield Text.assemble((before + mark if n == 0 else trunk, "dim"), line)
    for n, child in enumerate(picture.children, 1):
        yield from draw_tree(child, width, follows, "└─ " if n == len(picture.children) else "├─ ")


def wrapped(text: str, width: int) -> list[str]:
    """Break a text at spaces, or anywhere if it has none, into lines of at most ``width`` cells."""
    lines = [""]
    for mark in text.replace("\n", " "):
        if cell_len(lines[-1] + mark) > width:
            head, space, tail = lines[-1].rpartition(" ")
            lines[-1:] = [head, tail] if space and head.strip() else [lines[-1], ""]
        lines[-1] += mark
    return lines


def _cut(names: Sequence[str], width: int) -> list[str]:
    """Shorten names to a width, with an ellipsis where something is missing."""
    width = max(width, 1)
    return [name if cell_len(name) <= width else set_cell_size(name, width - 1).rstrip() + "…" for name in names]


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text
