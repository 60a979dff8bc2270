"""A foreign tokenizer of another kind (WordPiece, unigram, SentencePiece-like BPE), run by the
``tokenizers`` library as it is.

It satisfies the protocol as far as its kind allows: what it normalises away does not come back, and a
character that it does not know becomes its unknown token, which counts as special.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.tokenizers.backend import open_backend
from zhixing.tokenizers.pieces import Json, PieceTokenizer, checked_ids, checked_text

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class HuggingFaceTokenizer(PieceTokenizer):
    """Whatever ``tokenizer.json`` says, through the library that defines it."""

    def __init__(
        self,
        document: Json,
        tokens: Sequence[str],
        special_tokens: Mapping[str, int],
        config: Json | None,
        separator: str,
        where: str,
    ) -> None:
        """Take the text of each id in ``tokens``."""
        special_ids = set(special_tokens.values())
        prefix = document["model"].get("continuing_subword_prefix") or ""
        pieces = [b"" if index in special_ids else _piece(token, prefix) for index, token in enumerate(tokens)]
        super().__init__(document, pieces, special_tokens, config, separator)
        self._backend = open_backend(_hiding(document, special_tokens), where)

    @property
    def kind(self) -> str:
        """``"hf"``."""
        return "hf"

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, none special but the unknown token."""
        return list(self._backend.encode(checked_text(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``, on all the processor's cores."""
        found = self._backend.encode_batch_fast([checked_text(text) for text in texts], add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int64) for encoding in found]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids`` as the library joins it; special ids become nothing."""
        return str(self._backend.decode(checked_ids(ids, self.vocab_size), skip_special_tokens=True))


def _hiding(document: Json, special_tokens: Mapping[str, int]) -> Json:
    """Return the document with its special tokens under names that nobody can type.

    A vocabulary of unigram or WordPiece holds ``</s>`` as a piece like others, which a text that says so would fit.
    """
    model, secret = document["model"], secrets.token_hex(16)
    names = {token: f"{secret}-{index}" for token, index in special_tokens.items()}
    vocab = model["vocab"]
    if isinstance(vocab, list):
        hidden: Any = [[names.get(token, token), score] for token, score in vocab]
    else:
        hidden = {names.get(token, token): index for token, index in vocab.items()}
    model = {**model, "vocab": hidden}
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not names.keys() & _parts(merge)]
    added = [{**token, "content": names.get(token["content"], token["content"])} for token in document["added_tokens"]]
    return {**document, "added_tokens": added, "post_processor": None, "model": model}


def _parts(merge: Any) -> set[str]:
    """Return the two parts of a merge, and the whole."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return {left, right, left + right}


def _piece(token: str, prefix: str) -> bytes:
    """Return about what a token stands for: the library's decoder, which sees its neighbours, has the last
    word."""
    if match := _BYTE.fullmatch(token):
        return bytes([int(match[1], 16)])
    bare = token.removeprefix(prefix) if prefix else token.replace("\u2581", " ")
    return bare.encode("utf-8")
