"""The unigram model (Kudo 2018) over bytes: a text is cut into the pieces whose probabilities have the largest product.

Like our byte-pair encoding it cuts text into words first and sees their bytes; the 256 bytes are pieces, each with
its probability, so that nothing is unknown and decoding gives back every text exactly. (SentencePiece writes blanks as
``▁`` and normalises: a text that holds that sign, or two blanks, does not come back.)
"""

from __future__ import annotations

from collections.abc import Sequence

from zhixing.tokenizers.library import LibraryTokenizer
from zhixing.tokenizers.pieces import Json


class UnigramTokenizer(LibraryTokenizer):
    """Byte-level unigram, trained here or read from a folder."""

    @property
    def kind(self) -> str:
        """``"unigram"``."""
        return "unigram"


def from_pieces(
    pieces: Sequence[tuple[bytes, float]], pre_tokenizer: Json, extra_tokens: Sequence[str] = ()
) -> UnigramTokenizer:
    """Return the tokenizer of freshly learned pieces with their log p (the 256 bytes first), then special tokens."""
    from zhixing.tokenizers.layout import unigram_document
    from zhixing.tokenizers.specials import special_table

    special_tokens = special_table(len(pieces), extra_tokens)
    document = unigram_document(pieces, special_tokens, pre_tokenizer)
    return UnigramTokenizer(document, [p for p, _ in pieces] + [b""] * len(special_tokens), special_tokens)
