"""The bytes of a file, decompressed, in chunks, never more than the caps allow.

zstd is read through Arrow rather than ``zstandard``, whose stream reader ends silently where a file was cut.
"""

from __future__ import annotations

import gzip
import importlib
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

from zhixing.corpus.document import BrokenFileError
from zhixing.corpus.find import InputFile
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import MIB, TextSettings
from zhixing.errors import MissingExtraError
from zhixing.language import tr

CHUNK = 1 * MIB
FREE_EXPANSION = 16 * MIB
"""Decompressed bytes below which the compression ratio is not judged: tiny files may be very repetitive."""


def chunks(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[bytes]:
    """Yield the decompressed bytes of ``file``, at most ``CHUNK`` at a time; the report counts its own bytes.

    Raises:
        BrokenFileError: the file cannot be opened, is cut or damaged, or expands beyond a cap.
    """
    try:
        with open(file.path, "rb") as raw:
            stream = _decompressed(raw, file)
            size, counted, total = raw.seek(0, 2), 0, 0
            raw.seek(0)
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if file.compression:
                    check_expansion(file.path, total, size, settings)
                report.file_bytes += raw.tell() - counted
                counted = raw.tell()
                yield chunk
    except (EOFError, zlib.error, OSError) as error:
        raise BrokenFileError(file.path, _damage(file, error)) from error


def check_expansion(path: str, total: int, size: int, settings: TextSettings) -> None:
    """Stop a file of ``size`` bytes that has expanded to ``total`` bytes if the caps allow no more."""
    too_dense = total > max(FREE_EXPANSION, settings.max_compression_ratio * size)
    if too_dense or total > settings.max_decompressed_bytes:
        cap = "max_compression_ratio" if too_dense else "max_decompressed_bytes"
        raise BrokenFileError(
            path,
            tr(
                f"stopped after {total:,} decompressed bytes from a file of {size:,} bytes, "
                f"more than {cap} allows; if the file is to be trusted, raise {cap}",
                f"{size:,} 字节的文件已解压出 {total:,} 字节，超过 {cap}，已停止；若文件可信，请调大 {cap}",
            ),
        )


@contextmanager
def seekable(file: InputFile, settings: TextSettings, report: ReadReport) -> Iterator[IO[bytes]]:
    """Open a file that is read out of order; a compressed one is first expanded into a temporary file."""
    if not file.compression:
        with open(file.path, "rb") as raw:
            report.file_bytes += raw.seek(0, 2)
            raw.seek(0)
            yield raw
        return
    with tempfile.TemporaryFile() as expanded:
        for chunk in chunks(file, settings, report):
            expanded.write(chunk)
        expanded.seek(0)
        yield expanded


def load_arrow(purpose: str, module: str = "pyarrow") -> Any:
    """Return a module of the optional library pyarrow, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", purpose) from error


def _decompressed(raw: BinaryIO, file: InputFile) -> Any:
    if file.compression == "gzip":
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if file.compression == "zstd":
        arrow = load_arrow(tr("reading .zst files", "读取 .zst 文件"))
        return arrow.CompressedInputStream(arrow.PythonFile(raw, "r"), "zstd")
    return raw


def _damage(file: InputFile, error: Exception) -> str:
    if file.compression and not getattr(error, "errno", None):
        return tr(
            f"the compressed file is cut or damaged ({error}); copy it again or leave it out",
            f"压缩文件不完整或已损坏（{error}）；请重新复制或将其移除",
        )
    reason = getattr(error, "strerror", None) or str(error)
    return tr(f"cannot be read: {reason}", f"无法读取：{reason}")
