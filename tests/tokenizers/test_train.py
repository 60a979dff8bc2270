"""Training: deterministic, bounded, and plain about what it could not do."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from zhixing.errors import ConfigError, DataError
from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.sample import stretches, take_sample
from zhixing.tokenizers.specials import MASK
from zhixing.tokenizers.train import SMALLEST, TokenizerSettings, train_tokenizer


def test_equal_text_gives_an_equal_tokenizer(bpe: BpeTokenizer, texts: list[str]) -> None:
    again = train_tokenizer(TokenizerSettings(vocab_size=1024), iter(texts))
    assert again.fingerprint == bpe.fingerprint
    assert again.vocab_size == 1024


def test_a_size_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match=rf"vocab_size = {SMALLEST - 1}: at least {SMALLEST}"):
        train_tokenizer(TokenizerSettings(vocab_size=SMALLEST - 1), ["text"])


def test_wordpiece_needs_its_bytes_twice() -> None:
    with pytest.raises(ConfigError, match=r"vocab_size = 516: at least 517 are needed \(512 bytes and 5 special"):
        train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=516), ["text"])
    assert train_tokenizer(TokenizerSettings(kind="wordpiece", vocab_size=517), ["text"]).vocab_size == 517


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "character"])
def test_no_text_is_refused(kind: str) -> None:
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(TokenizerSettings(kind=kind), [])


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
@pytest.mark.parametrize("texts", [["x"], ["\x00"], [" "], ["#"], ["知"], ["\n\n\n"], ["a" * 10_000]])
def test_the_smallest_texts_will_do(kind: str, texts: list[str]) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(kind=kind, vocab_size=600), texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_too_little_text_gives_a_smaller_vocabulary_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=4000), ["low low lower lowest newest newest widest"])
    assert SMALLEST < tokenizer.vocab_size < 300
    assert f"the vocabulary has {tokenizer.vocab_size}" in caplog.text


def test_long_runs_of_chinese_are_cut_while_learning() -> None:
    text = "甲乙丙丁" * 40
    assert max(map(len, stretches([text], 16))) == 16
    assert "".join(stretches([text + " abc " + text], 16)) == text + " abc " + text
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=2000, longest_run=4), [text, text])
    longest = max(len(tokenizer.token_bytes(index)) for index in range(tokenizer.vocab_size))
    assert longest <= 4 * 3


def test_no_token_is_longer_than_asked(texts: list[str]) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=600, max_token_bytes=8), [*texts[:3], "=" * 5000])
    assert max(len(tokenizer.token_bytes(index)) for index in range(tokenizer.vocab_size)) <= 8


def test_the_sample_keeps_its_limits_and_comes_from_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    corpus = [f"{number:06d}" * 200 for number in range(1000)]
    sample = take_sample(corpus, sample_bytes=120_000, memory_bytes=1e12)
    assert 110_000 < sample.utf8_bytes <= 120_000
    assert sample.corpus_bytes == 1_200_000
    numbers = sorted(int(text[:6]) for text in sample.texts)
    assert numbers[10] < 300
    assert numbers[-10] > 700
    assert take_sample(corpus, 120_000, 1e12) == sample
    with caplog.at_level(logging.INFO):
        train_tokenizer(TokenizerSettings(vocab_size=300, sample_bytes=120_000), corpus)
    assert "a sample of 0.1 MB of 1.2 MB" in caplog.text


def test_chinese_text_counts_for_the_memory_it_takes() -> None:
    chinese, english = ["知行合一" * 1000], ["know" * 3000]
    assert take_sample(chinese, 10**9, 1e12).memory_bytes > 8 * take_sample(english, 10**9, 1e12).memory_bytes
    assert take_sample(["知行合一" * 100] * 100, 10**9, memory_bytes=200_000).memory_bytes <= 200_000


def test_the_other_kinds(texts: list[str]) -> None:
    assert train_tokenizer(TokenizerSettings(kind="byte"), []).vocab_size == 261
    tokenizer = train_tokenizer(TokenizerSettings(kind="character", vocab_size=300), texts)
    assert (tokenizer.kind, tokenizer.vocab_size) == ("character", 300)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "byte", "character"])
def test_extra_special_tokens_come_last_and_are_kept(kind: str, texts: list[str], tmp_path: Path) -> None:
    settings = TokenizerSettings(kind=kind, vocab_size=600)
    plain, masked = train_tokenizer(settings, texts), train_tokenizer(settings, texts, (MASK,))
    assert masked.special_id(MASK) == masked.vocab_size - 1 and masked.named_tokens["mask_token"] == MASK
    assert plain.special_id(MASK) is None and "mask_token" not in plain.named_tokens
    assert MASK not in masked.decode(range(masked.vocab_size)) and masked.takes_blanks_before(MASK)
    assert masked.special_id(MASK) not in masked.encode(f"typed {MASK} by a user")
    masked.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(masked) and again.fingerprint == masked.fingerprint != plain.fingerprint
    assert again.encode(texts[0]) == masked.encode(texts[0]) and again.special_tokens == masked.special_tokens
