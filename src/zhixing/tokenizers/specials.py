"""The special tokens that every tokenizer trained here reserves.

The chat markers are reserved at training, so that teaching a model to converse later needs no new rows in
its embedding.
"""

from __future__ import annotations

from zhixing.tokenizers.protocol import SEPARATOR

CHAT_ROLES = ("system", "user", "assistant")
"""Who may speak in a conversation; each has its own marker ``<|role|>``."""

TURN_END = "<|end|>"
"""Closes a turn: a model that has learned to converse stops after it."""

SPECIAL_TOKENS = (SEPARATOR, *(f"<|{role}|>" for role in CHAT_ROLES), TURN_END)


def special_table(first_id: int) -> dict[str, int]:
    """Return the ids of ``SPECIAL_TOKENS``, counted up from ``first_id``."""
    return {token: first_id + index for index, token in enumerate(SPECIAL_TOKENS)}
