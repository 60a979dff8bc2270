"""The 256 printable characters that stand for the 256 bytes in a byte-level vocabulary file (Radford et al.
2019, GPT-2).

A JSON file cannot hold a lone byte of a UTF-8 character, so GPT-2 writes every byte as one visible
character: the printable characters of Latin-1 stand for themselves, the other 68 bytes take the characters
from U+0100 on.
"""

from __future__ import annotations


def _alphabet() -> tuple[str, ...]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(hidden)) for byte in range(256))


BYTE_CHARACTERS = _alphabet()
"""``BYTE_CHARACTERS[b]`` is the character written for byte ``b``."""

_BYTE_OF = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}


def bytes_to_characters(piece: bytes) -> str:
    """Return ``piece`` as it is written in a vocabulary file, for example ``b" a"`` as ``"Ġa"``."""
    return "".join(BYTE_CHARACTERS[byte] for byte in piece)


def characters_to_bytes(token: str) -> bytes:
    """Return the bytes of a vocabulary entry.

    Raises:
        KeyError: a character of ``token`` is not one of the 256.
    """
    return bytes(_BYTE_OF[character] for character in token)
