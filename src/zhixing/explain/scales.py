"""Axes and shades: round ticks, places between 0 and 1, levels of a landscape. Shared by terminal and page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.explain.rounding import number

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """The range of an axis and its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Return where ``value`` lies, 0 at the low end and 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    @property
    def labels(self) -> list[str]:
        """The ticks as text."""
        return [number(round(tick, 10)) for tick in self.ticks]


def scale(values: NDArray[Any], most: int = 6, *, tight: bool = False, from_zero: bool = False) -> Scale:
    """Return a scale around the finite values with at most ``most`` round ticks.

    ``tight``: it ends with the values, not with the ticks around them; ``from_zero``: 0 is on it.

    >>> scale(np.array([0.1, 0.9]), from_zero=True).ticks
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """
    finite = np.append(values[np.isfinite(values)], [0.0] if from_zero or not np.isfinite(values).any() else [])
    low, high = float(finite.min()), float(finite.max())
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):  # one value: give it some room
        room = abs(high) / 2 or 1.0
        low, high = low - room, high + room
    power = 10.0 ** math.floor(math.log10((high - low) / max(most - 1, 1)))
    for step in (step * power * factor for factor in (1, 10) for step in _STEPS):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        inner = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        ticks = inner if tight else range(first, last + 1)
        if len(ticks) <= most:
            break
    ends = (low, high) if tight else (first * step, last * step)
    return Scale(*ends, tuple(n * step for n in ticks))


def levels(height: NDArray[Any], count: int = 9) -> NDArray[Any]:
    """Return heights at which contours are drawn: they cut the landscape into parts that widen from the valley."""
    shares = np.linspace(0, 1, count + 2)[1:-1] ** 1.5
    finite = height[np.isfinite(height)]
    return np.unique(np.quantile(finite, shares)) if finite.size else np.zeros(1)


def strengths(values: NDArray[Any]) -> NDArray[Any]:
    """Return each value's share of the largest magnitude, in [-1, 1]; what is not finite becomes NaN."""
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    largest = float(np.nanmax(np.abs(finite))) if np.isfinite(finite).any() else 0.0
    return finite / largest if largest > 0 else finite


def thinned(count: int, most: int) -> range:
    """Return which of ``count`` labels to write so that at most ``most`` are: every n-th."""
    return range(0, count, max(1, math.ceil(count / max(most, 1))))
