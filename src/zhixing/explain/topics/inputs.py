"""Inputs of worked examples: their types, and the checks across fields that the families share."""

from __future__ import annotations

from collections.abc import Sequence

from zhixing.language import tr

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


def require(holds: bool, en: str, zh: str) -> None:
    """Refuse inputs that do not fit together.

    Raises:
        ValueError: ``holds`` is False; the message is the one of the two texts that the user reads.
    """
    if not holds:
        raise ValueError(tr(en, zh))


def require_length(name: str, values: Sequence[object], length: int) -> None:
    """Refuse a list that is not ``length`` long (a ValueError, as ``require``)."""
    n = len(values)
    require(n == length, f"{name} must have {length} entries, not {n}", f"{name} 须有 {length} 项，而非 {n} 项")


def require_shape(name: str, matrix: Matrix, rows: int, columns: int) -> None:
    """Refuse a matrix that is not (rows, columns) (a ValueError, as ``require``)."""
    require(
        [len(row) for row in matrix] == [columns] * rows,
        f"{name} must have {rows} rows of {columns} numbers each",
        f"{name} 须有 {rows} 行，每行 {columns} 个数",
    )


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Labels ``name1``, ``name2``, ... for the axis of a table."""
    return tuple(f"{name}{i + 1}" for i in range(count))


def require_distribution(name: str, values: Vector) -> None:
    """Refuse numbers that are negative or do not sum to one (a ValueError)."""
    total = sum(values)
    require(
        min(values) >= 0 and abs(total - 1) < 1e-6,
        f"{name} must be at least 0 and sum to one, not to {total:g}",
        f"{name} 不得为负，且须和为一，而非 {total:g}",
    )
