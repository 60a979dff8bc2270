"""A folder of token shards, read in place.

The ids are one long stream: every document behind a separator, one more separator at the end. They are read
at an offset rather than mapped: the pages stay in the system's cache and never count as this process's
memory, however much of a large folder a run has touched.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zhixing.data.manifest import Manifest, check_part, part_path
from zhixing.errors import DataError
from zhixing.language import tr

Ids = NDArray[np.int64]
OPEN_FILES = 64
"""Files kept open, and lists of document starts kept in memory, at any time."""


class TokenShards:
    """The ids of one split, in order, with document boundaries. Safe to use from several threads."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest
        self._token_ends = np.cumsum([0, *(part.tokens for part in manifest.parts)], dtype=np.int64)
        self._document_ends = np.cumsum([0, *(part.documents for part in manifest.parts)], dtype=np.int64)
        self._files = _Files(folder)
        self._starts: OrderedDict[int, Ids] = OrderedDict()

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True) -> TokenShards:
        """Open ``train/`` or ``validation/`` of a prepared folder.

        Args:
            folder: where ``manifest.json`` is.
            verify: compare the SHA-256 of every file (about 1 s per GB); otherwise only the sizes.

        Raises:
            DataError: the folder is not complete, or a file was changed after it was written.
        """
        folder = Path(folder)
        manifest = Manifest.load(folder)
        for index, part in enumerate(manifest.parts):
            if problem := check_part(folder, index, part, verify):
                raise DataError(
                    problem
                    + tr(
                        "; the shards were changed after they were written: prepare them again",
                        "；分片在写成之后被改动：请重新准备",
                    )
                )
        return cls(folder, manifest)

    @property
    def folder(self) -> Path:
        """Where the shards are."""
        return self._folder

    @property
    def token_count(self) -> int:
        """Number of ids, all separators included."""
        return int(self._token_ends[-1])

    @property
    def document_count(self) -> int:
        """Number of documents."""
        return int(self._document_ends[-1])

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text behind the ids, separators not counted."""
        return sum(part.text_bytes for part in self._manifest.parts)

    @property
    def vocab_size(self) -> int:
        """Number of ids of the tokenizer."""
        return self._manifest.vocab_size

    @property
    def separator_id(self) -> int:
        """The id that opens every document."""
        return self._manifest.separator_id

    @property
    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer that made the ids."""
        return self._manifest.tokenizer_fingerprint

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) that covers every id, every boundary and the tokenizer's fingerprint."""
        return self._manifest.digest

    def tokens(self, start: int, stop: int) -> Ids:
        """Return the ids at ``start`` to ``stop - 1`` of the stream, across files; (stop - start,) int64."""
        if not 0 <= start <= stop <= self.token_count:
            raise IndexError(f"tokens {start}:{stop} of {self.token_count}")
        width = self._manifest.id_bytes
        pieces = []
        part = int(np.searchsorted(self._token_ends, start, side="right")) - 1
        while start < stop:
            first = int(self._token_ends[part])
            end = min(stop, int(self._token_ends[part + 1]))
            raw = self._files.read(part, (start - first) * width, (end - start) * width)
            pieces.append(np.frombuffer(raw, dtype=f"<u{width}"))
            start, part = end, part + 1
        return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, dtype=np.int64)

    def document(self, index: int) -> Ids:
        """Return the ids of document ``index``, its leading separator included."""
        if not 0 <= index < self.document_count:
            raise IndexError(f"document {index} of {self.document_count}")
        part = int(np.searchsorted(self._document_ends, index, side="right")) - 1
        starts = self._document_starts(part)
        place = index - int(self._document_ends[part])
        if place + 1 < len(starts):
            end = int(starts[place + 1])
        else:
            end = int(self._token_ends[part + 1]) - (part == len(self._manifest.parts) - 1)
        return self.tokens(int(starts[place]), end)

    def documents(self) -> Iterator[Ids]:
        """Yield the ids of every document, its leading separator included, in order."""
        return (self.document(index) for index in range(self.document_count))

    def document_index_at(self, positions: Sequence[int] | Ids) -> Ids:
        """Return which document each position of the stream lies in; the last separator counts to the last.

        Args:
            positions: any shape, each 0 .. ``token_count - 1``.
        """
        places = np.asarray(positions, dtype=np.int64)
        if places.size and (places.min() < 0 or places.max() >= self.token_count):
            raise IndexError(f"positions outside 0 .. {self.token_count - 1}")
        found = np.empty(places.shape, dtype=np.int64)
        parts = np.searchsorted(self._token_ends, places, side="right") - 1
        for part in np.unique(parts):
            inside = parts == part
            order = np.searchsorted(self._document_starts(int(part)), places[inside], side="right") - 1
            found[inside] = self._document_ends[part] + order
        return found

    def _document_starts(self, part: int) -> Ids:
        """Return where the documents of a part start in the stream; the lists used last are kept."""
        starts = self._starts.pop(part, None)
        if starts is None:
            raw = np.fromfile(part_path(self._folder, part, "documents"), dtype="<i8")
            starts = raw.astype(np.int64) + self._token_ends[part]
        self._starts[part] = starts
        while len(self._starts) > OPEN_FILES:
            self._starts.popitem(last=False)
        return starts


class _Files:
    """Reads at an offset from the id files, keeping the last used ones open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, part: int, offset: int, size: int) -> bytes:
        with self._lock:
            handle = self._handle(part)
            os.lseek(handle, offset, os.SEEK_SET)
            data = os.read(handle, size)
            while len(data) < size and (more := os.read(handle, size - len(data))):
                data += more
        if len(data) != size:
            path = part_path(self._folder, part, "ids")
            raise DataError(tr(f"{path}: was cut while in use", f"{path}：在使用中被截断"))
        return data

    def _handle(self, part: int) -> int:
        if part in self._open:
            self._open.move_to_end(part)
            return self._open[part]
        while len(self._open) >= OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
        self._open[part] = os.open(part_path(self._folder, part, "ids"), flags)
        return self._open[part]

    def __del__(self) -> None:
        for handle in self._open.values():
            os.close(handle)
