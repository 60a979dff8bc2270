"""Topics of warm start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zhixing.explain.topic import Topic

TOPICS: tuple[Callable[[], Topic[Any]], ...] = ()
