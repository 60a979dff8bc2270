"""The convolutional language model: the contract over its variants, its field of view; and Kim's classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import BATTERY, SHAPE, TOLERANCE, V, draw, language_model, random_decoder

from zhixing.errors import ModelFolderError
from zhixing.evaluation.run import evaluate
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models import neural
from zhixing.models.convolutional import (
    PRESETS,
    Convolutional,
    ConvolutionalClassifier,
    ConvolutionalSettings,
)
from zhixing.models.decoders import build_decoder, export_tensors, from_config, load_tensors, parameter_count, to_config
from zhixing.models.load import load
from zhixing.models.neural import NeuralLanguageModel
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.run import train
from zhixing.training.metrics import read_metrics

PLAIN = ConvolutionalSettings(**SHAPE, layers=2, width=16, kernel=3)
VARIANTS = {
    "tied": PLAIN.replace(tied=True, dropout=0.3),
    "beyond-the-text": PLAIN.replace(kernel=16, width=8, layers=1),
    "deep": PLAIN.replace(layers=5, kernel=2, norm_epsilon=1e-3),
}


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_the_contract(variant, check):
    check(VARIANTS[variant])


def test_it_sees_its_receptive_field_and_nothing_before():
    model, ids, seen = language_model(PLAIN), draw(1, 9), 1 + PLAIN.layers * (PLAIN.kernel - 1)
    said = model.next_log_probs(ids, model.initial_state(1))[0]
    for place in range(9):
        changed = ids.copy()
        changed[0, place] = (ids[0, place] + 1) % V
        moved = np.abs(model.next_log_probs(changed, model.initial_state(1))[0] - said).max()
        assert (moved > 1e-4) if place >= 9 - seen else (moved < TOLERANCE["atol"])


def test_long_texts_are_scored_piece_by_piece_with_a_state_that_does_not_grow(monkeypatch):
    model, ids = language_model(PLAIN), draw(2, 80)
    whole = model.score(ids, np.array([80, 30]))
    monkeypatch.setattr(neural, "_PIECE", 7)
    np.testing.assert_allclose(model.score(ids, np.array([80, 30])), whole, **TOLERANCE)
    _, state = model.next_log_probs(ids, model.initial_state(2))
    assert model.context_length is None
    assert [part.shape for layer in state.layers for part in layer] == [(2, 2, 16)] * 2
    assert not any(part.requires_grad for layer in state.layers for part in layer)


def test_a_cache_holds_one_document_per_row():
    module, ids = random_decoder(PLAIN), torch.zeros(1, 2, dtype=torch.int64)
    for more in ({"documents": ids}, {"positions": ids}):
        with pytest.raises(ValueError, match="one document per row"):
            module(ids, cache=module.new_cache(1), **more)


def test_autocast_and_low_precision_change_little():
    ids, module = torch.from_numpy(draw(2, 6)), random_decoder(PLAIN)
    expected = module(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = module(ids)
        hidden.float().sum().backward()
    torch.testing.assert_close(hidden.float(), expected, atol=0.1, rtol=0.05)
    low = NeuralLanguageModel(random_decoder(PLAIN).bfloat16())
    said, state = low.next_log_probs(draw(2, 6), low.initial_state(2), np.array([6, 2]))
    said, _ = low.next_log_probs(draw(2, 1), state)
    assert said.dtype == np.float32 and np.isfinite(said).all()
    assert state.layers[0][0].dtype == torch.bfloat16


def test_wrong_folders_are_refused_by_name():
    theirs = export_tensors(random_decoder(PLAIN), PLAIN)
    broken = {**theirs, "layers.1.convolution.weight": torch.zeros(32, 47), "layers.7.norm.bias": torch.zeros(1)}
    del broken["head.weight"]
    with pytest.raises(ModelFolderError) as caught:
        load_tensors(build_decoder(PLAIN), PLAIN, broken, "here")
    names = ("layers.1.convolution.weight", "layers.7.norm.bias", "head.weight")
    assert all(name in str(caught.value) for name in names)
    config = to_config(PLAIN, 5)
    for field, value, named in (
        ("kernel_size", None, "kernel_size"),
        ("hidden_size", "9", "hidden_size"),
        ("tie_word_embeddings", "maybe", "tie_word_embeddings"),
        ("kernel_size", 0, "kernel"),
    ):
        with pytest.raises(ModelFolderError, match=named):
            from_config("convolutional", {**config, field: value})


def test_a_convolution_opens_in_torch():
    """As ``torch.nn.Conv1d`` on zeros before the text, once the blocks of a row are put where it expects them."""
    module = random_decoder(PLAIN)
    ours = module.blocks[0].convolution
    theirs = torch.nn.Conv1d(16, 32, 3)
    theirs.weight.data = ours.weight.detach().view(32, 3, 16).transpose(1, 2)
    theirs.bias.data = ours.bias.detach()
    x = torch.randn(2, 7, 16)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (2, 0))
    value, gate = theirs(padded).transpose(1, 2).chunk(2, dim=-1)
    torch.testing.assert_close(ours(x), value * torch.sigmoid(gate), **TOLERANCE)


def test_initial_weights_keep_the_size():
    torch.manual_seed(0)
    module = Convolutional(ConvolutionalSettings(vocab_size=600, width=64, layers=4))
    hidden = module(torch.randint(600, (4, 30)))
    assert hidden.std().item() == pytest.approx(1.0, rel=0.05)
    assert module.blocks[0].convolution.weight.std().item() == pytest.approx(1 / 16, rel=0.05)
    assert (module.head_weight == 0).all()


def test_settings_and_cost():
    for wrong in ({"kernel": 0}, {"layers": 0}, {"dropout": 1.0}, {"width": 0}, {"heads": 2}):
        with pytest.raises(ValidationError):
            ConvolutionalSettings(**wrong)
    with pytest.raises(ValueError, match="vocab_size"):
        Convolutional(ConvolutionalSettings())
    shape = PRESETS["gcnn-8"].replace(vocab_size=10)
    block = 4 * 900 * 1800 + 1800 + 2 * 900
    assert parameter_count(shape) == 8 * block + 2 * 900 + 2 * 10 * 900
    assert flops_per_token(shape) == 6 * (parameter_count(shape) - 10 * 900)
    tied = shape.replace(tied=True)
    assert flops_per_token(tied) == 6 * parameter_count(tied) == flops_per_token(shape)


def test_the_tiny_recipe_trains_and_what_it_leaves_is_measured_and_writes(tiny_text, tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "tiny-convolutional.yaml"
    overrides = [f"text.paths=['{tiny_text}']", "text.validation_fraction=0.2"]
    overrides += ["data.isolate_documents=yes", "training.compile=no"]
    folder = train(recipe, tmp_path / "run", overrides=overrides, announce=False).folder
    losses = [record["loss"] for record in read_metrics(folder) if "loss" in record]
    assert losses[-1] < losses[0] - 1
    (row,) = (row for row in evaluate([folder], text=[str(tiny_text)]).rows if row.family == "convolutional")
    assert 0 < row.bits_per_byte < 6
    opened = load(folder)
    (written,) = generate(opened.model, opened.tokenizer, ["the cat "], GenerationSettings(max_new_tokens=99, seed=0))
    assert written.ids


# ---------------------------------------------------------------- the classifier


def classifier():
    torch.manual_seed(0)
    return ConvolutionalClassifier(50, classes=2, width=12, kernels=(2, 3), features=6).eval()


def test_the_classifier_does_not_see_padding_and_takes_short_texts():
    module, ids, lengths = classifier(), torch.randint(50, (4, 8)), torch.tensor([8, 1, 5, 2])
    logits = module(ids, lengths)
    assert logits.shape == (4, 2)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(logits[row : row + 1], module(ids[row : row + 1, :length]), **TOLERANCE)
    assert (logits[0] - logits[2]).abs().max() > 1e-3


def test_the_classifier_finds_a_phrase_wherever_it_stands():
    """Class 1: "7 then 9" is somewhere in the text; class 0: both words are, but not together."""
    module, rng = classifier().train(), np.random.default_rng(0)

    def texts(count):
        ids = rng.integers(10, 50, (count, 10))
        labels, first, second = rng.integers(0, 2, count), rng.integers(0, 4, count), rng.integers(6, 10, count)
        rows = np.arange(count)
        ids[rows, first] = 7
        ids[rows, np.where(labels == 1, first + 1, second)] = 9
        return torch.from_numpy(ids), torch.from_numpy(labels)

    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02)
    for _ in range(120):
        ids, labels = texts(64)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(ids), labels).backward()
        optimizer.step()
    assert all((weights.grad != 0).any() for weights in module.parameters())
    ids, labels = texts(400)
    assert (module.eval()(ids).argmax(dim=1) == labels).float().mean() > 0.95
