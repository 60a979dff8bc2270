"""Pairs in shards: what stands where, and the order in which they are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from zhixing.corpus.settings import TextSettings
from zhixing.data.pairs import POOL, LikeLengths, Pairs, end_of_source, find_pairs, holds_pairs
from zhixing.data.prepare import prepare
from zhixing.errors import DataError
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import TURN_END

TOKENIZER = ByteTokenizer()
ROWS = [("one", "一"), ("two <|end|>", "二<|endoftext|>"), ("x " * 9, "叉"), ("one", "壹"), (" lead", "trail ")]


def pairs_file(folder: Path, rows=ROWS) -> TextSettings:
    lines = [json.dumps({"en": source, "zh": target}, ensure_ascii=False) for source, target in rows]
    (folder / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return TextSettings(
        paths=(str(folder / "pairs.jsonl"),), source_field="en", target_field="zh", validation_fraction=0.0
    )


def test_pairs_come_back_as_they_were_even_where_text_spells_special_tokens(tmp_path: Path) -> None:
    shards = prepare(pairs_file(tmp_path), TOKENIZER, tmp_path / "out").train
    assert holds_pairs(shards, TOKENIZER)
    found = find_pairs(shards, TOKENIZER)
    read = [tuple(TOKENIZER.decode(part.tolist()) for part in found.ids(shards, n)) for n in range(len(found))]
    assert read == ROWS
    assert found.sources.tolist() == [len(source.encode()) for source, _ in ROWS]
    assert found.targets.tolist() == [len(target.encode()) for _, target in ROWS]
    first = shards.document(0).tolist()
    assert first == [TOKENIZER.separator_id, *b"one", TOKENIZER.special_id(TURN_END), *"一".encode()]
    assert shards.text_bytes == sum(len((source + target).encode()) for source, target in ROWS)


def test_pairs_are_found_across_the_blocks_that_are_read(tmp_path: Path, monkeypatch) -> None:
    shards = prepare(pairs_file(tmp_path), TOKENIZER, tmp_path / "out").train
    whole = find_pairs(shards, TOKENIZER)
    for size in (1, 2, 7):
        monkeypatch.setattr("zhixing.data.pairs._READ_AT_ONCE", size)
        parts = find_pairs(shards, TOKENIZER)
        np.testing.assert_array_equal(parts.starts, whole.starts)
        np.testing.assert_array_equal(parts.targets, whole.targets)


def test_running_text_is_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one <|end|> two", encoding="utf-8")
    text = TextSettings(paths=(str(tmp_path / "a.txt"),), validation_fraction=0.0)
    shards = prepare(text, TOKENIZER, tmp_path / "out").train
    assert not holds_pairs(shards, TOKENIZER)
    with pytest.raises(DataError, match=r"text\.source_field"):
        find_pairs(shards, TOKENIZER)


def test_a_tokenizer_without_the_mark_is_refused() -> None:
    class Foreign:
        def special_id(self, token: str) -> None:
            return None

    with pytest.raises(DataError, match="trained here"):
        end_of_source(Foreign())  # type: ignore[arg-type]


def test_pairs_of_one_source_are_on_one_side(tmp_path: Path) -> None:
    rows = [(f"source {n // 4}", f"target {n}") for n in range(400)]
    text = pairs_file(tmp_path, rows).replace(validation_fraction=0.3)
    prepared = prepare(text, TOKENIZER, tmp_path / "out")
    sides = []
    for shards in (prepared.train, prepared.validation):
        found = find_pairs(shards, TOKENIZER)
        sides.append({TOKENIZER.decode(found.ids(shards, n)[0].tolist()) for n in range(len(found))})
        assert len(found) == 4 * len(sides[-1])
    assert not sides[0] & sides[1] and len(sides[0]) + len(sides[1]) == 100 and len(sides[1]) > 10


def some_pairs(size: int, seed: int = 0) -> Pairs:
    draw = np.random.default_rng(seed)
    sources, targets = draw.integers(1, 50, size), draw.integers(1, 50, size)
    return Pairs(np.arange(size), sources, targets)


@pytest.mark.parametrize(("size", "together"), [(1, 4), (3, 8), (8, 8), (37, 5), (1000, 7), (64, 1)])
def test_every_epoch_has_every_pair_once(size: int, together: int) -> None:
    order = LikeLengths(some_pairs(size), together, seed=3)
    for epoch in range(4):
        found = order.between(epoch * size, (epoch + 1) * size)
        assert sorted(found.tolist()) == list(range(size))
    if size > 30:
        assert order.between(0, size).tolist() != order.between(size, 2 * size).tolist()


def test_the_order_is_a_pure_function_of_seed_and_position() -> None:
    pairs = some_pairs(300)
    whole = LikeLengths(pairs, 8, seed=1).between(0, 900)
    for start, stop in [(0, 8), (296, 304), (5, 700), (899, 900), (40, 40)]:
        np.testing.assert_array_equal(LikeLengths(pairs, 8, seed=1).between(start, stop), whole[start:stop])
    assert (LikeLengths(pairs, 8, seed=2).between(0, 300) != whole[:300]).any()
    np.testing.assert_array_equal(LikeLengths(pairs, 8, 1, shuffle=False).between(0, 300), np.arange(300))


def test_a_batch_holds_like_lengths_in_every_epoch() -> None:
    """Padding is a small part of what it would be in a plain random order, and short ones do not come first."""
    pairs, together = some_pairs(3001), 16
    order, plain = LikeLengths(pairs, together, seed=0), np.random.default_rng(0).permutation(3001)

    def widths(numbers):
        batches = numbers[: len(numbers) // together * together].reshape(-1, together)
        return pairs.sources[batches].max(axis=1)

    for epoch in range(3):
        start = -(-epoch * 3001 // together) * together
        found = widths(order.between(start, start + 2992))
        assert found.sum() < 0.62 * widths(plain).sum()
        half = len(found) // 2
        assert abs(found[:half].mean() - found[half:].mean()) < 8
    assert POOL * together < 3001
