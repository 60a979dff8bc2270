"""The sequence-to-sequence objective: where windows are cut, its loss, its cost, and small runs through every verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import zhixing
from zhixing.config import load_settings
from zhixing.errors import ConfigError
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.encoder_decoder import EncoderDecoderModel
from zhixing.models.load import load
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.transformer import TransformerSettings
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.sequence_to_sequence import (
    EncoderDecoderWithLoss,
    PairWindows,
    SequenceToSequence,
    SequenceToSequenceSettings,
)
from zhixing.theory.losses import label_smoothed_cross_entropy

V, SEPARATOR, SOURCE, TARGET = 300, 299, 20, 12
SHAPE = {"vocab_size": V, "context_length": SOURCE + TARGET - 1, "target_length": TARGET, "width": 16}
MODEL = TransformerSettings(**SHAPE, layers=2, heads=2)


class Windows:
    """Windows of a stream in which every id but the separator says its place; every tenth is short."""

    def __init__(self, isolate=False, documents=True) -> None:
        self.isolate_documents, self.documents = isolate, documents

    def seen_ids(self, start, stop):
        for position in range(start, stop):
            length = [2, 9, 17][position // 10 % 3] if position % 10 == 9 else SOURCE + TARGET
            ids = np.arange(length, dtype=np.int64)
            if self.documents:
                ids[[place for place in (position % 7, position % 7 + 15) if place < length]] = SEPARATOR
            yield ids


def pairs(isolate=False, documents=True, seed=0, model=MODEL, **fields):
    settings = SequenceToSequenceSettings(**fields)
    return PairWindows(Windows(isolate, documents), settings, model, SEPARATOR, seed)


def rows(batch):
    """Each row's real source and real target."""
    for row in range(len(batch.source)):
        yield batch.source[row, : batch.source_lengths[row]], batch.targets[row][batch.weights[row] > 0]


@pytest.mark.parametrize("isolate", [False, True])
def test_a_target_follows_its_source(isolate):
    """Side by side in the text; neither longer than its room; something is asked of every window."""
    for position, (source, target) in enumerate(rows(pairs(isolate).batch(0, 200))):
        (ids,) = Windows(isolate).seen_ids(position, position + 1)
        whole = np.concatenate([source, target])
        assert 1 <= len(source) <= SOURCE and 1 <= len(target) <= TARGET
        begins = [at for at in range(len(ids) - len(whole) + 1) if (ids[at : at + len(whole)] == whole).all()]
        assert begins, (position, whole)


def test_isolated_documents_never_meet():
    for position, (source, target) in enumerate(rows(pairs(isolate=True).batch(0, 300))):
        assert (source[1:] != SEPARATOR).all()
        assert (target[:-1] != SEPARATOR).all()
        (ids,) = Windows(True).seen_ids(position, position + 1)
        last = np.flatnonzero(ids == target[-1])[-1]
        assert target[-1] == SEPARATOR or len(target) == TARGET or last == len(ids) - 1  # it ends where it must
    together = [target for _, target in rows(pairs(isolate=False).batch(0, 100))]
    assert any((target[:-1] == SEPARATOR).any() for target in together)


def test_shares_of_cuts_are_as_asked():
    drawn = list(rows(pairs(beginnings=0.6, longest=0.5).batch(0, 3000)))
    begins = [(source[-1] == SEPARATOR) for source, _ in drawn]
    assert 0.55 < np.mean(begins) < 0.7
    whole = list(rows(pairs(documents=False, longest=0.5).batch(0, 3000)))
    lengths = np.array([len(source) for source, _ in whole])
    assert 0.4 < (lengths == SOURCE).mean() < 0.55
    assert np.bincount(lengths, minlength=SOURCE + 1)[1:SOURCE].min() > 20  # short ones of every length
    assert all(len(target) == TARGET for source, target in whole if len(source) == SOURCE)
    always = rows(pairs(documents=False, longest=1.0, beginnings=0.0).batch(0, 9))
    assert all(len(source) == SOURCE for source, _ in always)


def test_cuts_are_a_pure_function_of_seed_and_position():
    source = pairs(isolate=True)
    whole = source.batch(0, 30)
    for name in ("source", "source_lengths", "inputs", "targets", "weights"):
        parts = [getattr(source.batch(at, 10), name) for at in (0, 10, 20)]
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate(parts))
    assert (pairs(isolate=True, seed=1).batch(0, 30).source_lengths != whole.source_lengths).any()


def test_a_decoder_reads_the_start_and_then_its_target_late():
    batch = pairs().batch(0, 20)
    assert (batch.inputs[:, 0] == SEPARATOR).all()
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert (pairs(model=MODEL.replace(start_id=5)).batch(0, 4).inputs[:, 0] == 5).all()
    assert batch.tokens == batch.source_lengths.sum() + batch.weights.sum()


def test_what_is_shown_is_what_the_network_gets():
    source = pairs()
    batch = source.batch(5, 6)
    for row in range(6):
        read, written = source.shown(batch, row)
        assert (read.name, written.name) == ("source", "target")
        np.testing.assert_array_equal(read.ids, batch.source[row])
        np.testing.assert_array_equal(written.ids, batch.inputs[row])
        asked = written.targets >= 0
        np.testing.assert_array_equal(asked, batch.weights[row] > 0)
        np.testing.assert_array_equal(written.targets[asked], batch.targets[row][asked])
        assert (read.targets == -1).all() and not read.weights.any()
        size = batch.source_lengths[row]
        assert read.visible[:size, :size].all() and not read.visible[:size, size:].any()
        assert written.sees_source[:, :size].all() and not written.sees_source[:, size:].any()
        np.testing.assert_array_equal(written.visible, np.tri(TARGET, dtype=bool))


FAMILIES = {
    "transformer": MODEL,
    "additive": RecurrentEncoderDecoderSettings(**SHAPE, layers=2, cell="lstm"),
    "multiplicative": RecurrentEncoderDecoderSettings(**SHAPE, attention="multiplicative", encoder="backward"),
    "unfed": RecurrentEncoderDecoderSettings(**SHAPE, attention="multiplicative", input_feeding=False, layers=2),
    "none": RecurrentEncoderDecoderSettings(**SHAPE, attention="none", cell="rnn", layers=3),
}


def network(settings):
    torch.manual_seed(0)
    module = build_decoder(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module


def test_the_loss_is_that_of_the_targets_and_smoothed_in_training_only():
    module, batch = network(MODEL), pairs().batch(0, 12)
    objective, counted = SequenceToSequence("cpu"), batch.weights > 0
    with torch.no_grad():
        memory = module.encode(torch.from_numpy(batch.source), torch.from_numpy(batch.source_lengths))
        hidden = module.decode(torch.from_numpy(batch.inputs), memory, torch.from_numpy(batch.source_lengths))
        logits = (hidden @ module.head_weight.T).double().numpy()[counted]
        for smoothing in (0.0, 0.1):
            with_loss = EncoderDecoderWithLoss(module.train(), smoothing)
            mean = objective.loss(with_loss, batch).total.item() / objective.weight(batch)
            expected = label_smoothed_cross_entropy(logits, batch.targets[counted], smoothing)
            assert mean == pytest.approx(expected, rel=1e-5)
            module.eval()
            held_out = objective.loss(with_loss, batch).total.item() / objective.weight(batch)
            assert held_out == pytest.approx(
                label_smoothed_cross_entropy(logits, batch.targets[counted], 0.0), rel=1e-5
            )


def test_large_outputs_are_computed_in_parts(monkeypatch):
    module, batch = network(MODEL), pairs().batch(0, 12)
    whole = SequenceToSequence("cpu").loss(EncoderDecoderWithLoss(module), batch).total
    monkeypatch.setattr("zhixing.nn.losses._LOGITS_WORTH_CHUNKING", 1)
    parts = SequenceToSequence("cpu").loss(EncoderDecoderWithLoss(module), batch).total
    assert parts.item() == pytest.approx(whole.item(), rel=1e-5)


def test_the_transformers_cost_is_what_it_computes():
    """A full window; masked halves of attention are computed but not counted as needed."""
    batch = pairs(documents=False, longest=1.0).batch(0, 5)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        SequenceToSequence("cpu").loss(EncoderDecoderWithLoss(network(MODEL)), batch)
    hidden_half = MODEL.writing_layers * 2 * TARGET**2 * MODEL.width
    forward = counter.get_total_flops() / 5 - hidden_half
    assert flops_per_token(MODEL) * (SOURCE + TARGET) == pytest.approx(3 * forward, rel=0.001)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "transformer"])
def test_a_recurrent_ones_cost_is_that_of_its_weights(name):
    """Six per weight: the encoder's for every source id, the decoder's for every target id, attention besides."""
    settings = FAMILIES[name]
    module, keys = build_decoder(settings), settings.directions * settings.width
    parts = {True: 0, False: 0}
    for weight_name, weights in module.named_parameters():
        if weights.ndim == 2 and "token_embedding" not in weight_name and "score" not in weight_name:
            of_source = weight_name.startswith("blocks.encoder") or "attention.key" in weight_name
            if not weight_name.startswith("begin"):  # once per source, and small
                parts[of_source] += weights.numel()
    looking = 0 if name == "none" else SOURCE * (settings.width + keys)
    expected = 6 * (SOURCE * parts[True] + TARGET * (parts[False] + looking)) / (SOURCE + TARGET)
    assert flops_per_token(settings) == pytest.approx(expected)


def test_which_families_learn_by_it():
    for family in ("gpt2", "bert", "llama"):
        with pytest.raises(ConfigError, match="sequence_to_sequence"):
            load_settings(Recipe, "recipes/tiny-transformer.yaml", [f"model={{family: {family}}}"])
    with pytest.raises(ConfigError, match="causal"):
        load_settings(Recipe, "recipes/tiny-transformer.yaml", ["objective={kind: causal}"])


# ---------------------------------------------------------------- small runs


RECIPES = {
    "transformer": "recipes/tiny-transformer.yaml",
    "recurrent_encoder_decoder": "recipes/tiny-recurrent-encoder-decoder.yaml",
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences whose ends follow from their beginnings."""
    folder = tmp_path_factory.mktemp("pairs_text")
    draw = np.random.default_rng(0)
    animals = {"cat": "purrs", "dog": "barks", "cow": "moos", "owl": "hoots", "duck": "quacks", "lion": "roars"}
    for index in range(30):
        names = draw.choice(list(animals), 25)
        words = " ".join(f"the {name} {animals[name]} and the {name} sleeps ." for name in names)
        (folder / f"{index:02}.txt").write_text(words + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=RECIPES)
def run(request, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("pairs_run") / request.param
    steps = 110 if request.param == "transformer" else 40
    options = [f"training.steps={steps}", "training.batch_windows=8", f"training.validate_every={steps // 2}"]
    zhixing.train(RECIPES[request.param], out, overrides=[f"text.paths=[{text}]", *options], announce=False)
    return out


def test_a_run_learns_and_is_evaluated_as_a_language_model(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    held_out = [record["validation_loss"] for record in records if "validation_loss" in record]
    assert held_out[-1] < held_out[0]
    report = zhixing.evaluate([run], data=run / "shards")
    (row,) = (row for row in report.rows if row.family == run.name)
    assert row.bits_per_byte < (2.2 if run.name == "transformer" else 2.6)
    assert isinstance(load(run).model, EncoderDecoderModel)


def test_it_writes_on_from_prompt_to_text(run):
    loaded = load(run)
    chosen = GenerationSettings(max_new_tokens=40, temperature=0.0)
    together = generate(loaded.model, loaded.tokenizer, ["the cat", "the owl hoots and the owl"], chosen)
    alone = [generate(loaded.model, loaded.tokenizer, [prompt], chosen)[0] for prompt in ("the cat",)]
    assert together[0].text == alone[0].text
    assert any(word in together[0].text for word in ("the", "sleeps", "and"))


@pytest.mark.parametrize("family", RECIPES)
def test_resume_is_exact(family, text, resumes_exactly):
    """Stopped in the middle and continued, the run ends in the same weights."""
    overrides = [f"text.paths=[{text}]", "training.steps=6", "training.validate_every=0", "model.dropout=0.1"]
    overrides.append("data.isolate_documents=yes")
    resumes_exactly(RECIPES[family], overrides, stop_at=3)
