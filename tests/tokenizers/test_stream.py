"""The streaming decoder: its pieces joined are the one-shot decoding; none is half a character."""

from __future__ import annotations

import random

from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.pieces import PieceTokenizer
from zhixing.tokenizers.stream import StreamDecoder

MATERIAL = [text.encode() for text in ("知", "行", "é", "🙂", "👩‍👩‍👧", "a", " ", "ก", "\u0301", "<|end|>")]


def streamed(tokenizer: PieceTokenizer, ids: list[int]) -> str:
    decoder = StreamDecoder(tokenizer)
    return "".join(map(decoder.push, ids)) + decoder.finish()


def broken_bytes(draw: random.Random, parts: int) -> bytes:
    chosen = [draw.choice(MATERIAL) if draw.random() < 0.6 else draw.randbytes(1) for _ in range(parts)]
    return b"".join(part[draw.random() < 0.05 :] for part in chosen)


def test_a_hundred_thousand_good_and_bad_pieces_in_one_stream() -> None:
    data = broken_bytes(random.Random(0), 100_000)
    assert streamed(ByteTokenizer(), list(data)) == data.decode("utf-8", errors="replace")


def test_many_short_streams_of_good_and_bad_bytes() -> None:
    draw, tokenizer = random.Random(1), ByteTokenizer()
    for _ in range(20_000):
        data = broken_bytes(draw, draw.randrange(5))[: draw.randrange(1, 12)]
        assert streamed(tokenizer, list(data)) == data.decode("utf-8", errors="replace")


def test_random_ids_of_a_trained_tokenizer(bpe: BpeTokenizer) -> None:
    draw = random.Random(1)
    for _ in range(2000):
        ids = [draw.randrange(bpe.vocab_size) for _ in range(12)]
        assert streamed(bpe, ids) == bpe.decode(ids)


def test_a_character_appears_when_it_is_whole() -> None:
    decoder = StreamDecoder(ByteTokenizer())
    assert [decoder.push(byte) for byte in "知a".encode()] == ["", "", "知", "a"]
    assert [decoder.push(byte) for byte in b"\xe7\x9fa"] == ["", "", "\ufffda"]
    assert decoder.push(0xF0) == ""
    assert decoder.finish() == "\ufffd"
    assert decoder.push(97) + decoder.finish() == "a"


def test_special_ids_show_nothing_and_do_not_break_a_character() -> None:
    tokenizer = ByteTokenizer()
    first, *rest = "知".encode()
    assert streamed(tokenizer, [first, tokenizer.separator_id, *rest]) == "知"
