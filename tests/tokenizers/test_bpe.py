"""Byte-level BPE: the two engines agree, and what one cannot hold goes to the other."""

from __future__ import annotations

import random

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhixing.tokenizers.bpe import BpeTokenizer, from_merges
from zhixing.tokenizers.layout import GPT2_PATTERN, LLAMA3_PATTERN, pre_tokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.specials import SPECIAL_TOKENS


def exact_ids(tokenizer: BpeTokenizer, text: str) -> list[int]:
    return list(tokenizer._exact.encode(text, add_special_tokens=False).ids)


@pytest.fixture(params=["gpt2", "llama3"])
def trained(request: pytest.FixtureRequest, bpe: BpeTokenizer, llama3_bpe: BpeTokenizer) -> BpeTokenizer:
    return {"gpt2": bpe, "llama3": llama3_bpe}[request.param]


def test_both_engines_agree_on_real_text(trained: BpeTokenizer, texts: list[str]) -> None:
    assert trained._fast is not None
    for text in texts[:12]:
        assert trained.encode(text) == exact_ids(trained, text)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(
        st.sampled_from("aeéïſs'  \t\n\r\x0b\x85\u2028\u3000<|>.,!_-=0123٣½知行語かカ한ёאक्🙂\u200d\u0301\ue000\x00")
    )
)
def test_both_engines_agree_on_awkward_text(trained: BpeTokenizer, text: str) -> None:
    assert trained.encode(text) == exact_ids(trained, text)


def test_both_engines_agree_on_large_random_text(trained: BpeTokenizer) -> None:
    draw = random.Random(1)
    pieces = [trained.token_bytes(index).decode("utf-8", "ignore") for index in range(trained.vocab_size)]
    text = "".join(draw.choices(pieces, k=60_000))
    assert trained.encode(text) == exact_ids(trained, text)


def test_every_code_point_is_cut_alike(trained: BpeTokenizer) -> None:
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    text = " ".join(f"a{chr(point)}b" for point in points[::31])
    assert trained.encode(text) == exact_ids(trained, text)


@pytest.mark.parametrize("blank", [" ", "\n"])
def test_endless_blanks_do_not_break_the_fast_engine(trained: BpeTokenizer, blank: str) -> None:
    text = "a" + blank * 400_000 + "b"  # tiktoken alone: a panic, written to standard error
    assert trained.decode(trained.encode(text)) == text


def test_runs_just_below_the_change_of_engine_agree(bpe: BpeTokenizer) -> None:
    text = "x" * 7 + " " * 39_000 + "y"
    assert bpe.encode(text) == bpe._fast.encode_ordinary(text) == exact_ids(bpe, text)  # type: ignore[union-attr]


def test_wide_blanks_count_as_blanks(bpe: BpeTokenizer) -> None:
    text = "a" + "\u3000" * 45_000 + "b"
    assert bpe.encode(text) == exact_ids(bpe, text)


def test_the_pattern_is_one_that_a_known_family_uses(bpe: BpeTokenizer, llama3_bpe: BpeTokenizer) -> None:
    assert (bpe.pattern, llama3_bpe.pattern) == (GPT2_PATTERN, LLAMA3_PATTERN)


def test_the_library_alone_gives_the_same_ids(bpe: BpeTokenizer, tmp_path, texts: list[str]) -> None:  # type: ignore[no-untyped-def]
    bpe.save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert library.encode(texts[1]).ids == bpe.encode(texts[1])
    assert library.decode(bpe.encode(texts[1])) == texts[1]
    assert library.token_to_id("<|user|>") == bpe.special_id("<|user|>")


def test_merges_that_ranks_cannot_express_go_to_the_exact_engine(tmp_path) -> None:  # type: ignore[no-untyped-def]
    # With a + b first, "abc" becomes ab + c, which no merge joins; by the rank of their union they would be.
    tokenizer = from_merges([(b"b", b"c"), (b"a", b"b"), (b"a", b"bc")], pre_tokenizer("gpt2"))
    assert tokenizer._fast is not None  # b + c comes first: a proper list
    wrong = from_merges([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc")], pre_tokenizer("gpt2"))
    assert wrong._fast is None
    assert [wrong.token_bytes(index) for index in wrong.encode("abc")] == [b"ab", b"c"]
    wrong.save(tmp_path)
    assert load_tokenizer(tmp_path).encode("abcabc") == wrong.encode("abcabc")


def test_special_tokens_are_the_last_ids(bpe: BpeTokenizer) -> None:
    ids = [bpe.special_id(token) for token in SPECIAL_TOKENS]
    assert ids == list(range(bpe.vocab_size - len(SPECIAL_TOKENS), bpe.vocab_size))


def test_special_tokens_in_text_are_text_in_both_engines(bpe: BpeTokenizer) -> None:
    text = "".join(SPECIAL_TOKENS) + "x<|endoftext|>"
    assert bpe.encode(text) == exact_ids(bpe, text)
    assert not bpe.special_ids & set(bpe.encode(text))
