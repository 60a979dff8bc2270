"""What all tokenizers whose ids stand for fixed bytes have in common: decoding, special tokens,
fingerprint, files.

Such a tokenizer *is* its ``tokenizer.json`` (the layout of the ``tokenizers`` library): that document,
parsed, is what it holds, what its fingerprint is taken of, and what it saves. The classes add only a fast
way to the same ids.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.tokenizers.protocol import SEPARATOR
from zhixing.tokenizers.specials import MASK

Json = dict[str, Any]


class PieceTokenizer:
    """Base class. ``encode`` is what a subclass adds."""

    def __init__(
        self,
        document: Json,
        pieces: Sequence[bytes],
        special_tokens: Mapping[str, int],
        config: Json | None = None,
        separator: str = SEPARATOR,
    ) -> None:
        """Hold ``document`` (``tokenizer.json``), the bytes of each id, and ``config``
        (``tokenizer_config.json``)."""
        self._document = document
        self._pieces = tuple(pieces)
        self._special_tokens = dict(special_tokens)
        self._config = default_config(separator, MASK in special_tokens) if config is None else config
        self._separator = separator
        self._fingerprint = fingerprint(document)

    @property
    def kind(self) -> str:
        """``"bpe"``, ``"unigram"``, ``"wordpiece"``, ``"byte"``, ``"character"``, or ``"hf"`` for another layout."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """Number of ids, special ones included."""
        return len(self._pieces)

    @property
    def separator_id(self) -> int:
        """Id of the token that stands between documents."""
        return self._special_tokens[self._separator]

    @property
    def opening_id(self) -> int:
        """Id that opens a text: the beginning-of-text token of a foreign tokenizer that names one, else the
        separator."""
        return self._special_tokens.get(self.named_tokens.get("bos_token", ""), self.separator_id)

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that ordinary text never produces."""
        return frozenset(self._special_tokens.values())

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Every special token and its id."""
        return dict(self._special_tokens)

    @property
    def named_tokens(self) -> Mapping[str, str]:
        """The tokens that ``tokenizer_config.json`` gives a part to: ``bos_token``, ``eos_token``, …"""
        found = {name: content_of(value) for name, value in self._config.items() if name.endswith("_token")}
        return {name: token for name, token in found.items() if token is not None}

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of everything that decides the ids."""
        return self._fingerprint

    def encode(self, text: str) -> list[int]:
        """Return the ids of ``text``, no special ids added."""
        raise NotImplementedError

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the ids of each text, each of shape ``(T,)``."""
        return [np.array(self.encode(text), dtype=np.int64) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; bytes that are not UTF-8 become U+FFFD, special ids become nothing.

        Raises:
            DataError: an id is outside the vocabulary.
        """
        known = checked_ids(ids, self.vocab_size)
        return b"".join([self._pieces[index] for index in known]).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of one id (``b""`` for a special id)."""
        if not 0 <= token_id < len(self._pieces):
            checked_ids([token_id], len(self._pieces))
        return self._pieces[token_id]

    def special_id(self, token: str) -> int | None:
        """Return the id of a special token, or None."""
        return self._special_tokens.get(token)

    def takes_blanks_before(self, token: str) -> bool:
        """Say whether a special token swallows the blanks before it, as RoBERTa's ``<mask>`` does."""
        added = self._document.get("added_tokens") or []
        return any(one["content"] == token and bool(one.get("lstrip")) for one in added)

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``, which is made if it is
        absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("tokenizer.json", self._document), ("tokenizer_config.json", self._config)):
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


def default_config(separator: str = SEPARATOR, has_mask: bool = False) -> Json:
    """Return the ``tokenizer_config.json`` with which transformers gives our ids and our text."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": separator,
        "eos_token": separator,
        "clean_up_tokenization_spaces": False,
        **({"mask_token": MASK} if has_mask else {}),
    }


def content_of(token: Any) -> str | None:
    """Return the text of a token that a configuration writes as a string or as ``{"content": …}``."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def checked_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Return ``ids`` as a list; refuse any that is not in ``0 .. vocab_size - 1``."""
    known = [int(index) for index in ids]
    if known and not (min(known) >= 0 and max(known) < vocab_size):
        wrong = next(index for index in known if not 0 <= index < vocab_size)
        raise DataError(
            tr(
                f"id {wrong} is not in this vocabulary (0 to {vocab_size - 1}); use the tokenizer that made it",
                f"编号 {wrong} 不在此词表内（0 到 {vocab_size - 1}）；请使用产生它的分词器",
            )
        )
    return known


def checked_text(text: str) -> str:
    """Return ``text``; refuse lone surrogates, which are no Unicode text and have no UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place, code = error.start + 1, f"U+{ord(text[error.start]):04X}"
        raise DataError(
            tr(
                f"character {place} of the text is {code}, half of a surrogate pair; remove it or replace it by U+FFFD",
                f"文本第 {place} 个字符是 {code}，即半个代理对；请删除或换成 U+FFFD",
            )
        ) from None
    return text


def fingerprint(document: Json) -> str:
    """Return the SHA-256 of what decides the ids in a ``tokenizer.json``; how it decodes and post-processes
    does not."""
    model = {name: value for name, value in document["model"].items() if value not in (None, False)}
    added = [
        {name: token.get(name) or False for name in ("id", "content", "special", "single_word", "lstrip", "rstrip")}
        for token in document.get("added_tokens") or []
    ]
    if isinstance(model.get("vocab"), dict):
        contents = {token["content"] for token in added}
        model["vocab"] = {token: index for token, index in model["vocab"].items() if token not in contents}
    if model.get("type") == "BPE":
        model["merges"] = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
    decisive = {
        "model": model,
        "added_tokens": added,
        "normalizer": document.get("normalizer"),
        "pre_tokenizer": _without_offsets(document.get("pre_tokenizer")),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def _without_offsets(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_offsets(value) for name, value in part.items() if name != "trim_offsets"}
    return [_without_offsets(value) for value in part] if isinstance(part, list) else part
