"""Line and bar charts as inline SVG: no library, no script, sharp on paper, readable on a telephone.

A chart has no fixed width. Positions are percentages, so that the browser stretches the plot while text keeps
its size; the curves lie in a nested ``<svg>`` that is stretched without their strokes (``vector-effect``).
Colours and margins are the style sheet's. Pointing at a curve shows the nearest measured values; that is CSS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from zhixing.language import tr

Point = tuple[float, float | None]
"""x and y; None where the value was not finite: the curve has a gap there."""

_BUCKETS = 300
_PROBES = 60
_MOST_MARKED = 30
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Series:
    """One curve: its name and its points in order of x."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Axis:
    """``label`` names quantity and unit; the range holds all values, and 0 and ``reaches`` if asked for.

    ``tight``: it ends with the largest value, not with the tick after it.
    """

    label: str
    from_zero: bool = False
    reaches: float | None = None
    tight: bool = False
    log: bool = False


@dataclass(frozen=True)
class Bar:
    """One horizontal bar; ``kind`` is ``best``, ``model`` or ``yardstick``. None: the value is not finite."""

    name: str
    value: float | None
    kind: str = "model"


@dataclass(frozen=True)
class Scale:
    """The range of an axis and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where ``value`` lies, 0 at the low end and 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def short(value: float, digits: int = 3) -> str:
    """Return a number as one writes it beside a tick: ``1.5 M``, ``20 k``, ``0.004``."""
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (1 - 10**-digits / 2):
            return f"{value / size:.{digits}g} {sign}"
    return f"{value:.{digits}g}"


def in_bytes(count: float) -> str:
    """Return a count of bytes in decimal units: ``10.2 MB``."""
    return f"{count:,.0f} B" if count < 1000 else f"{short(count)}B"


def linear_scale(values: Sequence[float], axis: Axis, most: int = 6) -> Scale:
    """Return a scale around the values whose ends are ticks, with at most ``most`` of them."""
    wanted = [*values, *([0.0] if axis.from_zero else []), *([] if axis.reaches is None else [axis.reaches])]
    low, high = min(wanted), max(wanted)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: give it some room
        room = abs(high) / 2 or 1.0
        low, high = (low, high + room) if axis.from_zero else (low - room, high + room)
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (step * power * scale for scale in (1, 10) for step in _STEPS)
    for step in steps:
        first = math.floor(low / step + 1e-9)
        last = math.floor(high / step + 1e-9) if axis.tight else math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    end = high if axis.tight else last * step
    return Scale(first * step, end, tuple(i * step for i in range(first, last + 1)))


def log_scale(values: Sequence[float], most: int = 6) -> Scale:
    """Return a logarithmic scale around positive values, with ticks at 1, 2, 5 times powers of ten."""
    powers = range(math.floor(math.log10(min(values))) - 1, math.ceil(math.log10(max(values))) + 2)
    for leading in ((1, 2, 5), (1, 3), (1,)):
        ticks = [lead * 10.0**power for power in powers for lead in leading]
        first = max(i for i, tick in enumerate(ticks) if tick <= min(values) * (1 + 1e-9))
        last = min(i for i, tick in enumerate(ticks) if tick >= max(values) * (1 - 1e-9) and i > first)
        if last - first < most:
            break
    kept = ticks[first : last + 1]
    return Scale(kept[0], kept[-1], tuple(kept[:: math.ceil(len(kept) / most)]), log=True)


def thin(points: Sequence[Point], buckets: int = _BUCKETS) -> list[Point]:
    """Return at most about three points a bucket: its lowest, its highest, and a gap if it has one.

    Spikes and gaps stay visible however long the run was.
    """
    if len(points) <= 3 * buckets:
        return list(points)
    kept: set[int] = {0, len(points) - 1}
    for bucket in range(buckets):
        numbers = range(bucket * len(points) // buckets, (bucket + 1) * len(points) // buckets)
        finite = {n: y for n in numbers if (y := points[n][1]) is not None}
        kept.update({min(finite, key=finite.__getitem__), max(finite, key=finite.__getitem__)} if finite else ())
        kept.update([n for n in numbers if n not in finite][:1])
    return [points[n] for n in sorted(kept)]


def line_chart(title: str, series: Sequence[Series], x: Axis, y: Axis, *, wide: bool = False) -> Markup:
    """Return a ``<figure>``: title, legend, plot with axes. What is not finite is a gap, and counted."""
    thinned = [Series(one.name, thin(one.points)) for one in series]
    xs = [px for one in thinned for px, _ in one.points]
    ys = [py for one in thinned for _, py in one.points if py is not None]
    missing = sum(py is None for one in series for _, py in one.points)
    if not ys:
        return _figure(title, Markup(), _message(), missing, wide)
    across = linear_scale(xs, x)
    up = log_scale(ys) if y.log and min(ys) > 0 else linear_scale(ys, y, most=8 if wide else 6)
    y_label = y.label + (tr(" (logarithmic)", "（对数刻度）") if up.log else "")
    parts = [
        *_grid(across, up, x.label, y_label),
        *(_curve(n, one.points, across, up) for n, one in enumerate(thinned, 1)),
        *_probes(thinned, across, up, x.label),
    ]
    svg = Markup('<svg class="plot" role="img" aria-label="{}">{}</svg>').format(
        _summary(title, series, y.label), Markup("\n").join(parts)
    )
    return _figure(title, _legend(series), svg, missing, wide)


def bar_chart(title: str, bars: Sequence[Bar], unit: str) -> Markup:
    """Return a ``<figure>`` of bars from zero, each with its name above and its value at its end."""
    longest = max((bar.value for bar in bars if bar.value is not None), default=0.0) or 1.0
    row = Markup(
        '<g class="bar {kind}"><text class="name" x="0" y="{name_y}">{name}</text>'
        '<rect x="0" y="{bar_y}" width="{width:.2f}%" height="12"/>'
        '<text class="value" x="{width:.2f}%" dx="8" y="{value_y}">{value}</text></g>'
    )
    rows = []
    for number, bar in enumerate(bars):
        top = 48 * number
        value = f"{bar.value:.3f}" if bar.value is not None else tr("not finite", "非有限值")
        width = 86 * (bar.value or 0.0) / longest
        rows.append(
            row.format(
                kind=bar.kind, name=bar.name, width=width, value=value,
                name_y=top + 13, bar_y=top + 20, value_y=top + 31,
            )
        )  # fmt: skip
    told = "; ".join(f"{bar.name} {short(bar.value, 4) if bar.value is not None else '—'}" for bar in bars)
    svg = Markup('<svg class="bars" role="img" height="{}" aria-label="{}">{}</svg>').format(
        48 * len(bars), f"{title} ({unit}): {told}", Markup("\n").join(rows)
    )
    return _figure(title, Markup('<span class="unit">{}</span>').format(unit), svg, 0, True)


def _grid(across: Scale, up: Scale, x_label: str, y_label: str) -> list[Markup]:
    horizontal = Markup('<line class="grid" x1="0" x2="100%" y1="{0:.2f}%" y2="{0:.2f}%"/>')
    left = Markup('<text class="tick left" x="-8" y="{:.2f}%" dy="0.35em">{}</text>')
    below = Markup('<text class="tick below" x="{:.2f}%" y="100%" dy="17">{}</text>')
    heights = [100 * (1 - up.place(tick)) for tick in up.ticks]
    return [
        *(horizontal.format(height) for height in heights),
        *(left.format(*pair) for pair in zip(heights, _tick_labels(up), strict=True)),
        *(
            below.format(100 * across.place(tick), label)
            for tick, label in zip(across.ticks, _tick_labels(across), strict=True)
        ),
        Markup('<text class="label y" x="0" y="-10">{}</text>').format(y_label),
        Markup('<text class="label x" x="50%" y="100%" dy="35">{}</text>').format(x_label),
    ]


def _tick_labels(scale: Scale) -> list[str]:
    """Write the ticks with as few digits as tell them apart."""
    for digits in range(3, 16):
        labels = [short(tick, digits) for tick in scale.ticks]
        exact = all(
            math.isclose(float(f"{tick:.{digits}g}"), tick, abs_tol=1e-12 * (scale.high - scale.low))
            for tick in scale.ticks
        )
        if exact and len(set(labels)) == len(labels):
            break
    return labels


def _curve(number: int, points: Sequence[Point], across: Scale, up: Scale) -> Markup:
    """Return the curve; points that stand alone, and all points of a short curve, also as dots."""
    runs: list[list[tuple[float, float]]] = [[]]
    for px, py in points:
        if py is None:
            runs.append([])
        else:
            runs[-1].append((1000 * across.place(px), 1000 * (1 - up.place(py))))
    path = "".join("M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in run) for run in runs if len(run) > 1)
    marked = runs if len(points) <= _MOST_MARKED else [run for run in runs if len(run) == 1]
    dot = Markup('<circle class="dot" cx="{:.2f}%" cy="{:.2f}%" r="3"/>')
    dots = Markup("").join(dot.format(px / 10, py / 10) for run in marked for px, py in run)
    return Markup(
        '<g class="s{}"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">'
        '<path class="curve" d="{}"/></svg>{}</g>'
    ).format(number, path, dots)


def _probes(series: Sequence[Series], across: Scale, up: Scale, x_label: str) -> list[Markup]:
    """Return invisible strips that, pointed at, show the nearest values; at most ``_PROBES`` of them."""
    xs = sorted({px for one in series for px, py in one.points if py is not None})
    xs = [xs[n * (len(xs) - 1) // max(1, min(len(xs), _PROBES) - 1)] for n in range(min(len(xs), _PROBES))]
    edges = [across.low, *((a + b) / 2 for a, b in pairwise(xs)), across.high]
    probe = Markup(
        '<g class="probe"><rect x="{left:.2f}%" y="0" width="{width:.2f}%" height="100%"/>'
        '<line x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="100%"/>{dots}'
        '<text x="100%" y="-10">{text}</text></g>'
    )
    found = []
    for at, (left, right) in zip(xs, pairwise(edges), strict=True):
        dots, words = _nearest(series, at, left, right, across, up)
        start = 100 * across.place(left)
        found.append(
            probe.format(
                left=start, width=100 * across.place(right) - start, at=100 * across.place(at),
                dots=Markup("").join(dots), text=f"{short(at)} {x_label} · " + " · ".join(words),
            )
        )  # fmt: skip
    return found


def _nearest(
    series: Sequence[Series], at: float, left: float, right: float, across: Scale, up: Scale
) -> tuple[list[Markup], list[str]]:
    """Return a dot and a phrase for each series that has a point between ``left`` and ``right``."""
    dots, words = [], []
    for number, one in enumerate(series, 1):
        near = [(px, py) for px, py in one.points if py is not None and left <= px <= right]
        if near:
            px, py = min(near, key=lambda point: abs(point[0] - at))
            place = 100 * across.place(px), 100 * (1 - up.place(py))
            dots.append(Markup('<circle class="s{} dot" cx="{:.2f}%" cy="{:.2f}%" r="3.5"/>').format(number, *place))
            words.append(f"{one.name} {short(py, 4)}" if len(series) > 1 else short(py, 4))
    return dots, words


def _legend(series: Sequence[Series]) -> Markup:
    if len(series) < 2:
        return Markup()
    key = Markup('<span class="key s{}">{}</span>')
    return Markup("").join(key.format(number, one.name) for number, one in enumerate(series, 1))


def _summary(title: str, series: Sequence[Series], unit: str) -> str:
    """Say in words what the curves show, for those who cannot see them."""
    told = []
    for one in series:
        values = [py for _, py in one.points if py is not None]
        if values:
            first, last = short(values[0], 4), short(values[-1], 4)
            told.append(tr(f"{one.name} from {first} to {last}", f"{one.name} 从 {first} 到 {last}"))
    return f"{title} ({unit}): " + "; ".join(told)


def _message() -> Markup:
    return Markup('<p class="quiet">{}</p>').format(tr("No finite value was recorded.", "没有记录到有限的数值。"))


def _figure(title: str, legend: Markup, content: Markup, missing: int, wide: bool) -> Markup:
    note = Markup()
    if missing:
        words = tr(f"Values that were not finite, left as gaps: {missing}.", f"{missing} 个非有限值显示为断点。")
        note = Markup('<p class="quiet">{}</p>').format(words)
    return Markup('<figure class="chart{}"><figcaption><h3>{}</h3>{}</figcaption>{}{}</figure>').format(
        " wide" if wide else "", title, legend, content, note
    )
