"""One id per byte."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from zhixing.tokenizers.bytes import ByteTokenizer


def test_ids_are_bytes() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode("a知") == [97, 0xE7, 0x9F, 0xA5]
    assert (tokenizer.vocab_size, tokenizer.separator_id) == (261, 256)


def test_the_library_gives_the_same_ids(tmp_path: Path) -> None:
    ByteTokenizer().save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "知行 <x> \n\t\x00 é🙂"
    assert library.encode(text).ids == ByteTokenizer().encode(text)
    assert library.decode(ByteTokenizer().encode(text)) == text
