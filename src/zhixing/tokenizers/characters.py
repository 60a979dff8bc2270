"""One id per character, as far as training saw it; any other character falls to its UTF-8 bytes, so nothing
is unknown.

Ids 0 to 255 are bytes (an ASCII character *is* its byte), then the other characters, most frequent first,
then the special tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from zhixing.tokenizers.layout import character_document
from zhixing.tokenizers.pieces import Json, PieceTokenizer, checked_text
from zhixing.tokenizers.specials import SPECIAL_TOKENS, special_table

_UNKNOWN = -1


class CharacterTokenizer(PieceTokenizer):
    """Characters, with bytes to fall back on."""

    def __init__(
        self,
        characters: Sequence[str],
        document: Json | None = None,
        config: Json | None = None,
        extra_tokens: Sequence[str] = (),
    ) -> None:
        """Take ``characters`` (none of them ASCII, all different) as ids 256, 257, …, then the special tokens."""
        self._characters = tuple(characters)
        special_tokens = special_table(256 + len(self._characters), extra_tokens)
        pieces = [bytes([byte]) for byte in range(256)]
        pieces += [character.encode("utf-8") for character in self._characters]
        document = document or character_document(self._characters, special_tokens)
        super().__init__(document, pieces + [b""] * len(special_tokens), special_tokens, config)

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int, min_frequency: int = 1, extra_tokens: Sequence[str] = ()
    ) -> Self:
        """Keep the most frequent characters that fit into ``vocab_size`` ids; ties by code point."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        found = [(-count, character) for character, count in counts.items() if count >= min_frequency]
        room = vocab_size - 256 - len(SPECIAL_TOKENS) - len(extra_tokens)
        kept = [character for _, character in sorted(found) if ord(character) >= 128][:room]
        return cls(kept, extra_tokens=extra_tokens)

    @property
    def kind(self) -> str:
        """``"character"``."""
        return "character"

    def encode(self, text: str) -> list[int]:
        """Return the ids of the characters of ``text``."""
        ids: list[int] = self._ids(text).tolist()
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``."""
        return [self._ids(text) for text in texts]

    @cached_property
    def _table(self) -> NDArray[np.int64]:
        """Id of each code point, ``_UNKNOWN`` where it has none: shape ``(0x110000,)``."""
        table = np.full(0x110000, _UNKNOWN, dtype=np.int64)
        table[:128] = np.arange(128)
        table[[ord(character) for character in self._characters]] = 256 + np.arange(len(self._characters))
        return table

    def _ids(self, text: str) -> NDArray[np.int64]:
        points = np.frombuffer(checked_text(text).encode("utf-32-le"), dtype="<u4")
        ids = self._table[points]
        unknown = ids == _UNKNOWN
        if not unknown.any():
            return ids
        width = np.where(unknown, 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000), 1)
        fallen = np.repeat(unknown, width)  # (T,): which places of the result hold a byte of an unknown character
        out = np.empty(len(fallen), dtype=np.int64)
        out[~fallen] = ids[~unknown]
        spelled = points[unknown].tobytes().decode("utf-32-le").encode("utf-8")
        out[fallen] = np.frombuffer(spelled, dtype=np.uint8)
        return out
