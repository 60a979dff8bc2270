"""One neural run: its figures, its validation, its compilation."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zhixing.config import load_settings
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.neural import NeuralRun
from zhixing.pretraining.prepare import Ids, prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.training.machine import Machine


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path, ["training.steps=4"])


@pytest.fixture(scope="module")
def ids(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Ids:
    return prepare_ids(recipe, tmp_path_factory.mktemp("ids"))


def neural(recipe: Recipe, folder: Path, ids: Ids, **machine: Any) -> NeuralRun:
    values = {"device": "cpu", "precision": "float32", "compiled": False, "threads": 1, "matmul_rate": 1e9}
    torch.set_num_threads(1)
    return NeuralRun(recipe, folder, ids, Machine(**{**values, **machine}))


@pytest.mark.parametrize(
    "settings",
    [
        LlamaSettings(vocab_size=40, context_length=16, layers=2, width=16, heads=4, key_value_heads=2, inner_width=24),
        LlamaSettings(vocab_size=40, context_length=16, layers=1, width=16, heads=2, inner_width=24, tied=True),
        GPT2Settings(vocab_size=40, context_length=16, layers=2, width=16, heads=2),
    ],
    ids=["llama", "tied", "gpt2"],
)
def test_flops_are_six_per_weight_of_a_product_and_attention(settings: Any) -> None:
    model = build_decoder(settings)
    matrices = sum(m.weight.numel() for m in model.blocks.modules() if isinstance(m, torch.nn.Linear))
    attention = 6 * settings.layers * settings.context_length * settings.width
    expected = 6 * (matrices + settings.vocab_size * settings.width) + attention
    # norms and biases are counted along: a thousandth in real models, a few percent in these
    assert expected <= flops_per_token(settings) <= 1.1 * expected


def test_flops_of_an_encoder_count_both_halves_of_attention_and_the_masked_share_of_the_head() -> None:
    settings = BertSettings(vocab_size=400, context_length=16, layers=2, width=16, heads=2)
    model = build_decoder(settings)
    matrices = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    attention = 12 * settings.layers * settings.context_length * settings.width
    expected = 6 * (matrices + 0.15 * 400 * settings.width) + attention
    assert expected <= flops_per_token(settings) <= 1.15 * expected


def test_validation_is_the_mean_loss_of_the_held_out_text(recipe: Recipe, ids: Ids, tmp_path: Path) -> None:
    run = neural(recipe, tmp_path, ids)
    run.decoder.eval()
    first, again = run.validate(), run.validate()
    assert first == again  # the same windows every time
    assert 4 < first["validation_loss"] < np.log(ids.tokenizer.vocab_size) + 1


def test_validation_sees_documents_as_training_does(recipe: Recipe, ids: Ids, tmp_path: Path) -> None:
    alone = neural(recipe, tmp_path, ids)
    together = neural(recipe.replace(data=recipe.data.replace(isolate_documents="no")), tmp_path, ids)
    for run in (alone, together):
        torch.manual_seed(5)
        for parameter in run.decoder.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        run.decoder.eval()
    assert alone.validate() != together.validate()


def test_saving_draws_nothing_and_changes_nothing(recipe: Recipe, ids: Ids, tmp_path: Path) -> None:
    plain = neural(recipe, tmp_path / "a", ids)
    plain.train()
    every = recipe.replace(training=recipe.training.replace(checkpoint_steps=1, validate_every=1))
    saving = neural(every, tmp_path / "b", ids)
    saving.train()
    for a, b in zip(plain.decoder.parameters(), saving.decoder.parameters(), strict=True):
        assert torch.equal(a, b)


def _captured(recipe: Recipe, dropout: float) -> Recipe:
    """The recipe with a model that is captured as one graph."""
    model = recipe.model.replace(layers=1, dropout=dropout)
    return recipe.replace(data=recipe.data.replace(isolate_documents="no"), model=model)


@pytest.mark.filterwarnings("ignore")  # those within torch._dynamo
def test_dropout_stays_within_the_compiled_graph_and_repeats(
    recipe: Recipe, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    weights = []
    for name, dropout in (("a", 0.3), ("b", 0.3), ("c", 0.0)):
        run = neural(_captured(recipe, dropout), tmp_path / name, ids, compiled=True)
        torch.manual_seed(3)
        run.train()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in run.decoder.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2], atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # those within torch._dynamo
def test_compiled_training_is_the_same_and_compiling_costs_no_training_time(
    recipe: Recipe, ids: Ids, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the graph is captured and differentiated as ever, but not turned into C++: that takes a minute
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch.compiler.reset()  # what another test has compiled would cost nothing here
    bare = _captured(recipe, dropout=0.0)
    plain, compiled = neural(bare, tmp_path / "a", ids), neural(bare, tmp_path / "b", ids, compiled=True)
    before = torch.get_rng_state()
    start = time.perf_counter()
    compiled._warm_up_compilation()
    warm_up = time.perf_counter() - start
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in compiled.decoder.parameters())
    for run in (plain, compiled):
        torch.manual_seed(3)
        run.train()
    for a, b in zip(plain.decoder.parameters(), compiled.decoder.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    assert compiled.state.seconds < warm_up
