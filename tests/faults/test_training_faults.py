"""Faults while training (T1, T6, T8), through the whole way from a recipe to a model folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from zhixing.config import load_settings
from zhixing.data.windows import Batch
from zhixing.errors import ConfigError, DataError
from zhixing.model_folder import verify_folder
from zhixing.pretraining.causal import CausalLM
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train
from zhixing.training.loop import Diverged
from zhixing.training.metrics import read_metrics
from zhixing.training.objective import Loss


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path, ["training.accumulation=1", "training.checkpoint_steps=2", "training.steps=16"])


@pytest.fixture(scope="module")
def ids(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ids")
    prepare_ids(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def straight(recipe: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "run"
    train(recipe, out, ids_folder=ids, announce=False)
    return out


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def spoil(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, torch.Tensor], torch.Tensor]) -> None:
    """Change the loss of the n-th training batch."""
    plain, calls = CausalLM.loss, [0]

    def loss(self: CausalLM, model: nn.Module, batch: Batch) -> Loss:
        result = plain(self, model, batch)
        if not torch.is_grad_enabled():  # a validation
            return result
        calls[0] += 1
        return Loss(change(calls[0], result.total))

    monkeypatch.setattr(CausalLM, "loss", loss)


class Spike(torch.autograd.Function):
    """The identity, whose gradient is too large for float32."""

    @staticmethod
    def forward(ctx: Any, total: torch.Tensor) -> torch.Tensor:
        return total.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * 1e30 * 1e30


@pytest.mark.parametrize("spike", [lambda total: total * float("nan"), Spike.apply], ids=["nan", "gradient spike"])
def test_two_bad_steps_are_skipped_and_counted(
    recipe: Recipe, ids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spike: Any
) -> None:
    spoil(monkeypatch, lambda call, total: spike(total) if call in (5, 6) else total)
    train(recipe, tmp_path / "run", ids_folder=ids, announce=False)
    records = [record for record in read_metrics(tmp_path / "run") if "loss" in record]
    assert [record["skipped"] for record in records] == [0] * 4 + [1] + [2] * 11
    assert verify_folder(tmp_path / "run") == []


@pytest.mark.parametrize("spike", [lambda total: total * float("inf"), Spike.apply], ids=["inf", "gradient spike"])
def test_three_in_a_row_stop_and_the_last_good_state_goes_on(
    straight: Path, recipe: Recipe, ids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spike: Any
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as inner:
        spoil(inner, lambda call, total: spike(total) if call > 6 else total)
        with pytest.raises(Diverged, match=r"3 steps in a row \(the last was step 9\)") as diverged:
            train(recipe, out, ids_folder=ids, announce=False)
    assert diverged.value.exit_code == 1
    steps = sorted(folder.name for folder in (out / "training_state").glob("step-*"))
    assert steps == ["step-00000004", "step-00000006"]
    resume(out)  # the fault is gone: the run ends as it would have
    assert weights(out) == weights(straight)


def test_a_metrics_log_that_cannot_be_written_changes_nothing(
    straight: Path, recipe: Recipe, ids: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    (out / "metrics.jsonl").mkdir(parents=True)  # no one can write there, not even root
    train(recipe, out, ids_folder=ids, announce=False)
    assert caplog.text.count("metrics cannot be written") == 1
    assert caplog.text.count("metrics cannot be read") == 1
    assert (out / "report.html").exists()
    assert weights(out) == weights(straight)


def write(folder: Path, *documents: str) -> str:
    folder.mkdir()
    for index, document in enumerate(documents):
        (folder / f"{index}.txt").write_text(document, encoding="utf-8")
    return str(folder)


def test_text_smaller_than_one_batch_trains(recipe: Recipe, tmp_path: Path) -> None:
    """Ten words, a batch of 32 windows of 32 bytes: every batch is several epochs."""
    text = write(tmp_path / "text", "ten short words are all there is to learn from")
    small = recipe.replace(
        text=recipe.text.replace(paths=(text,)), training=recipe.training.replace(batch_windows=32, steps=3)
    )
    result = train(small, tmp_path / "run", announce=False)
    assert result.facts["windows_seen"] == 96
    assert 0 < result.facts["tokens_seen"] < 96 * 32
    losses = [record["loss"] for record in read_metrics(tmp_path / "run") if "loss" in record]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("documents", [(), ("",), ("\n\n",)])
def test_no_text_at_all_is_said(recipe: Recipe, tmp_path: Path, documents: tuple[str, ...]) -> None:
    text = write(tmp_path / "text", *documents)
    with pytest.raises(DataError) as error:
        train(recipe.replace(text=recipe.text.replace(paths=(text,))), tmp_path / "run", announce=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_validating_without_held_out_text_is_said_before_training(recipe: Recipe, tmp_path: Path) -> None:
    text = write(tmp_path / "text", "one document that is long enough to learn from, and none to hold out")
    alone = recipe.replace(
        text=recipe.text.replace(paths=(text,), validation_fraction=0.0),
        training=recipe.training.replace(validate_every=2),
    )
    with pytest.raises(ConfigError, match=r"training\.validate_every: no text is held out"):
        train(alone, tmp_path / "run", announce=False)
    train(alone.replace(training=recipe.training.replace(steps=2)), tmp_path / "run", announce=False)
    assert not any("validation_loss" in record for record in read_metrics(tmp_path / "run"))
