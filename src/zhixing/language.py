"""Which language a message is shown in: English or Chinese.

A message stands in both languages at the place where it is raised, so that neither can be forgotten
when the other changes: ``tr("file not found", "找不到文件")``.
"""

from __future__ import annotations

import locale
import os


def current_language() -> str:
    """Return ``"zh"`` or ``"en"``: ``ZHIXING_LANG`` if set, else the locale's language."""
    chosen = os.environ.get("ZHIXING_LANG") or _locale_name()
    # Windows calls the language "Chinese (Simplified)_China".
    return "zh" if chosen.lower().startswith(("zh", "chinese")) else "en"


def tr(en: str, zh: str) -> str:
    """Return the one of the two texts that the user reads."""
    return zh if current_language() == "zh" else en


def _locale_name() -> str:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(variable):
            return value
    return locale.getlocale()[0] or ""
