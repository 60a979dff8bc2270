"""Words looked up one by one give the ids of the library, which sees the whole text."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhixing.tokenizers import library
from zhixing.tokenizers.library import LibraryTokenizer
from zhixing.tokenizers.unigram import UnigramTokenizer
from zhixing.tokenizers.wordpiece import WordPieceTokenizer


@pytest.fixture(params=["unigram", "wordpiece", "llama3_wordpiece"])
def trained(
    request: pytest.FixtureRequest,
    unigram: UnigramTokenizer,
    wordpiece: WordPieceTokenizer,
    llama3_wordpiece: WordPieceTokenizer,
) -> LibraryTokenizer:
    return {"unigram": unigram, "wordpiece": wordpiece, "llama3_wordpiece": llama3_wordpiece}[request.param]


def whole(tokenizer: LibraryTokenizer, text: str) -> list[int]:
    return list(tokenizer._backend.encode(text, add_special_tokens=False).ids)


def test_on_real_text(trained: LibraryTokenizer, texts: list[str]) -> None:
    for text in [*texts[:8], texts[-1]]:
        assert trained.encode(text) == whole(trained, text)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(
        st.sampled_from("#aeéïſs'  \t\n\r\x0b\x85\u2028\u3000<|>.,!_-=0123٣½知行語かカ한ёאक्🙂\u200d\u0301\ue000\x00")
    )
)
def test_on_awkward_text(trained: LibraryTokenizer, text: str) -> None:
    assert trained.encode(text) == whole(trained, text)


def test_code_points_of_every_script_are_cut_alike(trained: LibraryTokenizer) -> None:
    """Some that only a newer Unicode knows are among them: they go through the library."""
    points = [*range(0xD800), *range(0xE000, 0x33480)][::59]
    assert library._is_cut_differently(set(map(chr, points)))
    for begin in range(0, len(points), 20):
        text = " ".join(f"a{chr(point)}b" for point in points[begin : begin + 20])
        assert trained.encode(text) == whole(trained, text)


def test_on_random_pieces(trained: LibraryTokenizer) -> None:
    draw = random.Random(1)
    pieces = [trained.token_bytes(index).decode("utf-8", "ignore") for index in range(trained.vocab_size)]
    text = "".join(draw.choices(pieces, k=20_000))
    assert trained.encode(text) == whole(trained, text)


def test_what_is_remembered_has_a_limit(
    trained: LibraryTokenizer, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained.encode(texts[0])
    monkeypatch.setattr(library, "_REMEMBERED", 10)
    trained._known.clear()
    assert trained.encode(texts[0]) == expected
    assert len(trained._known) <= 10
    trained.encode("x" * 100)
    assert "x" * 100 not in trained._known
