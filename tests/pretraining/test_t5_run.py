"""A tiny T5 from recipe to folder: it learns, says so, writes, and a stopped run ends as one that was not stopped."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

import zhixing
from zhixing.errors import ConfigError
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.encoder_decoder import EncoderDecoderModel

RECIPE = "recipes/tiny-t5.yaml"
SETTINGS = [
    "training.steps=50", "training.optimizer.learning_rate=0.01", "model.layers=1", "training.batch_windows=8",
    "training.threads=1", "training.compile=no", "training.validate_every=25", "training.validation_windows=16",
    "text.validation_fraction=0.1",
]  # fmt: skip
SOUNDS = {"owl": "hoots", "cow": "moos", "cat": "purrs", "dog": "barks"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    draw, path = random.Random(0), tmp_path_factory.mktemp("text") / "animals.txt"
    lines = [f"the {a} {SOUNDS[a]} and the {a} sleeps ." for a in draw.choices(sorted(SOUNDS), k=1500)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("t5_run") / "t5"
    zhixing.train(RECIPE, out, overrides=[f"text.paths=[{text}]", *SETTINGS], announce=False)
    return out


def test_it_learns_to_fill_gaps_and_says_how_well(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    training = [record["span_accuracy"] for record in records if "loss" in record]
    held_out = [record["validation_span_accuracy"] for record in records if "validation_loss" in record]
    assert training[0] < 0.1 < 0.3 < training[-1] and held_out[-1] > 0.3
    last = [record for record in records if "loss" in record][-1]
    assert last["tokens"] == pytest.approx(50 * 8 * 32, rel=0.02)  # of text, whatever source and target hold


def test_as_a_language_model_it_knows_more_than_nothing_and_writes_text(run):
    loaded = zhixing.load(run)
    assert isinstance(loaded.model, EncoderDecoderModel)
    rows = zhixing.evaluate([run], data=run / "shards").rows
    (bits,) = (row.bits_per_byte for row in rows if row.name == "t5")
    assert bits < 1.5
    prompts, chosen = ["the owl hoots and the", "the cow"], GenerationSettings(max_new_tokens=20, seed=1)
    texts = generate(loaded.model, loaded.tokenizer, prompts, chosen)
    sentinels = {loaded.tokenizer.special_tokens[f"<extra_id_{index}>"] for index in range(4)}
    assert all(written.text and not sentinels & set(written.ids) for written in texts)


def test_its_sentinels_are_those_of_its_tokenizer(run):
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    special = zhixing.load(run).tokenizer.special_tokens
    assert config["gap_token_ids"] == [special[f"<extra_id_{index}>"] for index in range(4)]
    assert config["decoder_start_token_id"] == special["<|endoftext|>"]


def test_resume_draws_the_same_spans(text, resumes_exactly):
    """Stopped in the middle and continued, the run ends in the same weights."""
    overrides = [f"text.paths=[{text}]", *SETTINGS, "training.steps=20", "training.validate_every=0"]
    resumes_exactly(RECIPE, overrides, stop_at=9)


@pytest.mark.parametrize("shared", [True, False], ids=["with its ids", "with ids of its own"])
def test_it_goes_on_to_write_targets_with_the_sentinels_it_has(run, text, tmp_path, shared):
    """Four, where a new tokenizer would have a hundred: what it learns now asks for none."""
    overrides = [f"text.paths=[{text}]", *SETTINGS, "training.steps=2", "training.validate_every=0"]
    overrides += ["objective={kind: sequence_to_sequence}"]
    given = {"overrides": overrides, "init_from": run, "announce": False}
    zhixing.train(RECIPE, tmp_path / "next", ids_folder=run if shared else None, **given)
    before, after = (zhixing.load(path).tokenizer for path in (run, tmp_path / "next"))
    assert before.fingerprint == after.fingerprint and "<extra_id_3>" in after.special_tokens


def test_other_objectives_do_not_fit():
    with pytest.raises(ConfigError, match="use auto or span_corruption"):
        zhixing.train(RECIPE, "nowhere", overrides=["text.paths=[x]", "objective={kind: causal}"])


@pytest.mark.parametrize("shape", ["model.feed_forward=gated-gelu", "model.tied=false", "model.decoder_layers=1"])
def test_every_shape_trains(text, tmp_path, shape):
    overrides = [f"text.paths=[{text}]", *SETTINGS, "training.steps=2", "training.validate_every=0", shape]
    zhixing.train(RECIPE, tmp_path / "t5", overrides=overrides, announce=False)
    model = zhixing.load(tmp_path / "t5").model
    assert np.isfinite(model.score(np.arange(2, 40)[None])).all()
