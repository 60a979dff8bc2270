"""The recipe of a comparison: what is shared, what a model lays over it, and what is refused where it stands."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from zhixing.comparison.settings import Budget, ComparedModel, CompareRecipe, schema
from zhixing.config import load_settings, to_yaml
from zhixing.errors import ConfigError
from zhixing.models.ngram import NgramSettings

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_model_lays_its_training_over_the_shared_one(recipe: CompareRecipe) -> None:
    by_name = {one.name: one.training for one in recipe.models}
    assert by_name["llama"].optimizer.learning_rate == 0.01
    assert by_name["llama"].batch_windows == by_name["gru"].batch_windows == 4
    assert by_name["gru"] == recipe.training != by_name["llama"]
    assert by_name["elsewhere"].device == "quantum" and by_name["gru"].device == "auto"


def test_branches_are_merged_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "training: {optimizer: {kind: adamw, beta2: 0.9}}\n"
        "models: [{name: a, model: {family: ngram}, training: {optimizer: {beta2: 0.5}}}]\n",
        encoding="utf-8",
    )
    (one,) = load_settings(CompareRecipe, path).models
    assert (one.training.optimizer.kind, one.training.optimizer.beta2) == ("adamw", 0.5)


def test_what_is_written_reads_back_equal(recipe: CompareRecipe, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    assert load_settings(CompareRecipe, tmp_path / "again.yaml") == recipe


@pytest.mark.parametrize("name", ["compare", "tiny-compare"])
def test_the_shipped_recipes_load_and_are_named_like_their_files(name: str) -> None:
    recipe = load_settings(CompareRecipe, RECIPES / f"{name}.yaml")
    assert recipe.name == name and len(recipe.models) >= 8


def test_the_shipped_schema_is_the_settings() -> None:
    shipped = files("zhixing.comparison").joinpath("recipe.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == schema()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budget.minutes=1", "give exactly one of minutes, tokens, flops (given: minutes, tokens)"),
        ("budget.tokens=null", "(given: none)"),
        ("training.minutes=1", "take minutes out of training, set budget instead"),
        ("training.optimizr=1", "unknown key 'training.optimizr'; did you mean 'optimizer'?"),
        ("models=[]", "name at least one"),
        ("models=[{name: a/b, model: {family: ngram}}]", "a name begins with a letter or digit"),
        ("models=[{name: .., model: {family: ngram}}]", "a name begins with a letter or digit"),
        ("models=[{name: a, model: {family: nrgam}}]", "did you mean 'ngram'?"),
        ("models=[{name: a, model: {family: ngram}, training: {stpes: 1}}]", "unknown key 'models.0.training.stpes'"),
        ("models=[{name: a, model: {family: ngram}, training: {tokens: 1}}]", "take tokens out of training"),
        ("models=[{name: a, model: {family: ngram}, warm_start: {steps: 1}}]", "needs model.family llama"),
        ("models=[{name: a, model: {family: ngram}}, {name: A, model: {family: ngram}}]", "A, a stands there twice"),
        ("models=[{name: a, model: {family: bert}}]", "the family bert predicts no next token"),
        ("text={source_field: a, target_field: b}", "measure such models with zhixing evaluate --pairs"),
        ("models=[{name: a, model: {family: ngram}, same_text_as: b}]", "there are: none"),
        (
            "models=[{name: b, model: {family: llama}}, {name: a, model: {family: hmm}, same_text_as: b}]",
            "only an n-gram can be counted on the text of another",
        ),
        (
            "models=[{name: t, model: {family: t5}}, {name: b, model: {family: llama}}, "
            "{name: a, model: {family: ngram}, same_text_as: t}]",
            "there are: b",
        ),
        ("models=[{name: m, model: {family: mixture, members: [a, b]}}]", "set evaluation.part to report"),
    ],
)
def test_mistakes_are_named(recipe_text: str, tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(recipe_text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(CompareRecipe, path, [change])
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2  # one mistake is not told once for every model


def test_it_can_be_made_in_python() -> None:
    recipe = CompareRecipe(models=(ComparedModel(name="3-gram", model=NgramSettings(order=3)),))
    assert recipe.budget == Budget(minutes=2.0)
