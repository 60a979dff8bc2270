"""One id per byte: ids 0 to 255 are the bytes of UTF-8, the special tokens follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zhixing.tokenizers.layout import byte_level, byte_level_document
from zhixing.tokenizers.pieces import Json, PieceTokenizer, checked_text
from zhixing.tokenizers.specials import special_table


class ByteTokenizer(PieceTokenizer):
    """The tokenizer that needs no training."""

    def __init__(
        self, document: Json | None = None, config: Json | None = None, extra_tokens: Sequence[str] = ()
    ) -> None:
        """Make the standard one, or one read from a folder; ``extra_tokens`` are special ones beyond the usual."""
        special_tokens = special_table(256, extra_tokens)
        pieces = [bytes([byte]) for byte in range(256)] + [b""] * len(special_tokens)
        document = document or byte_level_document([], special_tokens, byte_level(use_regex=False))
        super().__init__(document, pieces, special_tokens, config)

    @property
    def kind(self) -> str:
        """``"byte"``."""
        return "byte"

    def encode(self, text: str) -> list[int]:
        """Return the UTF-8 bytes of ``text``."""
        return list(checked_text(text).encode("utf-8"))

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the UTF-8 bytes of each text, each of shape ``(T,)``."""
        return [np.frombuffer(checked_text(text).encode("utf-8"), dtype=np.uint8).astype(np.int64) for text in texts]
