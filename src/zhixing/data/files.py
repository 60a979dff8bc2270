"""Files that appear whole or not at all: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zhixing.errors import DataError, ZhixingError
from zhixing.language import tr

TEMPORARY = ".tmp"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the name ``path`` only after all of it is on disk; on an error nothing is left.

    Raises:
        ZhixingError: the disk is full or refuses the writing.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise ZhixingError(_refused(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents where they are missing.

    Raises:
        ZhixingError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZhixingError(_refused(folder, error)) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hexadecimal) of a file, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; released by the system if the process dies. No lock on Windows.

    Raises:
        DataError: another process is preparing it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(folder / ".lock", "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                tr(
                    f"{folder}: another process is preparing these shards; wait for it to end",
                    f"{folder}：另一个进程正在准备这些分片；请等它结束",
                )
            ) from error
        yield


def _refused(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return tr(
            f"{path}: the disk is full; finished parts are kept: free some space and run the same again",
            f"{path}：磁盘空间不足；已完成的部分会保留：请腾出空间后重新运行同一命令",
        )
    return tr(f"{path}: cannot be written: {error.strerror}", f"{path}：无法写入：{error.strerror}")
