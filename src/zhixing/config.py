"""Strict typed settings: a YAML file, ``--set a.b=c`` overrides, errors with file and line.

Every component keeps its own small ``Settings`` class beside the code it configures; a recipe is
a ``Settings`` made of those. Nothing is ever ignored: an unknown key is an error that names the nearest one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zhixing.errors import ConfigError, nearest
from zhixing.language import current_language, tr

SettingsT = TypeVar("SettingsT", bound="Settings")
Place = tuple[str | int, ...]


class Settings(BaseModel):
    """Base of every settings class: unknown fields refused, values not coerced, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        return type(self).model_validate({**dict(self), **changes})


def setting(default: Any, en: str, zh: str, *, unit: str = "", **limits: Any) -> Any:
    """Declare one field: its default, what it means in both languages, its unit, its limits.

    ``limits`` are pydantic's (``ge``, ``gt``, ``le``, ``lt``, ``min_length``, ...).
    """
    extra: dict[str, Any] = {"zh": zh} | ({"unit": unit} if unit else {})
    return Field(default, description=en, json_schema_extra=extra, **limits)


def load_settings(kind: type[SettingsT], path: str | Path | None, overrides: Sequence[str] = ()) -> SettingsT:
    """Read ``path`` (YAML) into ``kind``, apply ``a.b=c`` overrides, validate.

    Raises:
        ConfigError: the file is missing or not YAML, a key is unknown, a value does not fit.
    """
    tree, lines = _read_yaml(Path(path)) if path is not None else ({}, {})
    origins = {place: f"{path}:{line}" for place, line in lines.items()}
    for override in overrides:
        _apply_override(tree, origins, override)
    return _validate(kind, tree, origins, str(path) if path is not None else kind.__name__)


def to_yaml(settings: Settings) -> str:
    """Return every field, defaults included, as YAML that ``load_settings`` reads back equal."""
    tree = settings.model_dump(mode="json")
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def digest(settings: Settings) -> str:
    """Return the SHA-256 of the settings in canonical JSON: equal settings, equal digest."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def brought_up(kind: type[Settings], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return saved settings as this version would save them: a field that came later has its default.

    What this version no longer accepts is returned as it is, so that a comparison names it.
    """
    try:
        return kind.model_validate(tuples(saved)).model_dump(mode="json")
    except ValidationError:
        return dict(saved)


def tuples(tree: Any) -> Any:
    """Return ``tree`` with its lists as tuples: what was read from JSON or YAML, as settings hold it."""
    if isinstance(tree, Mapping):
        return {name: tuples(value) for name, value in tree.items()}
    return tuple(map(tuples, tree)) if isinstance(tree, list | tuple) else tree


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the dotted names whose values differ, each with (before, after)."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found[prefix + name] = (old, new)
    return found


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values: ``1e-3`` is a number; ``yes``, ``010``, ``1:30``, ``2026-01-31`` are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - pyyaml looks for it in the class


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or ``_Loader`` would take for something else than text."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Double quotes where a line separator of Unicode would be folded as if it were the file's own."""
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
_NUMBER_STARTS = list("-+.0123456789")
for _kind, _form, _starts in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", ["<"]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", _NUMBER_STARTS),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        _NUMBER_STARTS,
    ),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_form})$"), _starts)


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(tr(f"cannot read the recipe {path}: {error}", f"无法读取配方 {path}：{error}")) from error
    lines: dict[Place, int] = {}
    try:
        _collect_lines(yaml.compose(text, Loader=_Loader), (), lines, path)
        tree = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _not_yaml(path, text, error) from error
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise ConfigError(tr(f"{path}: a recipe is a list of 'name: value' lines", f"{path}：配方应由“名称: 值”行组成"))
    return tree, lines


def _not_yaml(path: Path, text: str, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
    where = f"{path}:{line + 1}"
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
    if isinstance(error, RecursionError):
        problem = tr("it is nested too deeply, or an anchor holds itself", "嵌套过深，或锚点包含自身")
    return ConfigError(tr(f"{where}: not valid YAML: {problem}", f"{where}：YAML 无效：{problem}"))


def _collect_lines(node: yaml.Node | None, place: Place, lines: dict[Place, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be one word", problem_mark=key.start_mark)
            inner = (*place, key.value)
            if inner in lines:
                raise ConfigError(
                    tr(
                        f"{path}:{key.start_mark.line + 1}: '{key.value}' is given twice "
                        f"(first on line {lines[inner]}); keep one",
                        f"{path}:{key.start_mark.line + 1}：'{key.value}' 重复"
                        f"（首次在第 {lines[inner]} 行）；请只留一个",
                    )
                )
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*place, index)] = value.start_mark.line + 1
            _collect_lines(value, (*place, index), lines, path)


def _apply_override(tree: dict[str, Any], origins: dict[Place, str], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(
            tr(
                f"--set {override}: write it as name=value, for example --set training.minutes=5",
                f"--set {override}：请写成 名称=值，例如 --set training.minutes=5",
            )
        )
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        override = override if len(override) < 200 else override[:200] + " …"
        raise ConfigError(tr(f"--set {override}: not a YAML value", f"--set {override}：不是有效的 YAML 值")) from error
    branch = tree
    for key in keys[:-1]:
        if not isinstance(branch.get(key), dict):
            branch[key] = {}
        branch = branch[key]
    branch[keys[-1]] = value
    for depth in range(1, len(keys) + 1):
        origins.setdefault(tuple(keys[:depth]), f"--set {name}")
    origins[tuple(keys)] = f"--set {name}"


def _validate(kind: type[SettingsT], tree: dict[str, Any], origins: Mapping[Place, str], source: str) -> SettingsT:
    try:
        text = json.dumps(tree)
    except (TypeError, ValueError) as error:  # a !!binary or !!set value, or an anchor inside itself
        raise ConfigError(
            tr(
                f"{source}: only plain values can stand in a recipe: {error}",
                f"{source}：配方中只能写普通的值：{error}",
            )
        ) from None
    try:
        # JSON mode: lists become tuples, strings become enumerations, and nothing else is coerced.
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = [_explain(kind, problem, origins, source) for problem in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


# pydantic's kind of error → what the value must be; kinds that are not here are explained by pydantic itself.
_MUST_BE = {
    "int_type": ("must be a whole number", "须为整数"),
    "int_from_float": ("must be a whole number", "须为整数"),
    "float_type": ("must be a number", "须为数字"),
    "finite_number": ("must be a finite number", "须为有限的数"),
    "bool_type": ("must be true or false", "须为 true 或 false"),
    "string_type": ("must be text (a number in quotes is text)", "须为文本（加引号的数字即为文本）"),
    "string_too_short": ("must not be empty", "不可为空"),
    "literal_error": ("must be one of: {expected}", "须为下列之一：{expected}"),
    "greater_than": ("must be more than {gt}", "须大于 {gt}"),
    "greater_than_equal": ("must be at least {ge}", "须不小于 {ge}"),
    "less_than": ("must be less than {lt}", "须小于 {lt}"),
    "less_than_equal": ("must be at most {le}", "须不大于 {le}"),
    "tuple_type": ("must be a list, such as [a, b]", "须为列表，如 [a, b]"),
    "dict_type": ("must be 'name: value' lines", "须为“名称: 值”行"),
    "model_type": ("must be 'name: value' lines", "须为“名称: 值”行"),
    "model_attributes_type": ("must be 'name: value' lines", "须为“名称: 值”行"),
}


def _explain(kind: type[Settings], problem: Any, origins: Mapping[Place, str], source: str) -> str:
    context = problem.get("ctx", {})
    loc = tuple(problem["loc"])
    place = _without_union_tags(kind, loc)
    if problem["type"].startswith("union_tag"):  # the field that chooses between the kinds is wrong or missing
        place = (*place, context["discriminator"].strip("'"))
    if not place:
        place, problem = _named_by_the_message(problem, origins)
    where = next((origins[place[:n]] for n in range(len(place), 0, -1) if place[:n] in origins), source)
    name = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        hint = nearest(str(place[-1]), _fields_at(kind, loc[:-1]))
        return tr(f"{where}: unknown key '{name}'; {hint}", f"{where}：未知的键 '{name}'；{hint}")
    if problem["type"] in ("missing", "union_tag_not_found"):
        return tr(f"{where}: '{name}' is missing; add it", f"{where}：缺少 '{name}'；请补上")
    if problem["type"] == "union_tag_invalid":
        value, message = (
            context["tag"],
            nearest(context["tag"], context["expected_tags"].strip("'").split("', '")),
        )
    else:
        value, message = problem.get("input"), problem["msg"].removeprefix("Value error, ")
    if problem["type"] in _MUST_BE:
        limits = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in context.items()}
        message = tr(*_MUST_BE[problem["type"]]).format_map(limits)
    shown = json.dumps(value, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return (
        tr(f"{where}: '{name}' = {shown}: {message}", f"{where}：'{name}' = {shown}：{message}")
        if name
        else (f"{where}: {message}")
    )


def _named_by_the_message(problem: Any, origins: Mapping[Place, str]) -> tuple[Place, Any]:
    """Find the field that a validator of the whole is about: the dotted name its message begins with, if it was given.

    "a.b needs ..." becomes the field ``a.b`` with the message "needs ...".
    """
    name, _, rest = problem["msg"].removeprefix("Value error, ").partition(" ")
    place = tuple(name.split("."))
    if len(place) < 2 or place not in origins or not rest or rest.startswith("="):
        return (), problem
    value = problem.get("input")
    for key in place:
        value = value.get(key) if isinstance(value, Mapping) else None
    return place, {**problem, "input": value, "msg": rest}


def _without_union_tags(kind: type[BaseModel], loc: Place) -> Place:
    """Drop the tag that pydantic inserts after a discriminated union's field: it is not in the file."""
    schema = kind.model_json_schema()
    node: Any = schema
    kept: list[str | int] = []
    for part in loc:
        if part not in _resolve(schema, node).get("discriminator", {}).get("mapping", {}):
            kept.append(part)
        node = _step(schema, node, part)
    return tuple(kept)


def _fields_at(kind: type[BaseModel], loc: Place) -> list[str]:
    """Return the field names of the settings class found by walking ``loc`` through the JSON schema."""
    schema = kind.model_json_schema()
    node: Any = schema
    for part in loc:
        node = _step(schema, node, part)
    node = _resolve(schema, node)
    return list(node.get("properties", {}))


def _resolve(schema: Any, node: Any) -> Any:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _step(schema: Any, node: Any, part: str | int) -> Any:
    node = _resolve(schema, node)
    if part in node.get("properties", {}):
        return node["properties"][part]
    if isinstance(part, int) and "items" in node:
        return node["items"]
    mapping = node.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return {"$ref": mapping[part]}
    options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
    return options[0] if options else node


def describe_fields(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (dotted name, default, unit, meaning) for every field of a JSON schema, in order.

    Taking the schema, not the classes, lets ``--help`` read it from a file without importing torch.
    """
    rows: list[tuple[str, str, str, str]] = []
    _describe(schema, schema, "", rows)
    return rows


def _describe(schema: Mapping[str, Any], node: Any, prefix: str, rows: list[tuple[str, str, str, str]]) -> None:
    for name, field in node.get("properties", {}).items():
        text = field.get("zh") if current_language() == "zh" else field.get("description")
        default = json.dumps(field["default"], ensure_ascii=False) if "default" in field else ""
        inner = _resolve(schema, field)
        options = [_resolve(schema, o) for o in inner.get("oneOf", [])]
        if "properties" not in inner and not options:
            choices = " | ".join(str(choice) for choice in field.get("enum", []))
            meaning = f"{text or ''}{f' [{choices}]' if choices else ''}"
            rows.append((prefix + name, default, field.get("unit", ""), meaning))
        for option in options or [inner]:
            _describe(schema, option, f"{prefix}{name}.", rows)
