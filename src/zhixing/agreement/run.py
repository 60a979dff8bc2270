"""Runs the agreement table: random inputs, both sides, the largest difference against its bound.

The inputs are rounded to the number type under test before either side sees them, so that what is measured is
the rounding of the computation and not that of its inputs. Errors are relative to the largest expected value,
at least 1.
"""

from __future__ import annotations

import difflib
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zhixing.agreement.row import Inputs, Row
from zhixing.agreement.table import ROWS
from zhixing.errors import ConfigError, nearest
from zhixing.language import tr

DIRECTIONS = 3
"""Random directions along which the gradient of a formula without one by hand is measured."""
DIFFERENCE_ERROR = 1e-9
"""What the five-point rule itself is off by, for functions of order 1."""
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """How one row came out. ``worst`` says what differed most, or what went wrong."""

    name: str
    error: float
    bound: float
    ok: bool
    worst: str = ""


def verify(
    device: str = "cpu",
    dtype: str = "float32",
    only: str | None = None,
    seed: int = 0,
    rows: Sequence[Row] = ROWS,
) -> list[Result]:
    """Compare theory and practice on random inputs.

    Args:
        device: a torch device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        dtype: ``"float64"``, ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        only: part of the names of the rows to run; None: all.
        seed: of the random inputs.
        rows: the table.

    Returns:
        One result per row, in the table's order.

    Raises:
        ConfigError: no such device, number type or row.
    """
    if dtype not in DTYPES:
        hint = nearest(dtype, DTYPES)
        raise ConfigError(tr(f"unknown number type '{dtype}'; {hint}", f"未知的数值类型 '{dtype}'；{hint}"))
    place = _device(device)
    chosen = select(rows, only)
    logging.disable(logging.WARNING)  # notices about made-up texts are nobody's concern
    try:
        return [check(row, place, DTYPES[dtype], seed) for row in chosen]
    finally:
        logging.disable(logging.NOTSET)


def select(rows: Sequence[Row], only: str | None) -> list[Row]:
    """Return the rows whose name contains ``only``.

    Raises:
        ConfigError: there is none.
    """
    if only is not None and not only.strip():
        raise ConfigError(
            tr(
                "--only is empty; give part of a row's name, such as attention, or leave it out",
                "--only 为空；请给出行名的一部分（如 attention），或去掉该选项",
            )
        )
    chosen = [row for row in rows if only is None or only.strip().lower() in row.name]
    if not chosen:
        families = {row.family for row in rows}
        words = families | {row.name for row in rows} | {row.name.partition(".")[2] for row in rows}
        close = difflib.get_close_matches(str(only), words, n=1)
        hint = nearest(str(only), close or families)
        raise ConfigError(tr(f"no row is called '{only}'; {hint}", f"没有名为 '{only}' 的行；{hint}"))
    return chosen


def check(row: Row, device: torch.device, dtype: torch.dtype, seed: int) -> Result:
    """Run one row. A practice that raises has failed; its words are the result's ``worst``."""
    rng = np.random.default_rng([seed, zlib.crc32(row.name.encode())])
    used = {"tensors": dtype, "float32": torch.float32, "arrays": torch.float64}[row.takes]
    rounding = max(torch.finfo(DTYPES[name]).eps for name in (str(used).removeprefix("torch."), row.coarsest) if name)
    bound = row.tolerance * rounding
    inputs = _map_arrays(row.inputs(rng), lambda array: _rounded(array, used))
    try:
        differences = dict(_differences(row, inputs, device, used, rng))
    except Exception as error:  # whatever production throws on this machine is the finding
        return Result(row.name, float("inf"), bound, False, f"{type(error).__name__}: {error}")
    worst = max(differences, key=lambda name: differences[name])
    by_differences = row.gradient and row.derivative is None
    bound += DIFFERENCE_ERROR if by_differences else 0.0
    return Result(row.name, differences[worst], bound, differences[worst] <= bound, worst)


def _differences(
    row: Row, inputs: Inputs, device: torch.device, dtype: torch.dtype, rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    """Yield (what, relative error) for the value and, where asked, for every gradient."""
    given = _to_practice(row, inputs, device, dtype)
    outcome = row.practice(**given)
    expected, got = _leaves(row.theory(**inputs)), _leaves(outcome)
    if len(expected) != len(got):
        yield f"{len(got)} results instead of {len(expected)}", float("inf")
        return
    for index, (theory, practice) in enumerate(zip(expected, got, strict=True)):
        yield f"value {index}" if len(got) > 1 else "value", distance(_numbers(theory), _numbers(practice))
    if row.gradient:
        yield from _gradient_differences(row, inputs, given, got, rng)


def _gradient_differences(
    row: Row, inputs: Inputs, given: Inputs, got: Sequence[Any], rng: np.random.Generator
) -> Iterator[tuple[str, float]]:
    upstream = [_rounded(rng.normal(size=tuple(output.shape)), output.dtype) for output in got]
    scalar = sum((output * torch.as_tensor(up).to(output)).sum() for output, up in zip(got, upstream, strict=True))
    tensors = {name: value for name, value in given.items() if _is_float_tensor(value)}
    gradients = torch.autograd.grad(scalar, list(tensors.values()), allow_unused=True, materialize_grads=True)
    practice = {name: _numbers(gradient) for name, gradient in zip(tensors, gradients, strict=True)}
    if row.derivative is not None:
        by_hand = row.derivative(**inputs, upstream=upstream[0] if len(upstream) == 1 else upstream)
        for name, gradient in by_hand.items():
            yield f"gradient of {name}", distance(_numbers(gradient), practice[name])
        return
    for name, gradient in practice.items():
        yield f"gradient of {name}", _slope_distance(row, inputs, name, gradient, upstream, rng)


def _slope_distance(
    row: Row, inputs: Inputs, name: str, gradient: Array, upstream: Sequence[Array], rng: np.random.Generator
) -> float:
    """Compare the gradient with the formula's slope along random directions of unit length."""

    def value(at: Array) -> float:
        outputs = _leaves(row.theory(**{**inputs, name: at}))
        return float(sum(np.sum(up * output) for up, output in zip(upstream, outputs, strict=True)))

    def along(direction: Array, step: float) -> float:
        return value(inputs[name] + step * direction)

    slopes, products = [], []
    for _ in range(DIRECTIONS):
        direction = rng.normal(size=gradient.shape)
        direction /= np.linalg.norm(direction)
        slopes.append(slope(partial(along, direction)))
        products.append((gradient * direction).sum())
    return distance(np.array(slopes), np.array(products))


def slope(function: Callable[[float], float], width: float = 1e-3) -> float:
    """Return f'(0) by the five-point rule (Abramowitz and Stegun, 25.3.6); its error is of order width**4."""
    near, far = function(width) - function(-width), function(2 * width) - function(-2 * width)
    return (8.0 * near - far) / (12.0 * width)


def distance(expected: Array, got: Array) -> float:
    """Return the largest difference, relative to the largest finite expected value (at least 1).

    Different shapes, a NaN, or an infinity on one side only are infinitely far apart.
    """
    if expected.shape != got.shape:
        return float("inf")
    same = expected == got  # equal infinities are no difference
    if not np.isfinite(expected[~same]).all() or not np.isfinite(got[~same]).all():
        return float("inf")
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
    return float(np.abs(expected[~same] - got[~same]).max(initial=0.0) / scale)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ", ".join(_devices())
        raise ConfigError(
            tr(f"this machine has no device '{name}'; it has: {there}", f"本机没有设备 '{name}'；可用：{there}")
        ) from error
    return device


def _devices() -> list[str]:
    """Return the names of the devices that this machine can compute on."""
    found = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _map_arrays(tree: Any, change: Callable[[Array], Any]) -> Any:
    """Apply ``change`` to every array in nested dictionaries, lists and (named) tuples."""
    if isinstance(tree, Mapping):
        return {name: _map_arrays(value, change) for name, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_map_arrays(value, change) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(_map_arrays(value, change) for value in tree)
    return change(tree) if isinstance(tree, np.ndarray) else tree


def _rounded(array: Any, dtype: torch.dtype) -> Any:
    if array.dtype.kind != "f":
        return array
    return torch.from_numpy(np.asarray(array)).to(dtype).to(torch.float64).numpy()


def _to_practice(row: Row, inputs: Inputs, device: torch.device, dtype: torch.dtype) -> Inputs:
    if row.takes == "arrays":
        return dict(_map_arrays(inputs, np.copy))

    def tensor(array: Array) -> torch.Tensor:
        made = torch.from_numpy(array.copy()).to(device)
        return made.to(dtype).requires_grad_(row.gradient) if made.is_floating_point() else made

    return dict(_map_arrays(inputs, tensor))


def _is_float_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _leaves(outcome: Any) -> list[Any]:
    """Return the results of one side as a flat list."""
    if isinstance(outcome, list | tuple):
        return [leaf for part in outcome for leaf in _leaves(part)]
    return [outcome]


def _numbers(value: Any) -> Array:
    if isinstance(value, torch.Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    return np.asarray(value, dtype=np.float64)
