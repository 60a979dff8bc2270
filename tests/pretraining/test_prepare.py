"""From text to ids: once, from the training documents alone."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from zhixing.config import load_settings
from zhixing.errors import DataError
from zhixing.model_folder import read_json
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.prepare import prepare_ids, prepare_tokenizer
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import train
from zhixing.tokenizers.bytes import ByteTokenizer


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


def test_what_an_earlier_version_made_is_taken(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A version that knew fewer settings has made the same as this one with the others at their defaults."""
    prepare_ids(recipe, tmp_path / "ids")

    def earlier(folder: Path, name: str) -> dict[str, Any]:
        values = read_json(folder, name)
        del values["settings"]["text"]["on_error"], values["settings"]["tokenizer"]["min_frequency"]
        return values

    monkeypatch.setattr("zhixing.pretraining.prepare.read_json", earlier)
    with caplog.at_level(logging.INFO, logger="zhixing"):
        prepare_ids(recipe, tmp_path / "ids")
    assert "the tokenizer is there already" in caplog.text and "already prepared" in caplog.text


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_another_tokenizer_is_made_where_the_settings_differ(recipe: Recipe, tmp_path: Path) -> None:
    plain = prepare_ids(recipe, tmp_path / "ids")
    other = recipe.replace(tokenizer=recipe.tokenizer.replace(kind="bpe", vocab_size=300))
    bpe = prepare_ids(other, tmp_path / "ids", replace=True)
    assert (plain.tokenizer.kind, bpe.tokenizer.kind) == ("byte", "bpe")
    assert bpe.prepared.train.token_count < plain.prepared.train.token_count
    assert bpe.prepared.train.tokenizer_fingerprint == bpe.tokenizer.fingerprint


def test_other_settings_are_refused_by_name_and_nothing_is_touched(recipe: Recipe, tmp_path: Path) -> None:
    prepare_ids(recipe, tmp_path / "ids")
    before = contents(tmp_path / "ids")
    bpe = recipe.replace(tokenizer=recipe.tokenizer.replace(kind="bpe"))
    with pytest.raises(DataError, match=r"ids: .*\(tokenizer\.kind: 'byte' → 'bpe'\); .*--ids"):
        prepare_ids(bpe, tmp_path / "ids")
    fewer = recipe.replace(text=recipe.text.replace(validation_fraction=0.5))
    with pytest.raises(DataError, match=r"\(text\.validation_fraction: 0\.2 → 0\.5\)"):
        prepare_ids(fewer, tmp_path / "ids")
    assert contents(tmp_path / "ids") == before


def test_a_tokenizer_that_no_recipe_made_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    ByteTokenizer().save(tmp_path / "ids" / "tokenizer")
    before = contents(tmp_path / "ids")
    with pytest.raises(DataError, match=r"tokenizer holds something else than this recipe's tokenizer"):
        prepare_ids(recipe, tmp_path / "ids")
    assert contents(tmp_path / "ids") == before


def test_ids_of_a_run_refuse_other_text_and_welcome_the_same(
    recipe: Recipe, tiny_text: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What ``--ids`` names is shared: a second run may read it, never replace it."""
    text = Path(shutil.copytree(tiny_text, tmp_path / "text"))
    counted = recipe.replace(text=recipe.text.replace(paths=(str(text),)), model=NgramSettings(order=2))
    ids = tmp_path / "ids"
    train(counted, tmp_path / "first", ids_folder=ids, announce=False)
    before = contents(ids)
    (text / "more.txt").write_text("one more document\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"ids: .*other text \(30 documents, .*; now 31 documents, .*--ids"):
        train(counted, tmp_path / "second", ids_folder=ids, announce=False)
    assert contents(ids) == before
    assert not (tmp_path / "second").exists()
    (text / "more.txt").unlink()
    moved = counted.replace(text=counted.text.replace(paths=(str(text.rename(tmp_path / "moved")),)))
    with caplog.at_level(logging.INFO, logger="zhixing"):
        train(moved, tmp_path / "second", ids_folder=ids, announce=False)
    assert "reading them to see whether the text was" in caplog.text
    assert contents(ids) == before


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
