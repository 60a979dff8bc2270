"""Given pairs: their batches, what is too long, exact resumption, and small runs from rows to answers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tests.pretraining.number_words import chinese, english, write_pairs

import zhixing
from zhixing.cli.app import main
from zhixing.config import load_settings
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.data.windows import TokenWindows
from zhixing.errors import ConfigError, DataError
from zhixing.evaluation.pairs import evaluate_pairs
from zhixing.models.transformer import TransformerSettings
from zhixing.pretraining.closing import closing_words
from zhixing.pretraining.pairs import PairIndex
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run_folder import TrainResult
from zhixing.tokenizers.bytes import ByteTokenizer

RECIPE = "recipes/tiny-translation.yaml"
TOKENIZER = ByteTokenizer()
MODEL = TransformerSettings(vocab_size=TOKENIZER.vocab_size, context_length=95, target_length=32, width=16, heads=2)


def test_the_little_language() -> None:
    assert [chinese(n) for n in (7, 10, 42, 305, 3042, 9000, 6007)] == [
        "七", "十", "四十二", "三百零五", "三千零四十二", "九千", "六千零七",
    ]  # fmt: skip
    assert [english(n) for n in (13, 42, 305, 9000)] == ["thirteen", "forty-two", "three hundred five", "nine thousand"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("pairs")
    path = write_pairs(folder / "pairs.jsonl", 150)
    text = TextSettings(paths=(str(path),), source_field="source", target_field="target", validation_fraction=0.0)
    return prepare(text, TOKENIZER, folder / "shards").train


def questions(shards, model=MODEL, together=8, seed=0):
    return PairIndex(TOKENIZER, model, together)(TokenWindows(shards, model.context_length, seed))


def rows(batch):
    for row in range(len(batch.source)):
        yield batch.source[row, : batch.source_lengths[row]], batch.targets[row][batch.weights[row] > 0]


def test_every_pair_is_read_whole_and_its_end_is_asked_for(shards) -> None:
    source, seen = questions(shards), {}
    assert source.items_per_epoch == 150
    for read, asked in rows(source.batch(0, 150)):
        assert read[0] == TOKENIZER.separator_id and asked[-1] == TOKENIZER.separator_id
        seen[TOKENIZER.decode(read.tolist())] = TOKENIZER.decode(asked.tolist())
    assert len(seen) == 150
    written = dict(zip(map(english, range(1, 10_000)), map(chinese, range(1, 10_000)), strict=True))
    assert all(written[text] == target for text, target in seen.items())


def test_the_decoder_reads_the_start_and_then_its_target_late(shards) -> None:
    batch = questions(shards).batch(8, 8)
    assert (batch.inputs[:, 0] == TOKENIZER.separator_id).all()
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert batch.tokens == batch.source_lengths.sum() + batch.weights.sum()
    assert batch.source.shape[1] - batch.source_lengths.max() < 4  # padded to the longest, to a multiple of 4
    from_elsewhere = questions(shards, MODEL.replace(start_id=3)).batch(8, 8)
    assert (from_elsewhere.inputs[:, 0] == 3).all()
    for (read, _), (closed, _) in zip(rows(batch), rows(from_elsewhere), strict=True):
        assert closed.tolist() == [*read[1:].tolist(), TOKENIZER.separator_id]


def test_batches_are_a_pure_function_of_seed_and_position(shards) -> None:
    whole, again = questions(shards), questions(shards)
    for start in (0, 144, 296):  # the second spans two epochs
        one, other = whole.batch(start, 8), again.batch(start, 8)
        for name in ("source", "source_lengths", "inputs", "targets", "weights"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    other = questions(shards, seed=1).batch(0, 8)
    assert list(map(tuple, other.targets)) != list(map(tuple, whole.batch(0, 8).targets))


def test_what_is_shown_is_what_the_network_gets(shards) -> None:
    source = questions(shards)
    batch = source.batch(0, 8)
    for row, (read, asked) in enumerate(rows(batch)):
        encoder, decoder = source.shown(batch, row)
        assert (encoder.name, decoder.name) == ("source", "target")
        assert encoder.ids[: len(read)].tolist() == read.tolist() and not encoder.weights.any()
        assert decoder.targets[decoder.weights > 0].tolist() == asked.tolist()
        assert decoder.sees_source[:, : len(read)].all() and not decoder.sees_source[:, len(read) :].any()


def test_pairs_that_are_too_long_are_left_out_counted_and_named(shards, caplog) -> None:
    small = MODEL.replace(context_length=40, target_length=20)  # room for sources of 20 ids and targets of 19
    with caplog.at_level(logging.WARNING):
        index = PairIndex(TOKENIZER, small, 8)
        source = index(TokenWindows(shards, 40, 0))
        index(TokenWindows(shards, 40, 1))
    (notice,) = caplog.messages  # said once, however often the text is asked about
    left_out = 150 - source.items_per_epoch
    assert 100 < left_out < 150 and f"{left_out} of 150 pairs are left out" in notice
    assert "model.context_length" in notice and "model.target_length" in notice
    for read, asked in rows(source.batch(0, source.items_per_epoch)):
        assert len(read) <= 21 and len(asked) <= 20 and asked[-1] == TOKENIZER.separator_id
    needed = int(notice.split("context_length: ")[1].split()[0]), int(notice.split("target_length: ")[1].split()[0])
    room = MODEL.replace(context_length=needed[0], target_length=needed[1])
    assert questions(shards, room).items_per_epoch == 150
    assert questions(shards, room.replace(context_length=needed[0] - 1)).items_per_epoch < 150


def test_a_model_with_room_for_none_is_refused(shards) -> None:
    with pytest.raises(DataError, match="150 of 150 pairs"):
        questions(shards, MODEL.replace(context_length=4, target_length=2))


def test_pairs_are_for_this_objective_only() -> None:
    for given in ("model={family: gpt2}", "model={family: ngram}", "model={family: word_vectors}"):
        with pytest.raises(ConfigError, match="sequence_to_sequence, not"):
            load_settings(Recipe, RECIPE, [given])
    with pytest.raises(ConfigError, match="not span_corruption"):
        load_settings(Recipe, RECIPE, ["model={family: t5, context_length: 400}"])
    with pytest.raises(ConfigError, match="go together"):
        load_settings(Recipe, RECIPE, ["text.target_field=''"])


# ---------------------------------------------------------------- small runs

SHAPE = "context_length: 47, target_length: 16, width: 32"
FAMILIES = {
    "transformer": f"{{family: transformer, {SHAPE}, layers: 1, heads: 2, dropout: 0.1}}",
    "recurrent_encoder_decoder": f"{{family: recurrent_encoder_decoder, {SHAPE}, dropout: 0.1}}",
    "t5": f"{{family: t5, {SHAPE}, layers: 1, heads: 2, dropout: 0.1}}",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_resume_is_exact(family, tmp_path, resumes_exactly) -> None:
    """Stopped in the middle of a second epoch and continued, the run ends in the same weights.

    And the loss it ends with is the one that an evaluation finds, batched and padded otherwise.
    """
    path = write_pairs(tmp_path / "pairs.jsonl", 60)
    overrides = [f"text.paths=[{path}]", f"model={FAMILIES[family]}", "objective={kind: sequence_to_sequence}"]
    overrides += ["training.steps=8", "training.batch_windows=11", "training.validate_every=3"]
    whole = resumes_exactly(RECIPE, overrides, stop_at=6)
    metrics = (whole / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    (row,) = evaluate_pairs([whole], [str(whole / "shards")]).rows
    assert json.loads(metrics[-1])["validation_loss"] == pytest.approx(row.nats_per_target_token, rel=1e-4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The tiny recipe, on 3000 numbers of which some are held out."""
    folder = tmp_path_factory.mktemp("number_words")
    path = write_pairs(folder / "pairs.jsonl", 3000)
    overrides = [f"text.paths=[{path}]", "training.validation_windows=1000"]
    return zhixing.train(RECIPE, folder / "run", overrides=overrides, announce=False)


def test_it_learns_to_translate_what_it_has_not_seen(run: TrainResult) -> None:
    """Guessing hits one numeral in thousands."""
    (row,) = evaluate_pairs([run.folder], [str(run.folder / "shards")]).rows
    assert row.pairs > 100 and row.too_long == 0
    assert row.exact_match > 0.7
    assert row.bleu > 0.7 and row.chrf > 0.7 and "tokens:zh" in row.signature
    assert row.nats_per_target_token < 0.4
    held_out = {answer.source for answer in row.answers}
    train = (run.folder / "shards" / "train").is_dir()
    assert train and len(held_out) == row.pairs


def test_the_validation_loss_is_per_target_token(run: TrainResult) -> None:
    records = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    (row,) = evaluate_pairs([run.folder], [str(run.folder / "shards")]).rows
    assert records[-1]["validation_loss"] == pytest.approx(row.nats_per_target_token, rel=1e-3)
    assert run.facts["pairs"] == ("source", "target")
    words = closing_words(run)
    assert "nats per target token" in words and f"zhixing run text2text {run.folder} 'a source'" in words
    assert f"zhixing evaluate {run.folder} --pairs {run.folder / 'shards'}" in words
    assert "zhixing serve" not in words


def test_the_report_shows_sources_answers_and_references(run: TrainResult) -> None:
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.count("→ ") >= 6 and page.count("Reference: ") == 6
    assert "text2text-generation" in (run.folder / "README.md").read_text(encoding="utf-8")


def test_every_verb_answers_alike(run: TrainResult, capsys, tmp_path) -> None:
    source = "three thousand forty-two"
    (answer,) = zhixing.pipeline("text2text-generation", model=run.folder)(source, do_sample=False)
    (tmp_path / "sources.txt").write_text(f"{source}\n{source}\n", encoding="utf-8")

    def said(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            main([*words])
        assert end.value.code == 0
        return capsys.readouterr().out

    text = answer["generated_text"]
    assert said("run", "text2text", str(run.folder), source) == f"{text}\n"
    assert said("run", "text2text", str(run.folder), "--file", str(tmp_path / "sources.txt")) == f"{text}\n{text}\n"
    assert said("generate", str(run.folder), source, "--temperature", "0") == f"{text}\n"
    shown = json.loads(said("generate", str(run.folder), source, "--temperature", "0", "--json"))["texts"][0]
    assert (shown["prompt"], shown["text"]) == (source, text)
    shown = json.loads(said("data", "show", str(run.folder), "--json"))
    assert [part["name"] for part in shown["rows"][0]["parts"]] == ["source", "target"]


def test_shards_of_pairs_are_no_running_text(run: TrainResult) -> None:
    with pytest.raises(DataError, match="--pairs"):
        zhixing.evaluate([run.folder], data=run.folder / "shards")


def test_a_run_without_held_out_pairs_ends_well(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", 30)
    overrides = [f"text.paths=[{path}]", "text.validation_fraction=0", "training.steps=2"]
    found = zhixing.train(RECIPE, tmp_path / "run", overrides=overrides, announce=False)
    assert 'id="samples"' not in (found.folder / "report.html").read_text(encoding="utf-8")


def test_held_out_pairs_that_are_all_too_long_are_refused_before_training(tmp_path: Path) -> None:
    train = write_pairs(tmp_path / "train.jsonl", 30)
    row = {"source": "a " * 200, "target": "b"}
    (tmp_path / "validation.jsonl").write_text(json.dumps(row), encoding="utf-8")
    overrides = [f"text.paths=[{train}]", f"text.validation_paths=[{tmp_path / 'validation.jsonl'}]"]
    with pytest.raises(DataError, match=r"validation: 1 of 1 pairs .* model\.context_length"):
        zhixing.train(RECIPE, tmp_path / "run", overrides=[*overrides, "training.steps=2"], announce=False)
    assert not (tmp_path / "run" / "recipe.yaml").exists()
