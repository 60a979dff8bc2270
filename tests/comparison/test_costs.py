"""One budget for all: what it means for each family, and how often a run is looked at."""

from pathlib import Path

import pytest

from zhixing.comparison.costs import LOOKS, flops_of_token, recipe_for, seconds_per_step, with_looks
from zhixing.comparison.settings import Budget, ComparedModel, CompareRecipe
from zhixing.models.mixture import MixtureSettings
from zhixing.pretraining.prepare import Ids, prepare_ids
from zhixing.pretraining.recipe import Recipe

V = 300


@pytest.fixture(scope="module")
def ids(recipe: CompareRecipe, tmp_path_factory: pytest.TempPathFactory) -> Ids:
    base = Recipe(seed=recipe.seed, text=recipe.text, tokenizer=recipe.tokenizer, data=recipe.data)
    return prepare_ids(base, tmp_path_factory.mktemp("ids"))


def of(recipe: CompareRecipe, name: str) -> ComparedModel:
    return next(one for one in recipe.models if one.name == name)


def test_operations_buy_each_model_its_own_tokens(recipe: CompareRecipe) -> None:
    rich = recipe.replace(budget=Budget(flops=1e9))
    for name in ("gru", "llama"):
        one = of(rich, name)
        tokens, per_token = recipe_for(rich, one, V, Path("m")).training.tokens, flops_of_token(one.model, V)
        assert tokens is not None and per_token is not None
        assert tokens * per_token == pytest.approx(1e9, rel=0.001)
    assert flops_of_token(of(rich, "llama").model, V) != flops_of_token(of(rich, "gru").model, V)


def test_time_and_tokens_are_handed_on(recipe: CompareRecipe) -> None:
    assert recipe_for(recipe, of(recipe, "gru"), V, Path("m")).training.tokens == 1600
    timed = recipe.replace(budget=Budget(minutes=0.5))
    training = recipe_for(timed, of(timed, "gru"), V, Path("m")).training
    assert (training.minutes, training.tokens, training.batch_windows) == (0.5, None, 4)


def test_a_counted_model_is_not_bound(recipe: CompareRecipe) -> None:
    assert flops_of_token(of(recipe, "trigram").model, V) is None
    training = recipe_for(recipe, of(recipe, "trigram"), V, Path("m")).training
    assert (training.tokens, training.epochs) == (None, 1.0)


def test_a_mixture_calls_others_by_their_names(recipe: CompareRecipe) -> None:
    mixture = ComparedModel(name="both", model=MixtureSettings(members=("gru", "/some/folder")))
    found = recipe_for(recipe, mixture, V, Path("out/models")).model
    assert isinstance(found, MixtureSettings) and found.members == (str(Path("out/models/gru")), "/some/folder")


def test_some_twenty_looks(recipe: CompareRecipe, ids: Ids, tmp_path: Path) -> None:
    wanted = recipe_for(recipe, of(recipe, "llama"), V, tmp_path)
    steps = 1600 / (4 * 16)
    assert with_looks(wanted, ids, tmp_path).training.validate_every == max(1, round(steps / LOOKS))
    own = wanted.replace(training=wanted.training.replace(validate_every=7))
    assert with_looks(own, ids, tmp_path) is own
    counted = recipe_for(recipe, of(recipe, "trigram"), V, tmp_path)
    assert with_looks(counted, ids, tmp_path) is counted


def test_pace_is_measured_and_nothing_is_left(recipe: CompareRecipe, ids: Ids, tmp_path: Path) -> None:
    timed = recipe.replace(budget=Budget(minutes=10.0))
    wanted = recipe_for(timed, of(timed, "llama"), ids.tokenizer.vocab_size, tmp_path)
    pace = seconds_per_step(wanted, ids, tmp_path)
    assert 1e-4 <= pace < 2
    assert list(tmp_path.iterdir()) == []
    looked = with_looks(wanted, ids, tmp_path).training.validate_every
    assert 600 / 2 / LOOKS <= looked <= 600 / 1e-4 / LOOKS
