"""How shards become batches."""

from __future__ import annotations

from typing import Literal

from zhixing.config import Settings, setting


class DataSettings(Settings):
    """The order of the windows, and whether documents in one window may see each other."""

    shuffle: bool = setting(
        True,
        "a new order of all windows in every epoch; otherwise the order of the text",
        "每轮打乱所有窗口的顺序；否则按原文顺序",
    )
    isolate_documents: Literal["auto", "yes", "no"] = setting(
        "auto",
        "hide the documents of one window from each other; auto: when most windows would hold several",
        "同一窗口内的文档互不可见；auto：多数窗口含多篇文档时启用",
    )


def isolates(choice: Literal["auto", "yes", "no"], documents: int, tokens: int, context_length: int) -> bool:
    """Say whether documents are isolated; ``auto``: when they are shorter than half a window on average."""
    if choice == "auto":
        return tokens < documents * context_length / 2
    return choice == "yes"
