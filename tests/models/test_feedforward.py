"""The feed-forward language model: the contract over its variants, and what only a window does."""

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
from zhixing.models.decoders import build_decoder, export_tensors, from_config, load_tensors, parameter_count, to_config
from zhixing.models.feedforward import PRESETS, FeedForward, FeedForwardSettings
from zhixing.models.load import load
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.run import train
from zhixing.training.metrics import read_metrics

PLAIN = FeedForwardSettings(**SHAPE, window=3, embedding_width=8, width=16)
VARIANTS = {
    "plain": PLAIN,
    "deep": PLAIN.replace(layers=2),
    "beyond-the-text": PLAIN.replace(window=20, embedding_width=4, direct=True),
}


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_the_contract(variant, check):
    check(VARIANTS[variant])


def test_it_sees_its_window_and_nothing_before():
    model, ids = language_model(PLAIN), draw(1, 9)
    said = model.next_log_probs(ids, model.initial_state(1))[0]
    for place in range(9):
        changed = ids.copy()
        changed[0, place] = (ids[0, place] + 1) % V
        moved = np.abs(model.next_log_probs(changed, model.initial_state(1))[0] - said).max()
        assert (moved > 1e-3) if place >= 9 - PLAIN.window else (moved < TOLERANCE["atol"])


def test_one_token_of_window_is_a_bigram_model():
    model = language_model(PLAIN.replace(window=1))
    said = model.next_log_probs(np.array([[7, 9], [8, 9]]), model.initial_state(2))[0]
    np.testing.assert_allclose(said[0], said[1], **TOLERANCE)
    assert model.initial_state(2).layers[0][0].shape == (2, 0, 8)


def test_before_the_text_there_are_no_words():
    """Not an embedding that is learned: what stands there adds nothing."""
    module = random_decoder(PLAIN)
    hidden, embedded = module(torch.tensor([[5]]))[0, 0], module.token_embedding.weight[5]
    layer = module.blocks[0]
    torch.testing.assert_close(hidden, torch.tanh(layer.weight[:, -8:] @ embedded + layer.bias))


def test_long_texts_are_scored_piece_by_piece_with_a_state_that_does_not_grow(monkeypatch):
    model, ids = language_model(PLAIN), draw(2, 80)
    whole = model.score(ids, np.array([80, 30]))
    monkeypatch.setattr(neural, "_PIECE", 7)
    np.testing.assert_allclose(model.score(ids, np.array([80, 30])), whole, **TOLERANCE)
    _, state = model.next_log_probs(ids, model.initial_state(2))
    assert model.context_length is None and state.layers[0][0].shape == (2, 2, 8)
    assert not state.layers[0][0].requires_grad


def test_a_cache_holds_one_document_per_row():
    module, ids = random_decoder(PLAIN), torch.zeros(1, 2, dtype=torch.int64)
    for more in ({"documents": ids}, {"positions": ids}):
        with pytest.raises(ValueError, match="one document per row"):
            module(ids, cache=module.new_cache(1), **more)


def test_wrong_folders_are_refused_by_name():
    theirs = export_tensors(random_decoder(PLAIN), PLAIN)
    assert set(theirs) == {"embedding.weight", "hidden.0.weight", "hidden.0.bias", "head.weight"}
    broken = {**theirs, "hidden.0.weight": torch.zeros(16, 23), "hidden.7.bias": torch.zeros(1)}
    del broken["head.weight"]
    with pytest.raises(ModelFolderError) as caught:
        load_tensors(build_decoder(PLAIN), PLAIN, broken, "here")
    assert all(name in str(caught.value) for name in ("hidden.0.weight", "hidden.7.bias", "head.weight"))
    config = to_config(PLAIN, 5)
    for field, value, named in (
        ("window", None, "window"),
        ("embedding_size", "9", "embedding_size"),
        ("direct_connections", "maybe", "direct_connections"),
        ("num_hidden_layers", 0, "layers"),
    ):
        with pytest.raises(ModelFolderError, match=named):
            from_config("feedforward", {**config, field: value})


def test_dropout_acts_in_training_only():
    module, ids = build_decoder(PLAIN.replace(dropout=0.3)), torch.from_numpy(draw(2, 6))
    assert (module(ids) - module(ids)).abs().max() > 0.01
    module.eval()
    assert torch.equal(module(ids), module(ids))


def test_settings_and_cost():
    for wrong in ({"window": 0}, {"layers": 0}, {"dropout": 1.0}, {"width": 0}, {"tied": True}):
        with pytest.raises(ValidationError):
            FeedForwardSettings(**wrong)
    with pytest.raises(ValueError, match="vocab_size"):
        FeedForward(FeedForwardSettings())
    # Bengio et al. (2003), section 2: |V|(1 + nm + h) + h(1 + (n - 1)m), here without the |V| biases of the output.
    n, m, h, v = 6, 100, 60, 17964
    assert parameter_count(PRESETS["bengio"]) == v * (n * m + h) + h * (1 + (n - 1) * m)
    assert flops_per_token(PRESETS["bengio"]) == 6 * (v * ((n - 1) * m + h) + h * (1 + (n - 1) * m))


def test_the_tiny_recipe_trains_and_what_it_leaves_is_measured_and_writes(tiny_text, tmp_path):
    recipe = Path(__file__).parents[2] / "recipes" / "tiny-feedforward.yaml"
    overrides = [f"text.paths=['{tiny_text}']", "text.validation_fraction=0.2"]
    overrides += ["data.isolate_documents=yes", "training.compile=no"]
    folder = train(recipe, tmp_path / "run", overrides=overrides, announce=False).folder
    losses = [record["loss"] for record in read_metrics(folder) if "loss" in record]
    assert losses[-1] < losses[0] - 1
    (row,) = (row for row in evaluate([folder], text=[str(tiny_text)]).rows if row.family == "feedforward")
    assert 0 < row.bits_per_byte < 6
    opened = load(folder)
    (written,) = generate(opened.model, opened.tokenizer, ["the cat "], GenerationSettings(max_new_tokens=99, seed=0))
    assert written.ids
