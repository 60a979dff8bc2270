"""``train``: every family from a recipe to a model folder that opens, with the facts that made it."""

import json
from pathlib import Path

import pytest

import zhixing
from zhixing.config import digest, load_settings
from zhixing.errors import ConfigError, ResumeError
from zhixing.model_folder import verify_folder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.load import load
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train
from zhixing.training.metrics import read_metrics


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path, ["training.steps=6"])


@pytest.fixture(scope="module")
def ids(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ids")
    prepare_ids(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def llama(recipe: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(recipe, tmp_path_factory.mktemp("llama") / "run", ids_folder=ids, announce=False).folder


@pytest.fixture(scope="module")
def ngram(recipe: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ngram") / "run"
    return train(recipe.replace(model=NgramSettings(order=3)), out, ids_folder=ids, announce=False).folder


def test_a_llama(llama: Path, recipe: Recipe) -> None:
    assert verify_folder(llama) == []
    opened = load(llama)
    assert opened.model.family == "llama"
    facts = json.loads((llama / "MANIFEST.json").read_text(encoding="utf-8"))["facts"]
    assert facts["recipe"] == digest(recipe)
    assert (facts["steps"], facts["windows_seen"], facts["seed"]) == (6, 24, 0)
    assert load_settings(Recipe, llama / "recipe.yaml") == recipe
    records = read_metrics(llama)
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6, 6]
    assert records[-1]["validation_loss"] > 0
    assert not (llama / "training_state").exists()
    assert not list(llama.glob("*tmp*"))


def test_a_gpt2(recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    shape = GPT2Settings(context_length=32, layers=1, width=16, heads=2)
    train(recipe.replace(model=shape), tmp_path / "run", ids_folder=ids, announce=False)
    assert load(tmp_path / "run").model.family == "gpt2"


def test_an_ngram_and_a_mixture(llama: Path, ngram: Path, recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    assert load(ngram).model.family == "ngram"
    mixed = recipe.replace(model=MixtureSettings(members=(str(llama), str(ngram))))
    train(mixed, tmp_path / "run", ids_folder=ids, announce=False)
    assert load(tmp_path / "run").model.family == "mixture"
    assert verify_folder(tmp_path / "run") == []


def test_the_same_recipe_gives_the_same_bits(llama: Path, recipe: Recipe, tmp_path: Path) -> None:
    """With shards of its own, too: nothing depends on where things lie."""
    train(recipe, tmp_path / "run", announce=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (llama / "model.safetensors").read_bytes()
    train(recipe.replace(seed=1), tmp_path / "other", announce=False)
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != (llama / "model.safetensors").read_bytes()


def test_a_path_takes_overrides_and_a_recipe_does_not(recipe: Recipe, llama: Path, ids: Path, tmp_path: Path) -> None:
    path = llama / "recipe.yaml"
    result = zhixing.train(path, tmp_path / "run", overrides=["training.steps=2"], ids_folder=ids, announce=False)
    assert result.facts["steps"] == 2
    with pytest.raises(ConfigError, match="overrides go with a recipe file"):
        train(recipe, tmp_path / "other", overrides=["seed=2"])


def test_what_a_kill_in_publishing_leaves_is_published_again(
    recipe: Recipe, llama: Path, ids: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        # the manifest comes last, when config.json is there already
        monkeypatch.setattr(
            "zhixing.model_folder.folder.replace_file", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        train(recipe, out, ids_folder=ids, announce=False)
    assert (out / "config.json").exists()
    assert verify_folder(out) != []
    resume(out)
    assert verify_folder(out) == []
    assert (out / "model.safetensors").read_bytes() == (llama / "model.safetensors").read_bytes()


def test_what_a_kill_before_the_report_leaves_is_done(recipe: Recipe, llama: Path, ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr("zhixing.pretraining.run._report", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, out, ids_folder=ids, announce=False)
    assert verify_folder(out) == [] and not (out / "report.html").exists()
    resume(out)
    assert (out / "report.html").exists() and not (out / "training_state").exists()
    assert (out / "model.safetensors").read_bytes() == (llama / "model.safetensors").read_bytes()
    with pytest.raises(ResumeError, match="the run is finished"):
        resume(out)


@pytest.mark.parametrize("inside", ["", "within"])
def test_a_file_where_the_folder_should_be(recipe: Recipe, ids: Path, tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="file is a file, not a folder"):
        train(recipe, tmp_path / "file" / inside, ids_folder=ids, announce=False)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_an_interrupted_ngram_is_counted_again(recipe: Recipe, ngram: Path, ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr(
            "zhixing.pretraining.counted.NgramModel.fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        train(recipe.replace(model=NgramSettings(order=3)), out, ids_folder=ids, announce=False)
    resume(out)
    assert (out / "model.safetensors").read_bytes() == (ngram / "model.safetensors").read_bytes()


def test_members_with_another_tokenizer_are_named(llama: Path, recipe: Recipe, tmp_path: Path) -> None:
    other = recipe.replace(
        model=NgramSettings(order=2), tokenizer=recipe.tokenizer.replace(kind="character", vocab_size=290)
    )
    train(other, tmp_path / "other", announce=False)
    mixed = recipe.replace(model=MixtureSettings(members=(str(llama), str(tmp_path / "other"))))
    with pytest.raises(ConfigError, match=r"model\.members: .*other have another tokenizer than .*run"):
        train(mixed, tmp_path / "mixed", announce=False)
