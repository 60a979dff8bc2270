"""The table is whole: every formula has a row or a reason for having none, and every row is well formed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import zhixing.theory
from zhixing.agreement.table import ROWS, TO_COME


def public_functions() -> set[str]:
    found = set()
    for info in pkgutil.iter_modules(zhixing.theory.__path__):
        module = importlib.import_module(f"zhixing.theory.{info.name}")
        found |= {
            f"{info.name}.{name}"
            for name, function in inspect.getmembers(module, inspect.isfunction)
            if function.__module__ == module.__name__ and not name.startswith("_")
        }
    return found


def stated() -> set[str]:
    return {f"{f.__module__.rsplit('.', 1)[1]}.{f.__name__}" for row in ROWS for f in row.states}


def test_every_formula_has_a_row_or_is_to_come() -> None:
    assert public_functions() - stated() - set(TO_COME) == set()


def test_nothing_to_come_has_come_or_gone() -> None:
    assert set(TO_COME) & stated() == set()
    assert set(TO_COME) - public_functions() == set()


def test_at_least_sixty_rows_with_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_names_its_family_its_formulas_and_its_reason(row) -> None:
    assert row.name.startswith(f"{row.family}.")
    assert row.states
    assert row.reason
    assert row.derivative is None or row.gradient
