"""From text to ids: once, from the training documents alone."""

import logging
from pathlib import Path

import pytest

from zhixing.config import load_settings
from zhixing.pretraining.prepare import prepare_ids, prepare_tokenizer
from zhixing.pretraining.recipe import Recipe


@pytest.fixture
def recipe(tiny_yaml: str, tmp_path: Path) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path)


def test_nothing_is_done_twice(recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = prepare_ids(recipe, tmp_path / "ids")
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "ids").rglob("*") if file.suffix != ".lock"}
    with caplog.at_level(logging.INFO, logger="zhixing"):
        second = prepare_ids(recipe, tmp_path / "ids")
    assert "the tokenizer is there already" in caplog.text
    assert second.prepared.train.digest == first.prepared.train.digest
    assert second.tokenizer.fingerprint == first.tokenizer.fingerprint
    again = {file: file.stat().st_mtime_ns for file in made}
    assert {f.name for f in made if made[f] != again[f] and f.is_file()} <= {".lock", "lock"}


def test_another_tokenizer_is_made_where_the_settings_differ(recipe: Recipe, tmp_path: Path) -> None:
    plain = prepare_ids(recipe, tmp_path / "ids")
    other = recipe.replace(tokenizer=recipe.tokenizer.replace(kind="bpe", vocab_size=300))
    bpe = prepare_ids(other, tmp_path / "ids")
    assert (plain.tokenizer.kind, bpe.tokenizer.kind) == ("byte", "bpe")
    assert bpe.prepared.train.token_count < plain.prepared.train.token_count
    assert bpe.prepared.train.tokenizer_fingerprint == bpe.tokenizer.fingerprint


def test_the_tokenizer_never_sees_held_out_text(recipe: Recipe, tmp_path: Path) -> None:
    """A word that stands in held-out documents alone gets no token."""
    text = tmp_path / "text"
    text.mkdir()
    for index in range(60):
        (text / f"{index}.txt").write_text(f"common words in document {index}\n", encoding="utf-8")
    bpe = recipe.replace(
        text=recipe.text.replace(paths=(str(text),), validation_fraction=0.5),
        tokenizer=recipe.tokenizer.replace(kind="bpe", vocab_size=330),
    )
    ids = prepare_ids(bpe, tmp_path / "first")
    held_out = ids.prepared.validation.document_count
    assert 10 < held_out < 50
    # Learning from a folder that holds the training side alone gives the same tokenizer.
    train_text = tmp_path / "train"
    train_text.mkdir()
    shards = ids.prepared.train
    document = 0
    for piece in ids.tokenizer.decode(shards.tokens(0, shards.token_count).tolist()).split("common"):
        if piece.strip():
            words = "common" + piece.split("\n")[0] + "\n"
            (train_text / f"{document}.txt").write_text(words, encoding="utf-8")
            document += 1
    alone = bpe.replace(text=bpe.text.replace(paths=(str(train_text),), validation_fraction=0.0))
    same = prepare_tokenizer(alone, tmp_path / "second")
    assert same.fingerprint == ids.tokenizer.fingerprint
