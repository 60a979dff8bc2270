"""A lesson: a topic with the reader's inputs, its worked example computed, its picture made."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zhixing.config import Settings, load_settings
from zhixing.errors import ConfigError, InputError, nearest
from zhixing.explain.pictures import Picture
from zhixing.explain.places import Place, practice_place, theory_place
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import topics
from zhixing.language import current_language, tr

LONGEST = 500
"""Most values that one input may have."""


class UnknownTopicError(InputError):
    """No topic has this name; the message names the nearest ones."""


@dataclass(frozen=True)
class Lesson:
    """What is rendered: the topic, the inputs it was computed with, the steps, and the picture if it has one.

    ``overrides``: the ``--set`` values that made ``inputs`` differ from the defaults.
    """

    topic: Topic[Any]
    inputs: Settings
    steps: tuple[Step, ...]
    picture: Picture | None
    overrides: tuple[str, ...] = ()

    def command(self, *more: str) -> str:
        """Return the command line that shows this lesson, quoted for a shell."""
        changes = [word for override in self.overrides for word in ("--set", override)]
        return shlex.join(["zhixing", "explain", self.topic.name, *changes, *more])


@dataclass(frozen=True)
class Input:
    """One field of ``--set``: its name, what it takes in words, its default and present value, its meaning."""

    name: str
    takes: str
    default: str
    value: str
    meaning: str


def lesson(name: str, overrides: Sequence[str] = ()) -> Lesson:
    """Compute the lesson of a topic with inputs changed by ``a=b`` overrides.

    Raises:
        UnknownTopicError: there is no such topic.
        ConfigError: an override names no input or does not fit; the message lists what each input takes.
    """
    return compute(find(name), overrides)


def find(name: str) -> Topic[Any]:
    """Return the topic called ``name``."""
    known = topics()
    if name.lower() in known:
        return known[name.lower()]
    if name not in known:
        within = [t.name for t in known.values() if name.lower() in t.name or name.lower() in t.title.lower()]
        names = ", ".join(within)
        hint = tr(f"did you mean: {names}?", f"是否想写：{names}？") if within else nearest(name, known)
        raise UnknownTopicError(tr(f"unknown topic '{name}'; {hint}", f"未知主题 '{name}'；{hint}"))
    return known[name]


def compute(topic: Topic[Any], overrides: Sequence[str] = ()) -> Lesson:
    """Compute a topic's example and picture; errors as for ``lesson``."""
    inputs = _inputs(topic, overrides)
    try:
        with np.errstate(all="ignore"):  # an overflow is part of the lesson: it is shown as ∞
            steps = tuple(topic.example(inputs))
            picture = topic.picture(inputs) if topic.picture else None
        if overrides and any(_undefined(step.value) for step in steps):
            raise ZeroDivisionError
    except (ValueError, ArithmeticError, IndexError) as error:
        if not overrides:
            raise
        raise ConfigError(f"--set: {_why(error)}\n{_all_inputs(topic)}") from error
    return Lesson(topic, inputs, steps, picture, tuple(overrides))


def _undefined(value: Any) -> bool:
    """Say whether a step's result is no number, or has one in it that is none."""
    array = np.asarray(value) if isinstance(value, float | np.ndarray) else None
    return array is not None and array.dtype.kind == "f" and bool(np.isnan(array).any())


def _why(error: Exception) -> str:
    """Say in a sentence why an example cannot be computed."""
    if isinstance(error, OverflowError):
        return tr(
            "with these inputs a number grows too large to be computed; choose smaller ones",
            "按这些输入，会有数大到无法计算；请取小一些的值",
        )
    if isinstance(error, ArithmeticError):
        return tr(
            "with these inputs a value is not defined, such as 0/0 or ∞ − ∞; choose others",
            "按这些输入，会有值没有定义（如 0/0 或 ∞ − ∞）；请另取输入",
        )
    words = tr("these inputs do not go together: ", "这些输入不能同时使用：")
    return f"{words}{error}"


def _inputs(topic: Topic[Any], overrides: Sequence[str]) -> Settings:
    try:
        _refuse_what_is_too_long(overrides)
        return load_settings(topic.inputs, None, overrides)
    except ConfigError as error:
        own = topic.inputs.__name__  # a validator of the whole: its message begins with the name of the class
        lines = [f"--set{line.removeprefix(own)}" if line.startswith(own) else line for line in str(error).split("\n")]
        raise ConfigError("\n".join([*lines, _all_inputs(topic)])) from None


def _refuse_what_is_too_long(overrides: Sequence[str]) -> None:
    """An example is read by eye: nobody follows a thousand numbers, and some examples take their square."""
    for override in overrides:
        name, _, value = override.partition("=")
        size = max(value.count(",") + 1, len(value) // 10)
        if size > LONGEST:
            raise ConfigError(
                tr(
                    f"--set {name}: {len(value):,} characters are too much for an example; "
                    f"give at most {LONGEST} values",
                    f"--set {name}：{len(value):,} 个字符，对一个算例太多了；请至多给出 {LONGEST} 个值",
                )
            )


def _all_inputs(topic: Topic[Any]) -> str:
    name = topic.name
    lines = [tr(f"'{name}' takes with --set:", f"'{name}' 可用 --set 设置：")]
    default = tr("default", "默认")
    lines += [
        f"  {one.name}: {one.takes} ({default} {one.default}): {one.meaning}"
        if current_language() == "en"
        else f"  {one.name}：{one.takes}（{default} {one.default}）：{one.meaning}"
        for one in describe(topic.inputs)
    ]
    return "\n".join(lines)


def describe(kind: type[Settings], inputs: Settings | None = None) -> list[Input]:
    """Return every input of a topic with what it takes; values are ``inputs``' or the defaults."""
    schema = kind.model_json_schema()
    values = inputs.model_dump(mode="json") if inputs is not None else {}
    found = []
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        meaning = field.get("zh") if current_language() == "zh" else field.get("description")
        unit = f" [{field['unit']}]" if field.get("unit") else ""
        found.append(
            Input(name, _takes(field), _shown(default), _shown(values.get(name, default)), f"{meaning or ''}{unit}")
        )
    return found


def example_change(one: Lesson) -> list[str]:
    """Return ``--set`` words with another value than the present: of the first single value that can be changed."""
    if one.overrides:
        return []
    schema = one.topic.inputs.model_json_schema().get("properties", {})
    values = one.inputs.model_dump(mode="json")
    names = sorted(values, key=lambda name: isinstance(values[name], list | str))
    for name in names:
        for other in _others(values[name], schema.get(name, {}).get("enum", ())):
            override = f"{name}={_shown(other)}"
            try:
                compute(one.topic, [override])
            except InputError:
                continue
            return ["--set", override]
    return []


def _others(value: Any, choices: Sequence[Any]) -> list[Any]:
    """Return values beside the present one that are worth trying, the plainest first."""
    if choices:
        return [choice for choice in choices if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, value * 2]
    if isinstance(value, float):
        return [float(f"{other:.3g}") for other in (value * 2, value / 2, value + 1.0) if other != value]
    if isinstance(value, list) and len(value) > 1 and value[::-1] != value:
        return [value[::-1]]
    return []


def _shown(value: Any) -> str:
    """Write a value as ``--set`` takes it, without quotes where YAML needs none."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, str):
        bare = value.strip() == value and value.isidentifier() and value.lower() not in ("true", "false", "null")
        return value if bare else json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) and math.isclose(float(f"{value:g}"), value) else json.dumps(value)


_KINDS = {
    "number": ("a number", "数字"),
    "integer": ("a whole number", "整数"),
    "boolean": ("true or false", "true 或 false"),
    "string": ("text", "文本"),
}
_LISTS = {
    "number": ("a list of numbers", "数字列表"),
    "integer": ("a list of whole numbers", "整数列表"),
    "string": ("a list of texts", "文本列表"),
}
_LIMITS = {
    "exclusiveMinimum": ("above {}", "大于 {}"),
    "minimum": ("at least {}", "不小于 {}"),
    "exclusiveMaximum": ("below {}", "小于 {}"),
    "maximum": ("at most {}", "不大于 {}"),
    "minItems": ("at least {} of them", "至少 {} 项"),
    "maxItems": ("at most {} of them", "至多 {} 项"),
}


def _takes(field: Mapping[str, Any]) -> str:
    """Say in words what a field of a JSON schema takes."""
    if "enum" in field:
        return tr("one of ", "下列之一：") + ", ".join(map(str, field["enum"]))
    if field.get("type") == "array":
        items = field.get("items") or {}
        if items.get("type") == "array":
            words = tr("a list of lists, such as [[1, 2], [3, 4]]", "列表的列表，如 [[1, 2], [3, 4]]")
        else:
            words = tr(*_LISTS.get(items.get("type", ""), ("a list", "列表")))
    else:
        words = tr(*_KINDS.get(field.get("type", ""), ("a value", "值")))
    limits = [tr(*text).format(_shown(field[key])) for key, text in _LIMITS.items() if key in field]
    return tr(", ", "，").join([words, *limits])


def as_json(one: Lesson) -> dict[str, Any]:
    """Return a lesson as plain values; numbers that are not finite become the texts "inf", "-inf", "nan"."""
    topic = one.topic
    return {
        "name": topic.name,
        "family": topic.family,
        "title": topic.title,
        "idea": list(topic.idea),
        "formula": list(topic.formula),
        "symbols": dict(topic.symbols),
        "inputs": plain(one.inputs.model_dump(mode="json")),
        "takes": {field.name: field.takes for field in describe(topic.inputs)},
        "steps": [plain(dataclasses.asdict(step)) for step in one.steps],
        "picture": None if one.picture is None else plain(_picture(one.picture)),
        "pitfalls": list(topic.pitfalls),
        "papers": list(topic.papers),
        "theory": [_place(theory_place(function)) for function in topic.theory],
        "practice": [_place(practice_place(name)) for name in topic.practice],
        "related": list(topic.related),
        "command": one.command(),
    }


def _place(place: Place) -> dict[str, Any]:
    return {"name": place.name, "file": str(place.file), "line": place.line}


def _picture(picture: Picture) -> dict[str, Any]:
    return {"kind": type(picture).__name__, **dataclasses.asdict(picture)}


def plain(value: Any) -> Any:
    """Return nested values with arrays as lists and no number that JSON lacks."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
