"""WordPiece: the longest match, equal to the library's and to transformers' BERT; nothing is unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhixing.theory.tokenization import encode_wordpiece
from zhixing.tokenizers.byte_alphabet import bytes_to_characters
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.specials import SPECIAL_TOKENS
from zhixing.tokenizers.wordpiece import WordPieceTokenizer, from_pieces


def vocabulary(tokenizer: WordPieceTokenizer) -> dict[str, int]:
    return dict(tokenizer._document["model"]["vocab"])


def test_encoding_is_the_longest_match_of_the_formula(wordpiece: WordPieceTokenizer, texts: list[str]) -> None:
    vocab = vocabulary(wordpiece)
    library = tokenizers.Tokenizer.from_str(tokenizers.Tokenizer(tokenizers.models.BPE()).to_str())
    library.pre_tokenizer = wordpiece._backend.pre_tokenizer
    text = texts[2][:20_000] + texts[-1]
    words = [word for word, _ in library.pre_tokenizer.pre_tokenize_str(text)]
    expected = [vocab[piece] for word in words for piece in encode_wordpiece(word, vocab)]
    assert wordpiece.encode(text) == expected


def test_berts_own_tokenizer_finds_the_same_pieces(wordpiece: WordPieceTokenizer, texts: list[str]) -> None:
    pytest.importorskip("transformers")
    from transformers.models.bert.tokenization_bert_legacy import WordpieceTokenizer

    vocab = vocabulary(wordpiece)
    theirs = WordpieceTokenizer(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=200)
    words = [word for word, _ in wordpiece._backend.pre_tokenizer.pre_tokenize_str(texts[3][:20_000])]
    for word in words:
        text = bytes(wordpiece._backend.decoder.decode([word]).encode("utf-8"))
        assert bytes_to_characters(text) == word
    expected = [vocab[piece] for word in words for piece in theirs.tokenize(word)]
    assert wordpiece.encode(texts[3][:20_000]) == expected


def test_the_library_alone_gives_the_same_ids(wordpiece: WordPieceTokenizer, tmp_path: Path, texts: list[str]) -> None:
    wordpiece.save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (texts[1], texts[-1], "## a ##b # ### é 🙂 \x00 [UNK] Ġ##"):
        assert library.encode(text).ids == wordpiece.encode(text)
        assert library.decode(wordpiece.encode(text)) == text
    assert library.token_to_id("<|user|>") == wordpiece.special_id("<|user|>")
    assert library.get_vocab_size() == wordpiece.vocab_size


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("#ab .-_'Ġ\n知🙂"), max_size=60))
def test_the_mark_of_continuation_in_text_is_text(wordpiece: WordPieceTokenizer, text: str) -> None:
    assert wordpiece.decode(wordpiece.encode(text)) == text


def test_a_piece_that_continues_is_another_than_one_that_begins() -> None:
    tokenizer = from_pieces([(True, b"ab"), (False, b"ab")], pre_tokenizer_of("gpt2"))
    assert tokenizer.encode("abab") == [513, 512]
    assert tokenizer.encode("xab") == [ord("x"), 512]
    assert tokenizer.token_bytes(512) == tokenizer.token_bytes(513) == b"ab"


def pre_tokenizer_of(pattern: str):  # type: ignore[no-untyped-def]
    from zhixing.tokenizers.layout import wordpiece_pre_tokenizer

    return wordpiece_pre_tokenizer(pattern)


def test_special_tokens_are_the_last_ids_and_never_come_from_text(wordpiece: WordPieceTokenizer) -> None:
    ids = [wordpiece.special_id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(wordpiece.vocab_size - len(SPECIAL_TOKENS), wordpiece.vocab_size))
    assert not wordpiece.special_ids & set(wordpiece.encode("".join(SPECIAL_TOKENS) + "x<|endoftext|>"))


@pytest.mark.parametrize("text", ["x" * 100_000, "知行" * 50_000, "=" * 100_000, " " * 100_000, "#" * 100_000])
def test_text_without_a_place_to_cut_comes_back(
    wordpiece: WordPieceTokenizer, llama3_wordpiece: WordPieceTokenizer, text: str
) -> None:
    for tokenizer in (wordpiece, llama3_wordpiece):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_it_is_read_back_as_what_it_is(wordpiece: WordPieceTokenizer, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert isinstance(again, WordPieceTokenizer)
    assert again.encode("import # 知行") == wordpiece.encode("import # 知行")
