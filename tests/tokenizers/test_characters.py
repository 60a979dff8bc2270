"""Characters with bytes to fall back on."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from zhixing.tokenizers.characters import CharacterTokenizer


def test_the_most_frequent_characters_get_ids_and_ascii_is_its_byte() -> None:
    tokenizer = CharacterTokenizer.train(["行行行知知a", "é"], vocab_size=256 + 5 + 2)
    assert tokenizer.encode("a行知") == [97, 256, 257]
    assert tokenizer.encode("é") == list("é".encode())
    assert tokenizer.vocab_size == 263


def test_known_and_unknown_characters_mix() -> None:
    tokenizer = CharacterTokenizer(["知", "行"])
    assert tokenizer.encode("x知é行🙂\x7f") == [120, 256, *"é".encode(), 257, *"🙂".encode(), 127]


def test_rare_characters_are_left_to_their_bytes() -> None:
    assert CharacterTokenizer.train(["知知行"], 1000, min_frequency=2).vocab_size == 256 + 1 + 5


def test_the_library_gives_the_same_ids(characters: CharacterTokenizer, tmp_path: Path, texts: list[str]) -> None:
    characters.save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in ("知行合一 é 🙂 <0x41> ▁ abc\n", texts[0][:5000], texts[-1]):
        assert library.encode(text).ids == characters.encode(text)
        assert library.decode(characters.encode(text)) == text
