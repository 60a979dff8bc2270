"""Exact duplicates in flat memory: a set of digests first, a temporary SQLite table when there are many."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

IN_MEMORY = 100_000
"""Digests held as a Python set (about 10 MB) before the table on disk takes over."""


class SeenDigests:
    """The digests met so far. A context manager: the table on disk, if there is one, goes with it."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._limit = in_memory
        self._recent: set[bytes] = set()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._table: sqlite3.Connection | None = None

    def add(self, digest: bytes) -> bool:
        """Remember ``digest``; return False if it was known already."""
        if digest in self:
            return False
        self._recent.add(digest)
        if len(self._recent) >= self._limit:
            self._spill()
        return True

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._recent or self._on_disk(digest)

    def _on_disk(self, digest: bytes) -> bool:
        if self._table is None:
            return False
        found = self._table.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone()
        return found is not None

    def _spill(self) -> None:
        if self._table is None:
            self._folder = tempfile.TemporaryDirectory(prefix="zhixing-digests-")
            path = Path(self._folder.name) / "seen.sqlite"
            self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._table.execute("PRAGMA journal_mode = OFF")
            self._table.execute("PRAGMA synchronous = OFF")
            self._table.execute("PRAGMA cache_size = -16384")
            self._table.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._table.execute("BEGIN")
        self._table.executemany("INSERT INTO seen VALUES (?)", ((digest,) for digest in sorted(self._recent)))
        self._table.execute("COMMIT")
        self._recent.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._table is not None:
            self._table.close()
        if self._folder is not None:
            self._folder.cleanup()
