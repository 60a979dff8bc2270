"""Enough of Protocol Buffers to read a SentencePiece file: a message is a row of numbered fields.

Each field begins with a number that holds its key and how long it is (Google, "Protocol Buffers: Encoding").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_LONGEST_VARINT = 10


class Message:
    """The fields of one message: of each number all values, in order."""

    def __init__(self, data: bytes) -> None:
        """Read ``data``; ValueError says what is wrong with it."""
        self._fields: dict[int, list[Any]] = {}
        for number, value in _fields(data):
            self._fields.setdefault(number, []).append(value)

    def messages(self, number: int) -> Iterator[Message]:
        """Yield the messages of a repeated field."""
        return (Message(_of_type(value, bytes)) for value in self._fields.get(number, ()))

    def message(self, number: int) -> Message:
        """Return one message; an empty one where it is absent."""
        return next(self.messages(number), Message(b""))

    def text(self, number: int, default: str = "") -> str:
        """Return a string."""
        value = self._last(number)
        return default if value is None else _of_type(value, bytes).decode("utf-8")

    def data(self, number: int) -> bytes:
        """Return bytes; none where they are absent."""
        value = self._last(number)
        return b"" if value is None else _of_type(value, bytes)

    def integer(self, number: int, default: int) -> int:
        """Return a signed number of 32 bits, an enumeration or a truth value."""
        value = self._last(number)
        if value is None:
            return default
        low = _of_type(value, int) & 0xFFFFFFFF
        return int(low - (1 << 32) if low >> 31 else low)

    def single(self, number: int, default: float = 0.0) -> float:
        """Return a floating-point number of 32 bits."""
        value = self._last(number)
        return default if value is None else float(_of_type(value, float))

    def _last(self, number: int) -> Any:
        return self._fields.get(number, [None])[-1]


def _of_type(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"a field holds {type(value).__name__}, not {kind.__name__}")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(data, place)
        elif kind in (_FOUR, _EIGHT):
            size = 4 if kind == _FOUR else 8
        else:
            raise ValueError(f"byte {place}: wire type {kind}")
        if place + size > len(data):
            raise ValueError(f"byte {place}: {size} bytes announced, {len(data) - place} there")
        raw = data[place : place + size]
        yield number, raw if kind == _BYTES else struct.unpack("<f" if kind == _FOUR else "<d", raw)[0]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number written in groups of seven bits, the lowest first, and the place behind it."""
    value = 0
    for index, byte in enumerate(data[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise ValueError(f"byte {place}: a number without end")
