"""Messages of Protocol Buffers, written here by hand."""

from __future__ import annotations

import struct

import pytest

from zhixing.tokenizers.protocol_buffers import Message


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value & (1 << 64) - 1)


def data(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def test_every_kind_of_field() -> None:
    inner = data(1, "知".encode()) + single(2, -1.5)
    message = Message(number(40, -1) + number(3, 300) + data(7, inner) + data(7, b"") + number(3, 2))
    assert (message.integer(40, 0), message.integer(3, 0), message.integer(5, 9)) == (-1, 2, 9)
    assert message.message(7).text(1) == "知" and message.message(7).single(2) == -1.5
    assert [one.text(1, "none") for one in message.messages(7)] == ["知", "none"]
    assert message.data(8) == b"" and list(message.messages(8)) == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\x0a\x05ab", "5 bytes announced, 2 there"),
        (b"\x80" * 11, "without end"),
        (b"\x0f", "wire type 7"),
        (b"\x0d\x00", "4 bytes announced"),
    ],
)
def test_damage_is_named(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Message(raw)


def test_a_field_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="not bytes"):
        Message(number(1, 5)).text(1)
