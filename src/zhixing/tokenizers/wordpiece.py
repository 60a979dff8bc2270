"""WordPiece (Schuster & Nakajima 2012; the encoding of BERT, Devlin et al. 2019) over bytes: again and again the
longest piece that fits what is left of a word; pieces that continue a word are marked ``##``.

BERT writes ``[UNK]`` for a whole word of which one character is not in the vocabulary, and the word is lost. Here
every byte is a piece, beginning and continuing, so a longest match always exists and decoding gives back every text
exactly. The price: 512 ids are bytes, and ``#`` is always a word of its own, because a word that began with ``##``
could not be told from a piece that continues.
"""

from __future__ import annotations

from collections.abc import Sequence

from zhixing.tokenizers.library import LibraryTokenizer
from zhixing.tokenizers.pieces import Json
from zhixing.tokenizers.wordpiece_training import BYTES


class WordPieceTokenizer(LibraryTokenizer):
    """Byte-level WordPiece, trained here or read from a folder of ours."""

    @property
    def kind(self) -> str:
        """``"wordpiece"``."""
        return "wordpiece"


def from_pieces(
    learned: Sequence[tuple[bool, bytes]], pre_tokenizer: Json, extra_tokens: Sequence[str] = ()
) -> WordPieceTokenizer:
    """Return the tokenizer of freshly learned pieces: bytes, continuing bytes, pieces, special tokens.

    Each of ``learned`` is whether it continues a word, and its bytes.
    """
    from zhixing.tokenizers.layout import wordpiece_document
    from zhixing.tokenizers.specials import special_table

    alphabet = [(continues, bytes([byte])) for continues in (False, True) for byte in range(BYTES)]
    pieces = [*alphabet, *learned]
    special_tokens = special_table(len(pieces), extra_tokens)
    document = wordpiece_document(pieces, special_tokens, pre_tokenizer)
    return WordPieceTokenizer(document, [p for _, p in pieces] + [b""] * len(special_tokens), special_tokens)
