"""Published shapes by name: ``preset: mistral-7b-v0.1`` in a recipe's ``model`` stands for all its fields.

Fields beside it change the preset. A settings class that offers this has a field ``preset``, which is empty once the
settings are made: the resolved recipe says every field, and no name whose meaning might change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zhixing.config import Settings
from zhixing.errors import nearest
from zhixing.language import tr


def expand(data: Any, presets: Callable[[], Mapping[str, Settings]]) -> Any:
    """Return the fields of the preset that ``data`` names, changed by the others of ``data``; else ``data``.

    ``presets`` is called only when one is named: they are made of the settings class itself, and come after it.

    Raises:
        ValueError: there is no such preset; the nearest is named.
    """
    name = data.get("preset") if isinstance(data, Mapping) else None
    if name is None:
        return data
    known = presets()
    if not isinstance(name, str) or name not in known:
        hint = nearest(str(name), known)
        raise ValueError(tr(f"there is no preset {name!r}; {hint}", f"没有名为 {name!r} 的预设；{hint}"))
    others = {field: value for field, value in data.items() if field != "preset"}
    return known[name].model_dump(mode="json") | others
