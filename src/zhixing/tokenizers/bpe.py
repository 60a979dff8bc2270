"""Byte-level byte-pair encoding (Sennrich et al. 2016; over bytes: Radford et al. 2019): merges learned
pairs, earliest first.

Two engines give the same ids. ``tiktoken`` is the fast one; it knows no list of merges, only a rank for
each token, and joins *any* two neighbours whose union is a token. That is the same algorithm if
every token has one merge, stands after its parts, and is found when its own bytes are encoded:
``_ranks_suffice`` checks it. Otherwise, and for what ``tiktoken`` cannot hold (blank runs beyond its regex
stack), the ``tokenizers`` library encodes by the merges themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zhixing.cores import usable_cores
from zhixing.tokenizers.backend import open_backend
from zhixing.tokenizers.layout import byte_level_pattern
from zhixing.tokenizers.pieces import Json, PieceTokenizer, checked_text
from zhixing.tokenizers.protocol import SEPARATOR

if TYPE_CHECKING:
    import tiktoken
    import tokenizers

_BLANK_RUN = 20_000
"""Characters. tiktoken's regex engine overflows its stack on some 300,000 blanks in a row; far below, we
change engines."""

_WORTH_THREADS = 200_000
"""Characters in a batch from which on threads save time."""


class BpeTokenizer(PieceTokenizer):
    """Byte-level BPE, trained here or read from a Hugging Face folder."""

    def __init__(
        self,
        document: Json,
        pieces: Sequence[bytes],
        special_tokens: Mapping[str, int],
        config: Json | None = None,
        separator: str = SEPARATOR,
    ) -> None:
        """Take a ``tokenizer.json`` whose validity the caller has checked, and the bytes of each of its
        ids."""
        super().__init__(document, pieces, special_tokens, config, separator)

    @property
    def kind(self) -> str:
        """``"bpe"``."""
        return "bpe"

    @property
    def pattern(self) -> str | None:
        """The regular expression that cuts text before merging, or None if it is more than one expression."""
        return byte_level_pattern(self._document.get("pre_tokenizer"))

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special ids added."""
        checked_text(text)
        if self._fast is not None and not _has_long_blank(text):
            return self._fast.encode_ordinary(text)
        return list(self._exact.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``, on all the processor's cores."""
        workers = min(len(texts), usable_cores())
        if workers < 2 or sum(map(len, texts)) < _WORTH_THREADS:
            return [self._array(text) for text in texts]
        self._fast  # noqa: B018 - make the engine once, before the threads ask for it
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(self._array, texts))

    def _array(self, text: str) -> NDArray[np.int64]:
        return np.array(self.encode(text), dtype=np.int64)

    @cached_property
    def _exact(self) -> tokenizers.Tokenizer:
        return open_backend(self._document)

    @cached_property
    def _fast(self) -> tiktoken.Encoding | None:
        ranks = self._ranks()
        if ranks is None or not _ranks_suffice(self._document["model"], self._special_tokens):
            return None
        import tiktoken

        # No special tokens: what is not known cannot be matched in a user's text.
        assert self.pattern is not None
        return tiktoken.Encoding("zhixing", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens={})

    def _ranks(self) -> dict[bytes, int] | None:
        """Return the rank of each piece (its id), or None if text passes through more than one pattern and
        merges."""
        matched = [token for token in self._document.get("added_tokens") or [] if not token["special"]]
        model = self._document["model"]
        affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if self.pattern is None or self._document.get("normalizer") or matched or affixes:
            return None
        return {piece: index for index, piece in enumerate(self._pieces) if piece}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engines behind when another process is handed a copy; it makes its own."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_fast", "_exact")}


def _ranks_suffice(model: Json, special_tokens: Mapping[str, int]) -> bool:
    """Say whether joining by rank gives the ids that the list of merges gives.

    Why the check is enough: with its parts ranked before it, merges are done in rising rank; when the rank
    of token ``w`` comes, the stretch of text that spells ``w`` between two borders looks as it does when
    ``w`` is encoded alone. There the last merge is the only one that makes ``w``; so no other pair of
    neighbours with that union can stand in the text.
    """
    import tokenizers

    vocab = model["vocab"]
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    ids = [vocab[left + right] for left, right in pairs]
    in_order = all(before < after for before, after in itertools.pairwise(ids))
    after_parts = all(
        all(len(part) == 1 or vocab[part] < index for part in pair) for pair, index in zip(pairs, ids, strict=True)
    )
    nothing_else = len(vocab.keys() - special_tokens.keys()) == 256 + len(ids)
    if not (in_order and after_parts and nothing_else):
        return False
    merging = tokenizers.models.BPE(vocab=vocab, merges=[(left, right) for left, right in pairs])
    return all(len(merging.tokenize(left + right)) == 1 for left, right in pairs)


def _has_long_blank(text: str) -> bool:
    """Say whether a run of at least ``2 * _BLANK_RUN`` blanks may be in ``text``: such a run covers a whole
    window."""
    return len(text) > _BLANK_RUN and any(
        text[start : start + _BLANK_RUN].isspace() for start in range(0, len(text), _BLANK_RUN)
    )


def from_merges(
    merges: Sequence[tuple[bytes, bytes]], pre_tokenizer: Json, extra_tokens: Sequence[str] = ()
) -> BpeTokenizer:
    """Return the tokenizer of freshly learned merges: bytes, merges, special tokens, in this order of ids."""
    from zhixing.tokenizers.layout import byte_level_document
    from zhixing.tokenizers.specials import special_table

    special_tokens = special_table(256 + len(merges), extra_tokens)
    pieces = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]
    document = byte_level_document(merges, special_tokens, pre_tokenizer)
    return BpeTokenizer(document, pieces + [b""] * len(special_tokens), special_tokens)
