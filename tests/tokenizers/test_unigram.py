"""The unigram tokenizer: the best cutting, the library's ids, hostile text."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import tokenizers

from zhixing.theory.tokenization import encode_unigram
from zhixing.tokenizers.layout import pre_tokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.specials import SPECIAL_TOKENS
from zhixing.tokenizers.unigram import UnigramTokenizer, from_pieces


@pytest.mark.parametrize("seed", range(10))
def test_encoding_is_the_best_cutting_by_the_formula(seed: int) -> None:
    draw = random.Random(seed)
    letters = "abcdefghij"
    probabilities = {bytes([byte]): 1e-6 for byte in range(256)} | {c.encode(): draw.random() + 0.1 for c in letters}
    words = ["".join(draw.sample(letters, 8)) for _ in range(30)]  # no letter twice: no two ways are equally good
    probabilities |= {
        word[a : a + draw.randint(2, 5)].encode(): draw.random() ** 2 + 1e-3 for word in words for a in range(5)
    }
    total = sum(probabilities.values())
    probabilities = {piece: q / total for piece, q in probabilities.items()}
    tokenizer = from_pieces([(p, math.log(q)) for p, q in probabilities.items()], pre_tokenizer("gpt2"))
    named = {piece.decode("latin-1"): q for piece, q in probabilities.items()}
    for word in words:
        pieces = [tokenizer.token_bytes(index).decode() for index in tokenizer.encode(word)]
        assert pieces == encode_unigram(word, named)


def test_the_library_alone_gives_the_same_ids(unigram: UnigramTokenizer, tmp_path: Path, texts: list[str]) -> None:
    unigram.save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (texts[1], texts[-1], "é 🙂 \x00 <0x41> ▁ Ġ"):
        assert library.encode(text).ids == unigram.encode(text)
        assert library.decode(unigram.encode(text)) == text
    assert library.token_to_id("<|user|>") == unigram.special_id("<|user|>")
    assert library.get_vocab_size() == unigram.vocab_size


def test_special_tokens_are_the_last_ids_and_never_come_from_text(unigram: UnigramTokenizer) -> None:
    ids = [unigram.special_id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(unigram.vocab_size - len(SPECIAL_TOKENS), unigram.vocab_size))
    assert not unigram.special_ids & set(unigram.encode("".join(SPECIAL_TOKENS) + "x<|endoftext|>"))


@pytest.mark.parametrize("text", ["x" * 100_000, "知行" * 50_000, "=" * 100_000, " " * 100_000, "a#" * 50_000])
def test_text_without_a_place_to_cut_comes_back(unigram: UnigramTokenizer, text: str) -> None:
    assert unigram.decode(unigram.encode(text)) == text


def test_it_is_read_back_as_what_it_is(unigram: UnigramTokenizer, tmp_path: Path) -> None:
    unigram.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, UnigramTokenizer)
    assert again.encode("import 知行") == unigram.encode("import 知行")
