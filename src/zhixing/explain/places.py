"""Where an idea lives in the code: file and line of a theory function and of the production code.

Production code is found by reading its source, never by importing it: importing would bring torch.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Place:
    """``name`` (``module:name``) is defined in ``file``, first line ``line`` (from 1)."""

    name: str
    file: Path
    line: int

    @property
    def shown(self) -> str:
        """File and line as a reader sees them: from the package's own folder on."""
        inside = self.file.is_relative_to(_PACKAGE)
        path = self.file.relative_to(_PACKAGE.parent) if inside else self.file
        return f"{path.as_posix()}:{self.line}"


def theory_place(function: Callable[..., Any]) -> Place:
    """Return where a function of ``theory`` is defined."""
    function = inspect.unwrap(function)
    line = inspect.getsourcelines(function)[1]
    return Place(f"{function.__module__}:{function.__qualname__}", Path(inspect.getfile(function)).resolve(), line)


def theory_code(function: Callable[..., Any]) -> str:
    """Return a function's source without its docstring: what the formula becomes."""
    lines = textwrap.dedent(inspect.getsource(inspect.unwrap(function))).splitlines()
    definition = ast.parse("\n".join(lines)).body[0]
    if isinstance(definition, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(definition) is not None:
        docstring = definition.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    return "\n".join(lines).strip("\n")


def practice_place(name: str) -> Place:
    """Return where ``module:name`` or ``module:Class.method`` is defined.

    Raises:
        LookupError: there is no such module, or it defines no such name.
    """
    module, _, path = name.partition(":")
    file = _module_file(module)
    body: list[ast.stmt] = ast.parse(file.read_text(encoding="utf-8")).body
    line = 0
    for part in path.split("."):
        found = _defined(body, part)
        if found is None:
            raise LookupError(f"{name}: {file} defines no {path}")
        line, body = found.lineno, getattr(found, "body", [])
    return Place(name, file, line)


def _module_file(module: str) -> Path:
    """Return the file of a module, without running any package's ``__init__``."""
    search = [str(_PACKAGE.parent)]
    file = None
    for depth in range(1, module.count(".") + 2):
        spec = PathFinder.find_spec(".".join(module.split(".")[:depth]), search)
        if spec is None or spec.origin is None:
            raise LookupError(f"there is no module {module}")
        file, search = spec.origin, list(spec.submodule_search_locations or [])
    return Path(str(file)).resolve()


def _defined(body: list[ast.stmt], name: str) -> ast.stmt | None:
    for statement in body:
        if name == getattr(statement, "name", None) or name in _targets(statement):
            return statement
    return None


def _targets(statement: ast.stmt) -> list[str]:
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
