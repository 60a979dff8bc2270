"""A hidden Markov model from a recipe to a model folder, as every family."""

from pathlib import Path

import numpy as np
import pytest

from zhixing.config import load_settings
from zhixing.errors import ConfigError, ResumeError
from zhixing.model_folder import verify_folder
from zhixing.models.hmm import HmmSettings
from zhixing.models.load import load
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path).replace(model=HmmSettings(states=4, iterations=5, tolerance=0.0))


@pytest.fixture(scope="module")
def run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("hmm") / "run", announce=False).folder


def test_it_trains_and_opens(run: Path) -> None:
    assert verify_folder(run) == []
    loaded = load(run)
    facts = loaded.facts
    assert (loaded.model.family, facts["family"], facts["states"], facts["passes"]) == ("hmm", "hmm", 4, 5)
    assert facts["tokens_seen"] > 0 and facts["tokens_seen"] % 5 == 0
    ids = np.array([[loaded.tokenizer.separator_id, *loaded.tokenizer.encode("the cat sat")]])
    scores = loaded.model.score(ids)
    assert np.isfinite(scores).all()
    assert scores.mean() > -np.log(loaded.model.vocab_size)


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(run: Path, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "same", announce=False)
    train(recipe.replace(seed=1), tmp_path / "other", announce=False)
    weights = [(folder / "model.safetensors").read_bytes() for folder in (run, tmp_path / "same", tmp_path / "other")]
    assert weights[0] == weights[1] != weights[2]


def test_a_stopped_run_is_begun_again_and_a_finished_one_is_not(run: Path, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr("zhixing.models.hmm.expected_counts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, out, announce=False)
    resume(out)
    assert (out / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    with pytest.raises(ResumeError, match="finished"):
        resume(out)


def test_there_are_no_weights_to_start_from(run: Path, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hmm starts from no weights"):
        train(recipe, tmp_path / "run", init_from=run, announce=False)
