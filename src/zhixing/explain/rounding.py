"""Numbers as a reader wants them: about four digits, one number of decimals for a whole table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 4


def number(value: float | str) -> str:
    """Return one number with about four digits; a text stays as it is.

    >>> number(0.123456), number(3.0), number(-1234.56), number(3.2e-7)
    ('0.1235', '3', '−1235', '3.2e−7')
    """
    if isinstance(value, str):
        return value
    text = table(np.array([value]))[0][0]
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def table(values: NDArray[Any]) -> list[list[str]]:
    """Return the cells of an array of one or two axes (a vector is one row), aligned in their decimals.

    Truth values become ✓ and ·; a number too small for the decimals is written as a power of ten, never as 0.

    >>> table(np.array([0.8438, 0.11419, 1e-7]))
    [['0.8438', '0.1142', '1e−7']]
    """
    rows = values.reshape(1, -1) if values.ndim < 2 else values.reshape(-1, values.shape[-1])
    if rows.dtype == bool:
        return [["✓" if cell else "·" for cell in row] for row in rows]
    if rows.dtype.kind not in "iuf":
        return [[str(cell) for cell in row] for row in rows]
    decimals = _decimals(rows)
    return [[_cell(float(cell), decimals) for cell in row] for row in rows]


def _decimals(rows: NDArray[Any]) -> int:
    """Return the decimals that give the largest number four digits, less those that are 0 everywhere."""
    finite = np.abs(rows[np.isfinite(rows)].astype(np.float64))
    largest = float(finite.max(initial=0.0))
    if largest == 0:
        return 0
    most = min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), _DIGITS + 1)
    if largest < 1:
        most = min(most, _DIGITS)
    enough = (d for d in range(most) if np.allclose(np.round(finite, d), finite, rtol=0, atol=0.05 * 10.0**-most))
    return next(enough, most)


def _cell(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    vanishes = value != 0 and round(value, decimals) == 0
    if (vanishes and abs(value) > 1e-15) or abs(value) >= 1e7:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    return f"{0.0 if vanishes else value:.{decimals}f}".replace("-", "−")
