"""Documents to the parts of one folder of shards: encoded by several threads, resumable part by part.

The engines behind ``encode_batch`` release the interpreter lock, so threads suffice, and they work from any
script. Where a part ends depends only on the documents, never on timing or the number of threads. A finished
part leaves a record with a digest of its documents; when these come again, it is verified and kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zhixing.corpus.document import Document
from zhixing.data.files import TEMPORARY, make_folder, whole_file
from zhixing.data.manifest import KINDS, Manifest, Part, check_part, id_bytes, part_path
from zhixing.data.pairs import end_of_source
from zhixing.data.shards import Ids
from zhixing.errors import ZhixingError
from zhixing.language import tr
from zhixing.tokenizers.protocol import Tokenizer

_log = logging.getLogger(__name__)
PART_BYTES = 8 << 20
"""UTF-8 bytes of text in one part: what is lost by a kill, and what a thread holds in memory."""
BATCH_BYTES = 1 << 18
"""UTF-8 bytes of text encoded at a time."""
RECORD = "done"


class SplitWriter:
    """Writes one folder of shards; documents are added in order, ``close`` completes the folder."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, pool: ThreadPoolExecutor, waiting: int) -> None:
        self._folder = folder
        self._tokenizer = tokenizer
        self._pool = pool
        self._waiting = waiting
        self._held: list[Document] = []
        self._held_bytes = 0
        self._parts: list[Part] = []
        self._running: deque[Future[Part]] = deque()
        self.kept = 0
        make_folder(folder)

    def add(self, document: Document) -> None:
        """Add the next document; blocks while all threads are busy, so that memory stays bounded."""
        if self._held and self._held_bytes + document.utf8_bytes > PART_BYTES:
            self._submit(last=False)
        self._held.append(document)
        self._held_bytes += document.utf8_bytes

    def close(self) -> Manifest:
        """Wait for all parts, write and return the manifest, remove parts that do not belong."""
        if self._held:
            self._submit(last=True)
        while self._running:
            self._parts.append(self._running.popleft().result())
        tokenizer = self._tokenizer
        manifest = Manifest(tokenizer.vocab_size, tokenizer.separator_id, tokenizer.fingerprint, tuple(self._parts))
        manifest.save(self._folder)
        clear(self._folder, keep_parts=len(self._parts), keep_records=True)
        return manifest

    def _submit(self, last: bool) -> None:
        while len(self._running) >= self._waiting:
            self._parts.append(self._running.popleft().result())
        index = len(self._parts) + len(self._running)
        self._running.append(self._pool.submit(self._part, index, self._held, last))
        self._held, self._held_bytes = [], 0

    def _part(self, index: int, documents: list[Document], last: bool) -> Part:
        key = _key(documents, last)
        if part := _finished(self._folder, index, key):
            self.kept += 1
            return part
        part_path(self._folder, index, RECORD).unlink(missing_ok=True)
        part = _write(self._folder, index, documents, self._tokenizer, last)
        with whole_file(part_path(self._folder, index, RECORD)) as file:
            file.write(json.dumps({"key": key, "part": asdict(part)}).encode())
        return part


def clear(folder: Path, keep_parts: int = 0, keep_records: bool = False) -> None:
    """Remove what preparing left in ``folder`` beyond the first ``keep_parts`` parts, and no other files."""
    kept = (*KINDS, RECORD) if keep_records else KINDS
    for path in folder.glob("part-*.*"):
        number, _, ending = path.name.removeprefix("part-").partition(".")
        ours = number.isdigit() and ending.removesuffix(TEMPORARY) in (*KINDS, RECORD)
        if ours and (int(number) >= keep_parts or ending not in kept):
            path.unlink()


def _key(documents: Sequence[Document], last: bool) -> str:
    digests = b"".join(document.digest for document in documents)
    return hashlib.sha256(digests + bytes([last])).hexdigest()


def _finished(folder: Path, index: int, key: str) -> Part | None:
    """Return the part that a killed preparation finished, if it is of these documents and intact."""
    try:
        record = json.loads(part_path(folder, index, RECORD).read_text(encoding="utf-8"))
        part = Part(**record["part"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return part if record["key"] == key and not check_part(folder, index, part, digests=True) else None


def _write(folder: Path, index: int, documents: list[Document], tokenizer: Tokenizer, last: bool) -> Part:
    """Write the two files of a part: each document behind a separator; the last part ends with one more."""
    starts: list[int] = []
    place = 0
    separator = np.array([tokenizer.separator_id], dtype=np.int64)
    with whole_file(part_path(folder, index, "ids")) as file:
        ids_file = _Hashed(file)
        for batch in _batches(documents):
            for ids in _encoded(batch, tokenizer):
                starts.append(place)
                ids_file.write_ids(separator, tokenizer.vocab_size)
                ids_file.write_ids(ids, tokenizer.vocab_size)
                place += 1 + len(ids)
        if last:
            ids_file.write_ids(separator, tokenizer.vocab_size)
            place += 1
    with whole_file(part_path(folder, index, "documents")) as file:
        documents_file = _Hashed(file)
        documents_file.write(np.array(starts, dtype="<i8").tobytes())
    text_bytes = sum(document.utf8_bytes for document in documents)
    return Part(len(documents), place, text_bytes, *ids_file.summary, *documents_file.summary)


def _batches(documents: list[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += document.utf8_bytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encoded(documents: list[Document], tokenizer: Tokenizer) -> Iterator[Ids]:
    """Yield the ids of each document; of a pair source and target with the end of the source between them."""
    texts = [text for document in documents for text in document.texts]
    ids = iter(tokenizer.encode_batch(texts))
    for document in documents:
        parts = [next(ids) for _ in document.texts]
        for part in parts:
            _check_ids(part, tokenizer)
        if len(parts) == 1:
            yield parts[0]
        else:
            yield np.concatenate([parts[0], [end_of_source(tokenizer)], parts[1]])


def _check_ids(ids: np.typing.NDArray[np.int64], tokenizer: Tokenizer) -> None:
    """Stop if a tokenizer breaks its promise: an id out of range, or a separator made from text."""
    if len(ids) and (ids.min() < 0 or ids.max() >= tokenizer.vocab_size or (ids == tokenizer.separator_id).any()):
        raise ZhixingError(
            tr(
                "the tokenizer gave an id out of range or the separator's; its files do not fit together",
                "分词器产生了越界的编号或分隔符编号；其文件彼此不符",
            )
        )


class _Hashed:
    """Counts and digests what goes into a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._size += len(data)
        self._file.write(data)

    def write_ids(self, ids: np.typing.NDArray[np.int64], vocab_size: int) -> None:
        self.write(ids.astype(f"<u{id_bytes(vocab_size)}").tobytes())

    @property
    def summary(self) -> tuple[int, str]:
        return self._size, self._digest.hexdigest()
