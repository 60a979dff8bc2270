"""WordPiece (Schuster & Nakajima 2012; the encoding of BERT, Devlin et al. 2019) over bytes: again and again the
longest piece that fits what is left of a word; pieces that continue a word are marked ``##``.

BERT writes ``[UNK]`` for a whole word of which one character is not in the vocabulary, and the word is lost. Here
every byte is a piece, beginning and continuing, so a longest match always exists and decoding gives back every text
exactly. The price: 512 ids are bytes, and ``#`` is always a word of its own, because a word that began with ``##``
could not be told from a piece that continues.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

from zhixing.tokenizers.layout import CONTINUES, wordpiece_document
from zhixing.tokenizers.library import LibraryTokenizer
from zhixing.tokenizers.pieces import Json
from zhixing.tokenizers.wordpiece_training import BYTES


class WordPieceTokenizer(LibraryTokenizer):
    """Byte-level WordPiece, trained here or read from a folder of ours."""

    @property
    def kind(self) -> str:
        """``"wordpiece"``."""
        return "wordpiece"

    def _word_ids(self, word: str) -> list[int]:
        """Return the ids of one word; the library tries pieces as long as the word, here none longer than there is."""
        data, begin, ids = word.encode("utf-8"), 0, []
        table, longest = self._tables[0]
        while begin < len(data):
            end = min(begin + longest[data[begin]], len(data))
            while data[begin:end] not in table:
                end -= 1
            ids.append(table[data[begin:end]])
            begin = end
            table, longest = self._tables[1]
        return ids

    @cached_property
    def _tables(self) -> tuple[tuple[dict[bytes, int], list[int]], ...]:
        """The pieces that begin a word, then those that continue one; by first byte the longest of them."""
        tables: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        for token, index in self._document["model"]["vocab"].items():
            if self._pieces[index]:  # a special token is no piece of text
                tables[token.startswith(CONTINUES)][self._pieces[index]] = index
        return tuple((table, _longest(table)) for table in tables)


def _longest(pieces: Iterable[bytes]) -> list[int]:
    longest = [1] * BYTES
    for piece in pieces:
        longest[piece[0]] = max(longest[piece[0]], len(piece))
    return longest


def from_pieces(
    learned: Sequence[tuple[bool, bytes]], pre_tokenizer: Json, extra_tokens: Sequence[str] = ()
) -> WordPieceTokenizer:
    """Return the tokenizer of freshly learned pieces: bytes, continuing bytes, pieces, special tokens.

    Each of ``learned`` is whether it continues a word, and its bytes.
    """
    from zhixing.tokenizers.specials import special_table

    alphabet = [(continues, bytes([byte])) for continues in (False, True) for byte in range(BYTES)]
    pieces = [*alphabet, *learned]
    special_tokens = special_table(len(pieces), extra_tokens)
    document = wordpiece_document(pieces, special_tokens, pre_tokenizer)
    return WordPieceTokenizer(document, [p for _, p in pieces] + [b""] * len(special_tokens), special_tokens)
