"""Every worked example in ``theory/`` is what the function really returns, and every function has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import zhixing.theory

WITHOUT_EXAMPLE = {"ngram.counts_of_counts", "ngram.maximum_likelihood"}
"""Still to be given one; nothing may join them."""
MODULES = sorted(module.name for module in pkgutil.iter_modules(zhixing.theory.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_worked_examples(name: str) -> None:
    module = importlib.import_module(f"zhixing.theory.{name}")
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_every_public_function_has_an_example() -> None:
    """In its own docstring or in its module's."""
    without = set()
    for name in MODULES:
        module = importlib.import_module(f"zhixing.theory.{name}")
        for function_name, function in inspect.getmembers(module, inspect.isfunction):
            own = ">>>" in (function.__doc__ or "")
            of_module = f"{function_name}(" in (module.__doc__ or "")
            if function.__module__ == module.__name__ and not function_name.startswith("_") and not own:
                without |= set() if of_module else {f"{name}.{function_name}"}
    assert without <= WITHOUT_EXAMPLE


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name: str) -> None:
    """A formula fits in fifteen lines of code; its docstring may be as long as it likes."""
    module = importlib.import_module(f"zhixing.theory.{name}")
    long = {}
    for _, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__:
            tree = inspect.getsource(function).split('"""')
            lines = [line for line in tree[-1].splitlines() if line.strip()]
            if len(lines) > 15:
                long[function.__name__] = len(lines)
    assert long == {}
