"""Reading a foreign ``config.json``: wrong types and unsupported values are refused by the field's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from zhixing.config import Settings
from zhixing.errors import ModelFolderError
from zhixing.language import tr

SettingsT = TypeVar("SettingsT", bound=Settings)


class ConfigReader:
    """Typed access to a ``config.json``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config

    def require(self, name: str, allowed: Sequence[object], default: object) -> None:
        """Refuse the model unless field ``name`` has one of the ``allowed`` values."""
        value = self._config.get(name, default)
        if value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise ModelFolderError(
                tr(
                    f"config.json: {name} = {value!r} is not supported (only {choices})",
                    f"config.json：不支持 {name} = {value!r}（仅支持 {choices}）",
                )
            )

    def require_each(self, name: str, allowed: Sequence[object]) -> None:
        """Refuse the model unless field ``name`` is absent or a list of ``allowed`` values."""
        values = self._config.get(name)
        for value in [] if values is None else values if isinstance(values, list) else [values]:
            ConfigReader({name: value}).require(name, allowed, default=None)

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer field."""
        value = self._config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelFolderError(
                tr(
                    f"config.json: {name} should be a whole number, not {value!r}",
                    f"config.json：{name} 应为整数，而不是 {value!r}",
                )
            )
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return an integer field, or None where it is absent or null."""
        return None if self._config.get(name) is None else self.integer(name)

    def number(self, name: str, default: float | None = None) -> float:
        """Return a numeric field."""
        value = self._config.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelFolderError(
                tr(
                    f"config.json: {name} should be a number, not {value!r}",
                    f"config.json：{name} 应为数值，而不是 {value!r}",
                )
            )
        return float(value)

    def build(self, kind: type[SettingsT], **fields: Any) -> SettingsT:
        """Return the settings, or refuse the folder with what does not fit."""
        try:
            return kind(**fields)
        except ValidationError as error:
            what = "; ".join(
                ": ".join([*map(str, problem["loc"]), problem["msg"].removeprefix("Value error, ")])
                for problem in error.errors()
            )
            raise ModelFolderError(f"config.json: {what}") from None
