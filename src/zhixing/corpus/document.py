"""One piece of text and where it came from; its digest decides duplicates and the validation split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError


@dataclass(frozen=True)
class Document:
    """A text and its source: ``file`` or ``file:row``, then ``#k`` for the k-th piece of a long one.

    ``held_out``: it stands in a file that is only there to validate on. ``target``: what is to be answered where the
    text is the source of a pair; None: it is no pair.
    """

    text: str
    source: str
    held_out: bool = False
    target: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, and the target of a pair."""
        return (self.text,) if self.target is None else (self.text, self.target)

    @cached_property
    def digest(self) -> bytes:
        """BLAKE2b of the UTF-8 text, 16 bytes: equal texts, equal digests, on any machine.

        Of a pair, 8 bytes are of its source and 8 of both: pairs of one source are on one side of the split.
        """
        source = self.text.encode()
        if self.target is None:
            return hashlib.blake2b(source, digest_size=16).digest()
        both = hashlib.blake2b(b"%b\0%b" % (source, self.target.encode()), digest_size=8)
        return hashlib.blake2b(source, digest_size=8).digest() + both.digest()

    @cached_property
    def utf8_bytes(self) -> int:
        """Length of the text in UTF-8 bytes; of a pair, of both."""
        return sum(map(utf8_length, self.texts))


@dataclass(frozen=True)
class Problem:
    """Something that could not be read: ``source`` says where, ``message`` what and how to mend it."""

    source: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.message}"


class BrokenFileError(DataError):
    """A file cannot be read on; ``problem`` says where and why."""

    def __init__(self, source: str, message: str) -> None:
        self.problem = Problem(source, message)
        super().__init__(str(self.problem))


def utf8_length(text: str) -> int:
    """Return the number of UTF-8 bytes of ``text``."""
    return len(text) if text.isascii() else len(text.encode())


def split_point(settings: TextSettings) -> int:
    """Return the threshold for ``is_validation``: the hash of a document below it holds the document out."""
    return 0 if settings.validation_paths else int(settings.validation_fraction * 2**64)


def split_hash(digest: bytes) -> int:
    """Return the 64-bit number, uniform over documents, that decides a document's side."""
    return int.from_bytes(digest[:8], "little")


def is_validation(document: Document, point: int) -> bool:
    """Say whether a document is held out: by its file, else by its text alone, so that equal texts are on one side."""
    return document.held_out or split_hash(document.digest) < point
