"""Unigram training: the likelihood never falls, equal text gives equal pieces, which cut as well as the library's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tokenizers

from zhixing.tokenizers.layout import GPT2_PATTERN
from zhixing.tokenizers.pieces import PieceTokenizer
from zhixing.tokenizers.sample import stretches
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer
from zhixing.tokenizers.unigram import UnigramTokenizer
from zhixing.tokenizers.unigram_lattice import BYTES
from zhixing.tokenizers.unigram_seeds import seed_lattice
from zhixing.tokenizers.unigram_training import em_step, log_shares, pruned
from zhixing.tokenizers.words import count_words


def tokens(tokenizer: PieceTokenizer, texts: list[str]) -> int:
    return sum(map(len, tokenizer.encode_batch(texts)))


def test_the_likelihood_never_falls_on_real_text(texts: list[str]) -> None:
    words = count_words(texts[:4], GPT2_PATTERN)
    lattice, counts = seed_lattice(words, 16, 2, 20_000)
    log_probability, values = log_shares(np.maximum(counts, 1e-3)), []
    for _ in range(8):
        log_probability, log_likelihood = em_step(lattice, log_probability)
        values.append(log_likelihood)
        assert np.exp(log_probability).sum() == pytest.approx(1)
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0] + 1000


def test_pruning_keeps_the_bytes_and_the_number_asked_for(texts: list[str]) -> None:
    words = count_words(texts[:2], GPT2_PATTERN)
    lattice, counts = seed_lattice(words, 16, 2, 5000)
    smaller, log_probability = pruned(lattice, log_shares(np.maximum(counts, 1e-3)), 300)
    assert smaller.pieces[:BYTES] == tuple(bytes([byte]) for byte in range(BYTES))
    assert len(smaller.pieces) == len(log_probability) == BYTES + 300
    assert np.exp(log_probability).sum() == pytest.approx(1)


def test_equal_text_gives_an_equal_tokenizer(unigram: UnigramTokenizer, texts: list[str]) -> None:
    again = train_tokenizer(TokenizerSettings(kind="unigram", vocab_size=1024), iter(texts))
    assert (again.fingerprint, again.vocab_size) == (unigram.fingerprint, 1024)


def test_no_piece_is_longer_than_asked(texts: list[str]) -> None:
    settings = TokenizerSettings(kind="unigram", vocab_size=600, max_token_bytes=6)
    tokenizer = train_tokenizer(settings, [*texts[:3], "=" * 5000])
    assert max(len(tokenizer.token_bytes(index)) for index in range(tokenizer.vocab_size)) == 6


def test_whole_characters_become_pieces(unigram: UnigramTokenizer) -> None:
    pieces = [unigram.token_bytes(index) for index in range(unigram.vocab_size)]
    texts = [piece.decode("utf-8") for piece in pieces[BYTES:]]  # none ends inside a character
    assert any(len(text) > 1 and text[0] >= "一" for text in texts)


def test_it_compresses_as_well_as_the_librarys_trainer(texts: list[str], unigram: UnigramTokenizer) -> None:
    library = tokenizers.Tokenizer(tokenizers.models.Unigram())
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.UnigramTrainer(vocab_size=1019, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(stretches(texts, 16), trainer)
    theirs = sum(len(library.encode(text, add_special_tokens=False).ids) for text in texts)
    assert tokens(unigram, texts) < 1.03 * theirs


def test_it_compresses_as_well_as_sentencepiece(texts: list[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "their"), vocab_size=2000, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, max_sentence_length=100_000,
        minloglevel=2, num_threads=1, unk_id=0, bos_id=-1, eos_id=-1, pad_id=-1,
    )  # fmt: skip
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "their.model"))
    lines = [line for text in texts for line in text.split("\n") if line]
    ours = train_tokenizer(TokenizerSettings(kind="unigram", vocab_size=2004), texts)
    assert tokens(ours, lines) < 1.05 * sum(map(len, theirs.encode(lines)))
