"""What every tokenizer promises, held against each of them."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zhixing.errors import DataError
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.pieces import PieceTokenizer
from zhixing.tokenizers.protocol import SEPARATOR, Tokenizer
from zhixing.tokenizers.specials import SPECIAL_TOKENS

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
FRAGMENTS = st.lists(
    st.one_of(
        UNICODE,
        st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "  ", "\n\n", "知行", "👩‍👩‍👧", "\x00", "\ufeff", "'ſ"]),
    )
).map("".join)
PER_TOKENIZER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_it_is_a_tokenizer(tokenizer: PieceTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.special_ids == {tokenizer.special_id(token) for token in SPECIAL_TOKENS}
    assert tokenizer.separator_id == tokenizer.special_id(SEPARATOR)
    assert max(tokenizer.special_ids) == tokenizer.vocab_size - 1
    assert tokenizer.special_id("<|other|>") is None


@PER_TOKENIZER
@given(text=FRAGMENTS)
def test_round_trip_is_exact_and_no_special_id_appears(tokenizer: PieceTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not tokenizer.special_ids & set(ids)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode("utf-8")
    assert tokenizer.encode_batch([text])[0].tolist() == ids


@PER_TOKENIZER
@given(ids=st.lists(st.integers(0, 399), max_size=40))
def test_any_ids_decode_as_their_bytes_do(tokenizer: PieceTokenizer, ids: list[int]) -> None:
    ids = [index % tokenizer.vocab_size for index in ids]
    expected = b"".join(map(tokenizer.token_bytes, ids)).decode("utf-8", errors="replace")
    assert tokenizer.decode(ids) == expected


def test_ids_below_256_are_the_bytes(tokenizer: PieceTokenizer) -> None:
    assert [tokenizer.token_bytes(byte) for byte in range(256)] == [bytes([byte]) for byte in range(256)]


def test_special_ids_decode_to_nothing(tokenizer: PieceTokenizer) -> None:
    ids = tokenizer.encode("知")
    assert tokenizer.decode([*ids, tokenizer.separator_id, *ids]) == "知知"
    assert tokenizer.token_bytes(tokenizer.separator_id) == b""


def test_a_large_batch_equals_single_texts(tokenizer: PieceTokenizer, texts: list[str]) -> None:
    batch = tokenizer.encode_batch(texts)
    assert all(ids.dtype == np.int64 for ids in batch)
    assert [ids.tolist() for ids in batch[:4]] == [tokenizer.encode(text) for text in texts[:4]]
    assert tokenizer.decode(batch[0].tolist()) == texts[0]


def test_half_a_surrogate_pair_is_refused(tokenizer: PieceTokenizer) -> None:
    with pytest.raises(DataError, match=r"character 3 .*U\+D83D"):
        tokenizer.encode("ab\ud83d")
    with pytest.raises(DataError, match="surrogate"):
        tokenizer.encode_batch(["\udc00"])


@pytest.mark.parametrize("wrong", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer: PieceTokenizer, wrong: int) -> None:
    with pytest.raises(DataError, match=f"id {wrong} is not in this vocabulary"):
        tokenizer.decode([0, wrong])
    with pytest.raises(DataError, match="not in this vocabulary"):
        tokenizer.token_bytes(wrong)


def test_saved_and_loaded_it_is_the_same(tokenizer: PieceTokenizer, tmp_path: Path, texts: list[str]) -> None:
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(tokenizer)
    assert (again.kind, again.fingerprint) == (tokenizer.kind, tokenizer.fingerprint)
    assert (again.vocab_size, again.special_tokens) == (tokenizer.vocab_size, tokenizer.special_tokens)
    assert again.encode(texts[0]) == tokenizer.encode(texts[0])
    again.save(tmp_path / "second")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        first, second = ((folder / name).read_bytes() for folder in (tmp_path, tmp_path / "second"))
        assert json.loads(first) == json.loads(second)


def test_another_process_can_be_handed_a_copy(tokenizer: PieceTokenizer) -> None:
    ids = tokenizer.encode("warm 知行 <|end|>")
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode("warm 知行 <|end|>") == ids


def test_random_unicode_of_every_plane(tokenizer: PieceTokenizer) -> None:
    draw = random.Random(0)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    text = "".join(map(chr, draw.sample(points, 20_000)))
    assert tokenizer.decode(tokenizer.encode(text)) == text
