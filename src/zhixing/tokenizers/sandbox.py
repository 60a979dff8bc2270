"""The Jinja environment in which a chat template runs: it reaches nothing, and its work is bounded.

A template comes out of a model folder, so out of a stranger's hands. Jinja's sandbox keeps it from objects
that are not its own; what it does not bound is work, so the ways to make much out of little are closed
here: multiplied strings, padded strings, long ranges.
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

_RANGE_LIMIT = 10_000
_GROWING_METHODS = frozenset(
    {"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate"}
)
_GROWING_FILTERS = ("center", "format", "indent", "batch", "slice", "xmlattr", "pprint", "random")


class ChatSandbox(ImmutableSandboxedEnvironment):
    """Set up as transformers sets up its own, so that the same template gives the same text."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
        )
        for name in _GROWING_FILTERS:
            if name != "indent":
                self.filters.pop(name, None)
        self.filters["indent"] = _indent
        self.filters["tojson"] = _to_json
        self.globals = {
            "range": _short_range,
            "dict": dict,
            "namespace": self.globals["namespace"],
            "raise_exception": _fail,
        }

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse, besides what the sandbox refuses, the string methods that can make any amount of text."""
        return attr not in _GROWING_METHODS and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``*``, ``**`` and ``%`` for small numbers only."""
        if not all(isinstance(value, (int, float)) and abs(value) < 1e6 for value in (left, right)):
            raise SecurityError(f"'{operator}' works on small numbers only in a chat template")
        return super().call_binop(context, operator, left, right) if operator != "**" or right <= 4 else None


class _Generation(Extension):
    """``{% generation %} … {% endgeneration %}``: transformers marks the assistant's text so; here it is
    only text."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own name and type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _RANGE_LIMIT:
        raise SecurityError(f"a range of more than {_RANGE_LIMIT} numbers in a chat template")
    return numbers


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= 64:
        raise SecurityError("an indent of more than 64 in a chat template")
    from jinja2.filters import do_indent

    return str(do_indent(text, width, first, blank))


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    import json

    if indent is not None and not 0 <= indent <= 16:
        raise SecurityError("an indent of more than 16 in a chat template")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _fail(message: str) -> None:
    raise TemplateError(message)
