"""Held-out documents as a model reads them, and the two halves they fall into: one to fit on, one to report.

A document is ``[separator] + ids + [separator]``: the first id is given, everything after it is predicted,
the closing separator too, because knowing where a text ends is part of knowing the text. The same rule
holds for every model, so the figures compare. ``text_bytes`` counts the text alone: bits per byte pays for
the end of a document and is given no byte for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from zhixing.corpus.document import Document
from zhixing.models.protocol import Ids
from zhixing.tokenizers.protocol import Tokenizer

Half = Literal["fit", "report"]
_TEXTS_AT_ONCE = 256


@dataclass(frozen=True)
class HeldOutDocument:
    """One held-out text as ids.

    ``ids`` (n,) open with the separator and close with it; ``text_bytes`` is the UTF-8 length of the text
    and ``digest`` its SHA-256 (hexadecimal).
    """

    ids: Ids
    text_bytes: int
    digest: str


def text_digest(text: str) -> str:
    """Return the digest (hexadecimal) by which the corpus knows equal texts and splits them."""
    return Document(text, "").digest.hex()


def encode_documents(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[HeldOutDocument]:
    """Yield each text as a ``HeldOutDocument`` of ``tokenizer``'s ids, reading ahead at most 256 texts."""
    separator = np.array([tokenizer.separator_id], np.int64)
    stream = iter(texts)
    while some := list(islice(stream, _TEXTS_AT_ONCE)):
        for text, ids in zip(some, tokenizer.encode_batch(some), strict=True):
            closed = np.concatenate([separator, np.asarray(ids, np.int64), separator])
            yield HeldOutDocument(closed, len(text.encode("utf-8")), text_digest(text))


def decode_document(ids: Ids, tokenizer: Tokenizer) -> str:
    """Return the text of a document's ids; the separators become nothing."""
    return tokenizer.decode(int(i) for i in ids if i != tokenizer.separator_id)


def half_of(digest: str) -> Half:
    """Return the half of the held-out text that a document belongs to: decided by its text alone, for ever.

    Weights of a mixture, a temperature or any other choice made by looking at held-out text is made on
    ``"fit"``; figures that are published come from ``"report"``, which nothing has looked at. The digest is
    hashed once more, with a salt, so that the halves are independent of a train/validation split that was
    made from the same digest.
    """
    salted = hashlib.sha256(f"fit or report:{digest}".encode()).digest()
    return "fit" if salted[0] < 128 else "report"


def split_fit_report(
    documents: Iterable[HeldOutDocument],
) -> tuple[list[HeldOutDocument], list[HeldOutDocument]]:
    """Return (documents to fit on, documents to report on), see ``half_of``; equal texts stay together."""
    halves: dict[Half, list[HeldOutDocument]] = {"fit": [], "report": []}
    for document in documents:
        halves[half_of(document.digest)].append(document)
    return halves["fit"], halves["report"]
