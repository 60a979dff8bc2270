"""Files and folders that are whole or absent: written beside their place, flushed to the disk, then renamed.

A rename within one file system is atomic (POSIX ``rename``), but only what was flushed before it survives
a loss of power: hence file, then folder, then rename, then the parent folder. Failures are plain ``OSError``;
whatever was written by then is removed, and what stood there before still stands.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

Content = bytes | str | Callable[[Path], None]
"""What goes into a file: bytes, text (written as UTF-8), or a function that writes at a given path."""

TEMPORARY_MARK = ".tmp-"


def temporary_beside(path: Path) -> Path:
    """Return an unused name in the same folder, marked as temporary (``NAME.tmp-1a2b3c4d``)."""
    return path.with_name(f"{path.name}{TEMPORARY_MARK}{secrets.token_hex(4)}")


def write_flushed(path: Path, content: Content) -> None:
    """Write one file and flush it to the disk. The file is not atomic by itself: see ``replace_file``."""
    if callable(content):
        content(path)
        descriptor = os.open(path, os.O_RDONLY)
    else:
        data = memoryview(content.encode() if isinstance(content, str) else content)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        if not callable(content):
            while data:
                data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(path: Path) -> None:
    """Flush a folder's list of names to the disk, so that files made or renamed in it stay so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: Content) -> None:
    """Put ``content`` at ``path``: after any kill the file is the old or the new one, never torn."""
    temporary = temporary_beside(path)
    try:
        write_flushed(temporary, content)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def commit_folder(path: Path, fill: Callable[[Path], None], *, replace: bool = False) -> None:
    """Make a folder that is whole or absent.

    Args:
        path: its final place.
        fill: writes and flushes the files into the temporary folder it is given.
        replace: put it in the place of a folder that stands there. Between the two renames a kill leaves the
            old one beside, under a temporary name; it is not lost.

    Raises:
        FileExistsError: something stands at ``path`` and ``replace`` is false.
        OSError: the disk is full, a write failed, ...; nothing has changed.
    """
    if not replace and (path.is_symlink() or path.exists()):
        raise FileExistsError(f"{path} exists")
    temporary = temporary_beside(path)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        for folder in sorted({file.parent for file in temporary.rglob("*")} | {temporary}, reverse=True):
            flush_folder(folder)
        _move_in(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder so that a kill at any moment leaves it whole or under a temporary name, never half."""
    trash = temporary_beside(path)
    os.rename(path, trash)
    shutil.rmtree(trash)


def _move_in(temporary: Path, path: Path) -> None:
    previous = temporary_beside(path) if path.exists() else None
    if previous is not None:
        os.rename(path, previous)
    moved = False
    try:
        os.rename(temporary, path)
        moved = True
        flush_folder(path.parent)
    except BaseException:
        # Undo, so that a failed commit is not taken for one that happened.
        if moved:
            os.rename(path, temporary)
        if previous is not None:
            os.rename(previous, path)
        raise
    if previous is not None:
        shutil.rmtree(previous, ignore_errors=True)
