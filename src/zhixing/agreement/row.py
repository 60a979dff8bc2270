"""One row of the agreement table: a formula, the code that runs it, inputs for both, and how far apart they
may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Inputs = dict[str, Any]
"""Arguments by name: NumPy arrays, lists or tuples of them, and plain numbers."""


@dataclass(frozen=True)
class Row:
    """A formula and its practice.

    Both are called with the same arguments: ``theory`` with float64 arrays, ``practice`` with what it
    ``takes``. Gradients are those with respect to the arguments that are floating-point arrays (not those
    inside lists or tuples). ``practice`` must look its function up when it is called, so that what is
    measured is what the program would run.
    """

    name: str
    """``family.what``: unique."""
    family: str
    states: tuple[Callable[..., Any], ...]
    """The functions of ``theory`` that this row puts to the test."""
    theory: Callable[..., Any]
    practice: Callable[..., Any]
    inputs: Callable[[np.random.Generator], Inputs]
    tolerance: float
    """Largest error allowed, in rounding units of the number type, relative to the largest value (at least
    1)."""
    reason: str
    """Why that many."""
    gradient: bool = False
    """Whether gradients with respect to all floating-point arguments are compared too."""
    derivative: Callable[..., Mapping[str, Any]] | None = None
    """The gradient by hand: takes the arguments and ``upstream``, returns gradients by argument. None:
    differences."""
    takes: Literal["tensors", "float32", "arrays"] = "tensors"
    """What production takes: tensors on the device and of the type under test, or always of float32, or NumPy
    arrays (always float64)."""
    coarsest: Literal["float32"] | None = None
    """A number type that production computes in whatever it is given; its rounding counts if it is the
    coarser."""


def normal(*shape: int, scale: float = 1.0) -> Callable[[np.random.Generator], Any]:
    """Return a generator of standard normal arrays of that shape, times ``scale``."""
    return lambda rng: scale * rng.normal(size=shape)


def draw(**generators: Any) -> Callable[[np.random.Generator], Inputs]:
    """Return an input generator: each argument drawn by its generator, or passed on if it is none.

    >>> draw(x=normal(2), rate=0.5)(np.random.default_rng(0))["rate"]
    0.5
    """
    return lambda rng: {name: each(rng) if callable(each) else each for name, each in generators.items()}
