"""Curves, bars and landscapes as inline SVG; colours and fonts are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from zhixing.explain.pictures import Bars, Lines, Valley
from zhixing.explain.rounding import number
from zhixing.explain.scales import Scale, levels, scale
from zhixing.explain.svg import WIDTH, axes, colour, element, frame, legend, text_width, told
from zhixing.language import tr

Array = NDArray[np.float64]
Place = tuple[float, float]


def lines(picture: Lines) -> Markup:
    """Return the curves; a value that is not finite leaves a gap."""
    x = np.asarray(picture.x, dtype=np.float64)
    curves = {name: np.asarray(y, dtype=np.float64) for name, y in picture.curves.items()}
    across, up = scale(x, 8, tight=True), scale(np.concatenate(list(curves.values())), 6)
    box = _box(up, 300)
    parts = axes(across, up, box, picture.x_axis, picture.y_axis)
    for n, y in enumerate(curves.values()):
        places = [_at(box, across, up, px, py) for px, py in zip(x, y, strict=True)]
        parts.append(element("path", class_=f"curve {colour(n)}", d=_path(places)))
        if len(places) <= 30:
            parts += [
                element("circle", class_=f"dot {colour(n)}", cx=a, cy=b, r=3) for a, b in places if math.isfinite(b)
            ]
    words = {name: _ends(y) for name, y in curves.items()}
    keys = legend(curves, dashes=True) if len(curves) > 1 else Markup()
    return keys + frame(picture.title, told(words), box[1] + box[3] + 50, parts)


def _ends(y: Array) -> str:
    finite = y[np.isfinite(y)]
    if not len(finite):
        return "–"
    first, last = number(float(finite[0])), number(float(finite[-1]))
    return tr(f"from {first} to {last}", f"从 {first} 到 {last}")


def _box(up: Scale, height: float) -> tuple[float, float, float, float]:
    left = max(text_width(label, 12) for label in up.labels) + 18
    return left, 30.0, WIDTH - left - 16, height


def _at(box: tuple[float, float, float, float], across: Scale, up: Scale, x: float, y: float) -> Place:
    left, top, width, height = box
    return left + width * across.place(float(x)), top + height * (1 - up.place(float(y)))


def _path(places: list[Place]) -> str:
    """Return a path through the places; it begins anew after a gap."""
    words, pen = [], "M"
    for a, b in places:
        if math.isfinite(b):
            words.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L" if math.isfinite(b) else "M"
    return "".join(words)


def bars(picture: Bars) -> Markup:
    """Return horizontal bars, those of one label together, each with its value at its end."""
    heights = np.array([np.asarray(values, dtype=np.float64) for values in picture.series.values()])  # (series, N)
    across = scale(heights, 6, from_zero=True, tight=True)
    left = min(max(text_width(label) for label in picture.labels) + 12, WIDTH / 3)
    room = WIDTH - left - 70
    thick = 20 if len(heights) == 1 else 13
    step = len(heights) * (thick + 2) + 14
    parts = [element("line", class_="axis", x1=left + room * across.place(0), x2=left + room * across.place(0),
                     y1=4, y2=step * len(picture.labels))]  # fmt: skip
    for n, label in enumerate(picture.labels):
        top = n * step + 6
        middle = top + len(heights) * (thick + 2) / 2 + 4
        parts.append(element("text", label, class_="label end", x=left - 10, y=middle))
        parts += _group(heights[:, n], across, left, room, top, thick)
    bottom = step * len(picture.labels) + 8
    parts.append(element("text", picture.y_axis, class_="name mid", x=left + room / 2, y=bottom + 14))
    names = list(picture.series)
    words = {
        f"{label}, {name}": number(float(heights[s, n]))
        for n, label in enumerate(picture.labels)
        for s, name in enumerate(names)
    }
    keys = legend(names) if len(names) > 1 else Markup()
    return keys + frame(picture.title, told(words), bottom + (24 if picture.y_axis else 0), parts)


def _group(values: Array, across: Scale, left: float, room: float, top: float, thick: float) -> Iterator[Markup]:
    for s, value in enumerate(map(float, values)):
        y = top + s * (thick + 2)
        if not math.isfinite(value):
            yield element("text", number(value), class_="value", x=left + room * across.place(0) + 6, y=y + thick - 2)
            continue
        ends = sorted((left + room * across.place(0), left + room * across.place(value)))
        yield element("rect", class_=f"bar {colour(s)}", x=ends[0], y=y, width=max(ends[1] - ends[0], 1.0),
                      height=thick, rx=2)  # fmt: skip
        yield element("text", number(value), class_="value", x=ends[1] + 6, y=y + thick - (2 if thick < 16 else 5))


def valley(picture: Valley) -> Markup:
    """Return contour lines of the landscape and the paths over it, from their first dot to the cross."""
    across, up = (scale(np.asarray(axis, dtype=np.float64), 8, tight=True) for axis in (picture.x, picture.y))
    box = _box(up, 380)
    height = np.asarray(picture.height, dtype=np.float64)
    cuts = levels(height, 12)
    parts = []
    for n, level in enumerate(cuts):
        path = "".join(
            f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"
            for a, b in _contour(picture, height, float(level), across, up, box)
        )
        parts.append(element("path", class_="contour", d=path, opacity=1 - 0.75 * n / len(cuts)))
    parts += axes(across, up, box, picture.x_axis, picture.y_axis, grid=False)
    for n, walked in enumerate(picture.paths.values()):
        parts += _walk([_at(box, across, up, *point) for point in _inside(np.asarray(walked), across, up)], n)
    words = {name: _journey(np.asarray(walked)) for name, walked in picture.paths.items()}
    return legend(picture.paths, dashes=True) + frame(picture.title, told(words), box[1] + box[3] + 50, parts)


def _inside(path: Array, across: Scale, up: Scale) -> list[tuple[float, float]]:
    """Return the points of a path that lie on the map: one that leaves it is followed to the border."""
    kept = []
    for x, y in path:
        if not (math.isfinite(x) and math.isfinite(y)):
            break
        kept.append((float(np.clip(x, across.low, across.high)), float(np.clip(y, up.low, up.high))))
    return kept


def _walk(places: list[Place], n: int) -> Iterator[Markup]:
    yield element("path", class_=f"curve {colour(n)}", d=_path(places))
    for a, b in places[:-1] if len(places) <= 60 else places[:1]:
        yield element("circle", class_=f"dot {colour(n)}", cx=a, cy=b, r=2.5)
    for a, b in places[-1:]:
        cross = f"M{a - 5:.1f} {b - 5:.1f}l10 10m0 -10l-10 10"
        yield element("path", class_=f"cross {colour(n)}", d=cross)


def _journey(path: Array) -> str:
    start, end = (f"({number(float(x))}, {number(float(y))})" for x, y in (path[0], path[-1]))
    count = len(path) - 1
    return tr(f"from {start} to {end} in {count} steps", f"{count} 步从 {start} 到 {end}")


def _contour(
    picture: Valley, height: Array, level: float, across: Scale, up: Scale, box: tuple[float, float, float, float]
) -> Iterator[tuple[Place, Place]]:
    """Yield the straight pieces of one contour: each cell of the grid is cut where its edges cross the level."""
    above = height > level
    mixed = above[:-1, :-1].astype(int) + above[1:, :-1] + above[:-1, 1:] + above[1:, 1:]
    for j, i in zip(*np.nonzero((mixed > 0) & (mixed < 4)), strict=True):
        corners = [(j, i), (j, i + 1), (j + 1, i + 1), (j + 1, i)]
        cuts = []
        for (j0, i0), (j1, i1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            if above[j0, i0] != above[j1, i1]:
                share = (level - height[j0, i0]) / (height[j1, i1] - height[j0, i0])
                x = picture.x[i0] + share * (picture.x[i1] - picture.x[i0])
                y = picture.y[j0] + share * (picture.y[j1] - picture.y[j0])
                cuts.append(_at(box, across, up, x, y))
        yield from zip(cuts[::2], cuts[1::2], strict=True)
