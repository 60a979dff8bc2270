"""The Jinja environment in which a chat template runs: it reaches nothing, and the plain ways to make much of
little are closed.

A template comes out of a model folder, so out of a stranger's hands. Jinja's sandbox keeps it from objects
that are not its own; it does not bound work. Here texts that double, padded texts and long ranges are
refused. A template that is determined to burn time can still do so: templates are taken from folders, never
from requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from jinja2 import nodes, pass_eval_context
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.filters import do_indent, do_join, do_replace
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

_TEXT_LIMIT = 1 << 24
"""Characters (or list items) that one operation may give."""
_RANGE_LIMIT = 10_000
_GROWING_METHODS = frozenset(
    {
        "center",
        "ljust",
        "rjust",
        "zfill",
        "expandtabs",
        "format",
        "format_map",
        "translate",
        "join",
        "replace",
    }
)
_GROWING_FILTERS = (
    "batch",
    "center",
    "format",
    "pprint",
    "random",
    "slice",
    "sum",
    "urlize",
    "wordwrap",
    "xmlattr",
)


class ChatSandbox(ImmutableSandboxedEnvironment):
    """Set up as transformers sets up its own, so that the same template gives the same text."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
        for name in _GROWING_FILTERS:
            self.filters.pop(name, None)
        self.filters |= {"indent": _indent, "join": _join, "replace": _replace, "tojson": _to_json}
        namespace = self.globals["namespace"]
        self.globals = {
            "range": _short_range,
            "dict": dict,
            "namespace": namespace,
            "raise_exception": _fail,
        }

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse, besides what the sandbox refuses, the string methods that can make any amount of text."""
        return attr not in _GROWING_METHODS and super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Offer ``join`` and ``replace`` of a text in their bounded form."""
        if isinstance(obj, str) and attribute in ("join", "replace"):
            return _bounded_method(obj, attribute)
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Offer no ``str.format``: its widths make any amount of text."""
        return None

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``*``, ``**`` and ``%`` for small numbers only, and ``+`` up to a length."""
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _check_length(len(left) + len(right))
        elif not all(isinstance(value, (int, float)) and abs(value) < 1e6 for value in (left, right)):
            raise SecurityError(f"'{operator}' works on small numbers only in a chat template")
        elif operator == "**" and right > 4:
            raise SecurityError("a power above 4 in a chat template")
        return super().call_binop(context, operator, left, right)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed: nodes.Template = _BoundedConcatenation().visit(super()._parse(source, name, filename))
        return parsed


class _BoundedConcatenation(NodeTransformer):
    """``a ~ b`` becomes ``[a, b] | join``, which is bounded."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        listed = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(listed, "join", [], [], None, None, lineno=node.lineno, environment=node.environment)


class _Generation(Extension):
    """``{% generation %} … {% endgeneration %}``: transformers marks the assistant's text so; here it is
    only text."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own name and type

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _check_length(length: int) -> None:
    if length > _TEXT_LIMIT:
        raise SecurityError(f"a text of more than {_TEXT_LIMIT} characters in a chat template")


def _bounded_method(text: str, name: str) -> Callable[..., str]:
    def join(parts: Iterable[str]) -> str:
        listed = list(parts)
        _check_length(sum(map(len, listed)) + len(text) * len(listed))
        return text.join(listed)

    def replace(old: str, new: str, count: int = -1) -> str:
        _check_length(len(text) + text.count(old) * len(new))
        return text.replace(old, new, count)

    return join if name == "join" else replace


@pass_eval_context
def _join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    listed = list(value)
    _check_length(sum(len(item) for item in listed if isinstance(item, str)) + len(d) * len(listed))
    return str(do_join(context, listed, d, attribute))


@pass_eval_context
def _replace(context: EvalContext, s: str, old: str, new: str, count: int | None = None) -> str:
    _check_length(len(str(s)) + str(s).count(str(old)) * len(str(new)))
    return str(do_replace(context, str(s), old, new, count))


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _RANGE_LIMIT:
        raise SecurityError(f"a range of more than {_RANGE_LIMIT} numbers in a chat template")
    return numbers


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= 64:
        raise SecurityError("an indent of more than 64 in a chat template")
    return str(do_indent(text, width, first, blank))


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 16:
        raise SecurityError("an indent of more than 16 in a chat template")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _fail(message: str) -> None:
    raise TemplateError(message)
