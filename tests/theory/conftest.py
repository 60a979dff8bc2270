"""Central differences: what a gradient by hand is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Array = np.ndarray[Any, np.dtype[np.float64]]


def _differences(function: Callable[[Array], Any], at: Array, upstream: Any = 1.0, width: float = 1e-3) -> Array:
    """d<upstream, f(x)>/dx by the five-point rule; its error is of order width**4."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        step = np.zeros_like(at)
        step[place] = width
        near = np.sum(upstream * (function(at + step) - function(at - step)))
        far = np.sum(upstream * (function(at + 2 * step) - function(at - 2 * step)))
        gradient[place] = (8 * near - far) / (12 * width)
    return gradient


@pytest.fixture
def differences() -> Callable[..., Array]:
    return _differences


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250711)
