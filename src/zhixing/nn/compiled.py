"""Compiling a module, but for the functions that a compiler would only make worse.

``torch.compiler.disable`` imports the compiler, two seconds that every program would pay which never compiles. So a
function is only marked where it is written, and the mark becomes torch's own when something is compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

Function = TypeVar("Function", bound=Callable[..., Any])
_marked: list[Callable[..., Any]] = []


def not_compiled(function: Function) -> Function:
    """Mark a function of a module, or a method of its class, that the compiler leaves to Python."""
    _marked.append(function)
    return function


def compiled(module: nn.Module, **options: Any) -> Any:
    """Return ``torch.compile(module, **options)``, what is marked left out."""
    while _marked:
        function = _marked.pop()
        *path, name = function.__qualname__.split(".")
        owner: Any = sys.modules[function.__module__]
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, name, torch.compiler.disable(function))  # type: ignore[no-untyped-call]
    return torch.compile(module, **options)
