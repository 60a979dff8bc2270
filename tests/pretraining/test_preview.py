"""A preview is the batch that the run reads."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.pretraining.number_words import write_pairs

from zhixing.config import load_settings
from zhixing.errors import ConfigError, DataError, InputError
from zhixing.pretraining.neural import NeuralRun
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.preview import as_json, ids_of, piece, places_from, preview
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.terminal import draw
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.training.machine import probe


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview_text")
    for index in range(30):
        (folder / f"{index}.txt").write_text(f"Note {index}: the cat sat, 知行合一.\nIt slept.\n", encoding="utf-8")
    return folder


def recipe_of(name, text, *overrides):
    settings = [f"text.paths=[{text}]", "data.isolate_documents=yes", "training.threads=1", *overrides]
    return load_settings(Recipe, f"recipes/{name}.yaml", settings)


@pytest.mark.parametrize("name", ["tiny-gpt", "tiny-bert", "tiny-contrastive"])
def test_rows_whose_table_would_fill_the_memory_are_refused(name, text, tmp_path):
    recipe = recipe_of(name, text)
    ids = prepare_ids(recipe, tmp_path)
    longer = recipe.replace(model=recipe.model.replace(context_length=1_000_000))
    with pytest.raises(ConfigError, match=r"model\.context_length = 1,000,000: rows of at most 16,384"):
        preview(longer, ids)


def test_batches_that_would_fill_the_memory_are_refused(text, tmp_path):
    recipe = recipe_of("tiny-gpt", text, "training.batch_windows=1000000000")
    with pytest.raises(ConfigError, match=r"training\.batch_windows = 1,000,000,000 of 32 tokens"):
        preview(recipe, prepare_ids(recipe, tmp_path))


@pytest.mark.parametrize("words", ["0:" + "9" * 5000, "9" * 5000 + ":1", "5:5", "9:3", "x", ":", "-1:2"])
def test_places_that_are_none(words):
    with pytest.raises(ConfigError, match="write FROM:TO") as refused:
        places_from(words)
    assert len(str(refused.value)) < 200


@pytest.fixture(scope="module", params=["tiny-gpt", "tiny-bert"])
def made(request, text, tmp_path_factory):
    recipe = recipe_of(request.param, text)
    folder = tmp_path_factory.mktemp(request.param)
    return recipe, prepare_ids(recipe, folder), folder


def test_it_is_the_batch_that_the_run_reads(made):
    recipe, ids, folder = made
    source = NeuralRun(recipe, folder / "run", ids, probe(recipe.training)).task.source
    size = recipe.training.batch_windows
    for number in (0, 3):
        batch, shown = source.batch(number * size, size), preview(recipe, ids, number)
        assert (shown.first, shown.size, len(shown.rows)) == (number * size, size, size)
        parts = [part for (part,) in shown.rows]
        np.testing.assert_array_equal(np.stack([part.ids for part in parts]), batch.inputs)
        np.testing.assert_array_equal(np.stack([part.documents for part in parts]), batch.documents)
        np.testing.assert_array_equal(np.stack([part.positions for part in parts]), batch.positions)
        for row, part in enumerate(parts):
            asked = part.weights > 0
            assert (part.targets[~asked] == -1).all()
            if shown.objective == "causal":
                np.testing.assert_array_equal(part.targets[asked], batch.targets[row][batch.weights[row] > 0])
            else:
                counted = batch.weights[row] > 0
                assert np.flatnonzero(asked).tolist() == batch.places[row][counted].tolist()
                assert part.targets[asked].tolist() == batch.targets[row][counted].tolist()
    assert preview(recipe, ids, 0).rows[0][0].ids.tolist() != preview(recipe, ids, 3).rows[0][0].ids.tolist()


def test_as_json_has_every_array(made):
    recipe, ids, _ = made
    payload = as_json(preview(recipe, ids, 1, rows=2))
    assert len(payload["rows"]) == 2 and payload["batch_rows"] == recipe.training.batch_windows
    (part,) = payload["rows"][0]["parts"]
    length = recipe.model.context_length
    for name in ("ids", "tokens", "targets", "target_tokens", "weights", "positions", "documents", "visible"):
        assert len(part[name]) == length
    assert {value for row in part["visible"] for value in row} == {0, 1}
    asked = [place for place, weight in enumerate(part["weights"]) if weight]
    assert asked and all(part["target_tokens"][place] is not None for place in asked)


def test_the_last_window_of_a_text_shows_its_padding(text, tmp_path):
    recipe = recipe_of("tiny-gpt", text, "data.shuffle=false")
    ids = prepare_ids(recipe, tmp_path / "ids")
    count = -(-(ids.prepared.train.token_count - 1) // recipe.model.context_length)
    number, row = divmod(count - 1, recipe.training.batch_windows)
    (part,) = preview(recipe, ids, number).rows[row]
    real = (ids.prepared.train.token_count - 1) % recipe.model.context_length
    assert real and part.weights.tolist() == [1] * real + [0] * (len(part.ids) - real)
    assert (part.targets[real:] == -1).all()


def test_ids_are_made_once_and_those_of_other_text_refused(text, tmp_path, caplog):
    recipe = recipe_of("tiny-gpt", text)
    with ids_of(recipe, tmp_path / "kept") as first:
        digest = first.prepared.train.digest
    caplog.set_level("INFO")
    with ids_of(recipe, tmp_path / "kept") as second:
        assert second.prepared.train.digest == digest
    assert "already" in caplog.text
    with ids_of(recipe, None) as third:
        scratch = third.prepared.train.folder
        assert third.prepared.train.digest == digest
    assert not scratch.exists()
    with (
        pytest.raises(DataError, match="other settings"),
        ids_of(recipe_of("tiny-gpt", text, "tokenizer.vocab_size=301"), tmp_path / "kept"),
    ):
        raise AssertionError


def test_counted_families_are_refused_with_what_to_do(text, tmp_path):
    recipe = load_settings(Recipe, "recipes/tiny-ngram.yaml", [f"text.paths=[{text}]"])
    with pytest.raises(InputError, match=r"ngram.*zhixing data prepare"):
        preview(recipe, prepare_ids(recipe, tmp_path / "ids"))


def test_how_a_token_is_written():
    tokenizer = ByteTokenizer(extra_tokens=("<|mask|>",))
    special = tokenizer.special_tokens
    written = [
        piece(tokenizer, token) for token in (97, 32, 10, 9, 0, 0xE7, tokenizer.separator_id, special["<|mask|>"])
    ]
    assert written == ["a", "␣", "⏎", "⇥", "\\x00", "\\xe7", "⏹", "<|mask|>"]
    assert piece(tokenizer, 5000) == "<5000>"


def test_places():
    assert places_from("3:9") == slice(3, 9) and places_from(":4") == slice(0, 4)
    for wrong in ("3", "9:3", "a:b", "4:4", "-1:4", ""):
        with pytest.raises(ConfigError, match="FROM:TO"):
            places_from(wrong)


RECIPES = sorted(path.stem for path in Path("recipes").glob("tiny-*.yaml"))
COUNTED = ("tiny-ngram", "tiny-hmm", "tiny-mixture", "tiny-word-vectors", "tiny-compare")


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in COUNTED])
def test_every_objective_can_be_shown(name, text, tmp_path):
    text = write_pairs(tmp_path / "pairs.jsonl", 60) if name == "tiny-translation" else text
    recipe = recipe_of(name, text)
    shown = preview(recipe, prepare_ids(recipe, tmp_path / "ids"), rows=2)
    for part in (part for row in shown.rows for part in row):
        size = len(part.ids)
        assert part.visible.shape == (size, size) and part.visible.any(axis=1)[part.weights > 0].all()
        for array in (part.targets, part.weights, part.positions, part.documents):
            assert array.shape == (size,)
        assert ((part.targets >= 0) == (part.weights > 0)).all()
        different = part.documents[:, None] != part.documents
        assert not (part.visible & different).any()  # nobody looks into another document
    out = io.StringIO()
    Console(file=out, width=80).print(draw(shown, attention=True))
    assert max(cell_len(line) for line in out.getvalue().splitlines()) <= 80
