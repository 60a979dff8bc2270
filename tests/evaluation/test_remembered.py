"""A model that stands alone and in a mixture is asked once, with the same figures as if it were asked twice."""

from pathlib import Path

import numpy as np
import pytest
import torch

from zhixing.config import load_settings
from zhixing.evaluation import remembered
from zhixing.evaluation.remembered import Remembered, seconds_saved, share_members
from zhixing.evaluation.run import evaluate
from zhixing.models.load import load
from zhixing.models.mixture import MixtureModel
from zhixing.models.neural import NeuralLanguageModel
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import train


@pytest.fixture(scope="module")
def folders(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny GPT, a trigram, and the mixture of both."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    shared = [f"text.paths=[{tiny_text}]", "text.validation_fraction=0.3", "tokenizer.kind=byte"]
    gpt = [
        "model.family=llama",
        "model.context_length=32",
        "model.width=16",
        "model.layers=1",
        "model.heads=2",
        "model.inner_width=16",
    ]
    kinds = {
        "gpt": [*gpt, "training.minutes=null", "training.steps=3"],
        "trigram": ["model.family=ngram", "model.order=3"],
        "mixture": ["model.family=mixture", f"model.members=[{root / 'gpt'},{root / 'trigram'}]"],
    }
    for name, fields in kinds.items():
        train(load_settings(Recipe, None, [*shared, *fields]), root / name, ids_folder=root / "ids")
    return {name: root / name for name in kinds} | {"ids": root / "ids"}


def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the ids that any neural model is really asked about."""
    asked: list[int] = []
    score = NeuralLanguageModel.score

    def counting(self: NeuralLanguageModel, ids: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        asked.append(ids.size)
        return score(self, ids, lengths)

    monkeypatch.setattr(NeuralLanguageModel, "score", counting)
    return asked


def test_the_mixture_costs_no_second_pass_and_changes_no_figure(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scored(monkeypatch)
    data = folders["ids"] / "shards"
    alone = evaluate([folders["mixture"]], data=data).bits_per_byte["mixture"]
    once = sum(asked)
    asked.clear()
    together = evaluate([folders["gpt"], folders["mixture"]], data=data)
    assert sum(asked) == once > 0
    assert together.bits_per_byte["mixture"] == alone
    seconds = {row.name: row.seconds for row in together.rows}
    assert seconds["mixture"] > 0.7 * seconds["gpt"]  # the remembered seconds are not forgotten


def test_memory_is_bounded(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_TOKENS", 40)
    model = Remembered(load(folders["gpt"]).model)
    ids = np.arange(66, dtype=np.int64).reshape(2, 33)
    first, again = model.score(ids), model.score(ids)
    assert np.array_equal(first, again) and model.seconds_saved == 0


def test_only_equal_weights_are_shared(folders: dict[str, Path]) -> None:
    loaded = {name: load(folders[name]) for name in ("gpt", "mixture")}
    models = {name: one.model for name, one in loaded.items()}
    shared = share_members(models, {name: folders[name] for name in models})
    mixture = shared["mixture"]
    assert isinstance(mixture, MixtureModel) and mixture.members[0] is shared["gpt"]
    assert seconds_saved(mixture) == 0
    other = share_members({"mixture": models["mixture"]}, {"mixture": folders["mixture"]})["mixture"]
    assert isinstance(other, MixtureModel) and not isinstance(other.members[0], Remembered)
