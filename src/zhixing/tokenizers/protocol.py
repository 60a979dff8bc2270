"""The waist between strings and ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "<|endoftext|>"
"""The special token that opens every document and closes the last: ``separator_id`` is its id."""


@runtime_checkable
class Tokenizer(Protocol):
    """Strings to ids and back, exactly: ``decode(encode(text)) == text`` for any Unicode text.

    Text never produces a special id: ``<|endoftext|>`` typed by a user is encoded as ordinary characters.
    """

    @property
    def kind(self) -> str:
        """``"bpe"``, ``"unigram"``, ``"wordpiece"``, ``"byte"`` or ``"character"``; ``"hf"``: a foreign one."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included; ids are ``0 .. vocab_size - 1``."""

    @property
    def separator_id(self) -> int:
        """Id of ``SEPARATOR``."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that ordinary text never produces."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Every special token and its id."""

    @property
    def named_tokens(self) -> Mapping[str, str]:
        """``bos_token``, ``eos_token``, ...: the names under which a chat template may refer to special tokens."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything that decides the ids; equal fingerprints give equal ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special ids added."""

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, by the fastest engine; same ids as ``encode``."""

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; bytes that are not UTF-8 become U+FFFD, special ids become nothing."""

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes that one id stands for (``b""`` for a special id)."""

    def special_id(self, token: str) -> int | None:
        """Return the id of a special token such as ``<|user|>``, or None if there is no such token."""

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` (Hugging Face layout) and ``tokenizer_config.json`` into ``folder``."""
