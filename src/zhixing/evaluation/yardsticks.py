"""What general compressors make of the same held-out text: a floor that any language model has to beat.

A compressor's size in bits over the text's bytes is its bits per byte, comparable with a model's (Shannon:
the best code for a text is as long as the best model's loss). ``xz -9`` sees the held-out text alone, all
documents as one stream joined by newlines; the variant "after the training text" is given what the models
were given, up to its 64 MiB window.
"""

from __future__ import annotations

import logging
import lzma
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zhixing.errors import DataError
from zhixing.language import tr

_XZ_WINDOW = 64 * 2**20
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Yardstick:
    """What compressor ``name`` did: ``compressed`` bytes for ``text_bytes`` bytes, in ``seconds``."""

    name: str
    compressed: int
    text_bytes: int
    documents: int
    seconds: float

    @property
    def bits_per_byte(self) -> float:
        """Compressed bits for one byte of text (the joining newlines are paid for, but not counted)."""
        return 8 * self.compressed / self.text_bytes


def xz(texts: Iterable[str]) -> Yardstick:
    """Return what ``xz -9`` needs for the texts, its container included.

    Raises:
        DataError: there is no text.
    """
    return _measure("xz -9", list(texts), xz_size)


def deflate(texts: Iterable[str]) -> Yardstick:
    """Return what zlib at level 9 needs for the texts.

    Raises:
        DataError: there is no text.
    """
    return _measure("zlib -9", list(texts), lambda data: len(zlib.compress(data, 9)))


def xz_after_training(texts: Iterable[str], training_texts: Iterable[str]) -> Yardstick:
    """Return what ``xz -9`` needs for the texts beyond what it needs for the training texts before them.

    Its window holds 64 MiB: of a longer training text only the end can help, and only the end is given.
    """
    before = _joined(training_texts)
    held_out = list(texts)
    room = _XZ_WINDOW - sum(len(text.encode("utf-8")) + 1 for text in held_out)
    if len(before) > max(room, 0):
        _log.info(
            tr(
                f"xz sees the last {max(room, 0):,} of {len(before):,} bytes of training text (its window)",
                f"xz 只能看到训练文本 {len(before):,} 字节中的最后 {max(room, 0):,} 字节（窗口所限）",
            )
        )
        before = before[len(before) - max(room, 0) :]
    prefix = before + b"\n"
    return _measure("xz -9 after the training text", held_out, lambda data: xz_size(prefix + data) - xz_size(prefix))


def xz_size(data: bytes) -> int:
    """Return the length of ``data`` compressed as ``xz -9`` does it.

    The window is no longer than the data needs: the same size to the byte, without 674 MiB of memory for a
    small text.
    """
    window = min(_XZ_WINDOW, max(4096, 1 << (len(data) - 1).bit_length()))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": window}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=filters))


def _joined(texts: Iterable[str]) -> bytes:
    return "\n".join(texts).encode("utf-8")


def _measure(name: str, texts: list[str], size: Callable[[bytes], int]) -> Yardstick:
    text_bytes = sum(len(text.encode("utf-8")) for text in texts)
    if not text_bytes:
        raise DataError(
            tr(
                "there is no held-out text to compress: give at least one document with text",
                "没有可供压缩的留出文本：请至少提供一篇有内容的文档",
            )
        )
    started = time.perf_counter()
    compressed = size(_joined(texts))
    return Yardstick(name, compressed, text_bytes, len(texts), time.perf_counter() - started)
