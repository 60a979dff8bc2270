"""Where held-out text comes from: token shards, or files that each model's own tokenizer encodes.

Both give every model the same documents in the same order, so that their figures pair up, whatever the
tokenizers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from zhixing.corpus.reader import documents as read_documents
from zhixing.corpus.settings import TextSettings
from zhixing.data.pairs import holds_pairs
from zhixing.data.prepare import SPLITS
from zhixing.data.shards import TokenShards
from zhixing.errors import DataError
from zhixing.evaluation.documents import (
    Half,
    HeldOutDocument,
    decode_document,
    encode_documents,
    half_of,
    text_digest,
)
from zhixing.language import tr
from zhixing.models.protocol import Ids
from zhixing.tokenizers.protocol import Tokenizer

Part = Half | Literal["all"]


class HeldOut(Protocol):
    """Held-out documents, as text and as the ids of any tokenizer, always in the same order."""

    @property
    def source(self) -> str:
        """Where they come from, in words."""

    def texts(self) -> Iterator[str]:
        """Yield the texts."""

    def documents(self, tokenizer: Tokenizer) -> Iterator[HeldOutDocument]:
        """Yield the documents in ``tokenizer``'s ids."""


def tokens_known(held_out: HeldOut, tokenizer: Tokenizer) -> int | None:
    """Return how many tokens there are to predict, where that is known before they are read; else None."""
    if not isinstance(held_out, HeldOutShards) or held_out.part != "all":
        return None
    same = tokenizer.fingerprint == held_out.tokenizer.fingerprint
    return held_out.shards.token_count - 1 if same else None  # the first is only context


@dataclass(frozen=True)
class HeldOutFiles:
    """Documents of text files (``settings``), or those of one half of them."""

    settings: TextSettings
    part: Part = "all"

    @property
    def source(self) -> str:
        """The paths."""
        return ", ".join(self.settings.paths)

    def texts(self) -> Iterator[str]:
        """Yield the texts, read anew: memory does not grow with them."""
        for document in read_documents(self.settings):
            if self.part in ("all", half_of(document.digest.hex())):
                yield document.text

    def documents(self, tokenizer: Tokenizer) -> Iterator[HeldOutDocument]:
        """Yield the documents in ``tokenizer``'s ids."""
        return encode_documents(self.texts(), tokenizer)


@dataclass(frozen=True)
class HeldOutTexts:
    """Documents that are in memory already."""

    given: Sequence[str]
    source: str = "memory"

    def texts(self) -> Iterator[str]:
        """Yield the texts."""
        return iter(self.given)

    def documents(self, tokenizer: Tokenizer) -> Iterator[HeldOutDocument]:
        """Yield the documents in ``tokenizer``'s ids."""
        return encode_documents(self.given, tokenizer)


@dataclass(frozen=True)
class HeldOutShards:
    """Documents of token shards, or those of one half of them; ``tokenizer`` is the one that made the ids."""

    shards: TokenShards
    tokenizer: Tokenizer
    part: Part = "all"

    @property
    def source(self) -> str:
        """The folder."""
        return str(self.shards.folder)

    def texts(self) -> Iterator[str]:
        """Yield the texts, decoded from the ids: exactly what was encoded."""
        for ids in self.shards.documents():
            text = decode_document(ids, self.tokenizer)
            if self.part in ("all", half_of(text_digest(text))):
                yield text

    def documents(self, tokenizer: Tokenizer) -> Iterator[HeldOutDocument]:
        """Yield the documents in ``tokenizer``'s ids: as stored if it made them, else encoded anew."""
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            yield from encode_documents(self.texts(), tokenizer)
            return
        closing = np.array([self.shards.separator_id], np.int64)
        for ids in self.shards.documents():
            text = decode_document(ids, self.tokenizer)
            digest = text_digest(text)
            if self.part in ("all", half_of(digest)):
                yield HeldOutDocument(np.concatenate([ids, closing]), len(text.encode("utf-8")), digest)


def open_shards(folder: str | Path, tokenizers: Iterable[Tokenizer], part: Part = "all") -> HeldOutShards:
    """Open the validation split of a prepared folder, or a split's own folder.

    Raises:
        DataError: the folder is not whole, it is empty, or none of the tokenizers made its ids.
    """
    folder = Path(folder)
    held_out = folder / SPLITS[1]
    shards = TokenShards.open(held_out if held_out.is_dir() else folder)
    for tokenizer in tokenizers:
        if tokenizer.fingerprint == shards.tokenizer_fingerprint:
            _refuse_pairs(shards, tokenizer)
            return HeldOutShards(shards, tokenizer, part)
    raise DataError(
        tr(
            f"{folder}: its ids are of another tokenizer than these models'; give the text with --text",
            f"{folder}：其编号由另一个分词器生成，与这些模型的不同；请用 --text 给出文本",
        )
    )


def _refuse_pairs(shards: TokenShards, tokenizer: Tokenizer) -> None:
    if holds_pairs(shards, tokenizer):
        raise DataError(
            tr(
                f"{shards.folder}: holds pairs of source and target, not running text; measure with --pairs",
                f"{shards.folder}：其中是源与目标的成对数据，不是连续文本；请用 --pairs 评估",
            )
        )


def digest_of(digests: Iterable[str]) -> str:
    """Return one SHA-256 (hexadecimal) over the documents' digests, in order."""
    total = hashlib.sha256()
    for digest in digests:
        total.update(digest.encode())
    return total.hexdigest()


def refuse_leaks(held_out: HeldOutShards | HeldOutFiles, training: TokenShards, tokenizer: Tokenizer) -> None:
    """Stop if a held-out document stands word for word in the training shards (``tokenizer`` made their ids).

    Memory grows with the held-out documents only; the training shards are streamed.

    Raises:
        DataError: one does, or the training ids were made by another tokenizer, so that nothing can be said.
    """
    if training.tokenizer_fingerprint != tokenizer.fingerprint:
        raise DataError(
            tr(
                f"{training.folder}: made by another tokenizer, so leaks cannot be found; give its own",
                f"{training.folder}：由另一个分词器生成，无法检查泄漏；请给出该模型自己的训练数据",
            )
        )
    known = {_fingerprint(d.ids[:-1]): number for number, d in enumerate(held_out.documents(tokenizer), start=1)}
    leaked = sorted({known[key] for ids in training.documents() if (key := _fingerprint(ids)) in known})
    if leaked:
        few = ", ".join(str(number) for number in leaked[:5])
        raise DataError(
            tr(
                f"{len(leaked)} held-out documents of {held_out.source} are in {training.folder} too "
                f"(numbers {few}{', ...' if len(leaked) > 5 else ''}): take them out",
                f"{held_out.source} 中有 {len(leaked)} 篇留出文档出现在训练文本 {training.folder} 中"
                f"（编号 {few}{' 等' if len(leaked) > 5 else ''}）：结果会虚高；请将其移除",
            )
        )


def _fingerprint(ids: Ids) -> bytes:
    return hashlib.blake2b(ids.astype("<i8").tobytes(), digest_size=16).digest()
