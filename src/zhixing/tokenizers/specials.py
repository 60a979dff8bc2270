"""The special tokens that every tokenizer trained here reserves.

The chat markers are reserved at training, so that teaching a model to converse later needs no new rows in
its embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zhixing.tokenizers.protocol import SEPARATOR

CHAT_ROLES = ("system", "user", "assistant")
"""Who may speak in a conversation; each has its own marker ``<|role|>``."""

TURN_END = "<|end|>"
"""Closes a turn: a model that has learned to converse stops after it."""

MASK = "<|mask|>"
"""Stands where a masked language model is to say what was there; only tokenizers of such models have it."""

SPECIAL_TOKENS = (SEPARATOR, *(f"<|{role}|>" for role in CHAT_ROLES), TURN_END)


def special_table(first_id: int, extra: Sequence[str] = ()) -> dict[str, int]:
    """Return the ids of ``SPECIAL_TOKENS`` and then ``extra`` ones, counted up from ``first_id``."""
    return {token: first_id + index for index, token in enumerate((*SPECIAL_TOKENS, *extra))}


def extra_tokens(special_tokens: Mapping[str, int]) -> tuple[str, ...]:
    """Return what a table of special tokens has beyond ``SPECIAL_TOKENS``, by id."""
    return tuple(sorted(special_tokens.keys() - set(SPECIAL_TOKENS), key=lambda token: special_tokens[token]))
