"""What unigram and WordPiece have in common: the ``tokenizers`` library encodes by their ``tokenizer.json``; each id
stands for fixed bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zhixing.tokenizers.backend import open_backend
from zhixing.tokenizers.pieces import PieceTokenizer, checked_text

if TYPE_CHECKING:
    import tokenizers


class LibraryTokenizer(PieceTokenizer):
    """Base class of tokenizers that the library runs."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special ids added."""
        return list(self._backend.encode(checked_text(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``, on all the processor's cores."""
        found = self._backend.encode_batch_fast([checked_text(text) for text in texts], add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in found]

    @cached_property
    def _backend(self) -> tokenizers.Tokenizer:
        return open_backend(self._document)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine behind when another process is handed a copy; it makes its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_backend"}
