"""What each model may spend, and how often it is looked at: from the comparison's budget to one model's settings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from zhixing.comparison.settings import Budget, ComparedModel, CompareRecipe
from zhixing.models.decoders import DecoderSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.prepare import Ids
from zhixing.pretraining.recipe import COUNTED, ModelSettings, Recipe
from zhixing.pretraining.warm_start import WarmStartSettings
from zhixing.training.machine import probe
from zhixing.training.metrics import read_metrics
from zhixing.training.settings import TrainingSettings

LOOKS = 20
"""Looks at the held-out text in a run: enough points for a curve."""
_PACE_STEPS = 8


def recipe_for(recipe: CompareRecipe, one: ComparedModel, vocab_size: int, models: Path) -> Recipe:
    """Return the recipe of one model: what is equal for all, its own shape, and its share of the budget.

    Args:
        recipe: the comparison's.
        one: the model.
        vocab_size: V of the tokenizer that all share.
        models: folder of the model folders; a mixture may call its members by their names in the comparison.
    """
    return Recipe(
        name=one.name,
        seed=recipe.seed,
        text=recipe.text,
        tokenizer=recipe.tokenizer,
        data=recipe.data,
        model=_with_members(recipe, one.model, models),
        warm_start=one.warm_start,
        training=_training(recipe.budget, one, vocab_size),
    )


def flops_of_token(model: ModelSettings, vocab_size: int) -> float | None:
    """Return the operations of one training token, forward and backward; None for a model that is counted."""
    if isinstance(model, COUNTED):
        return None
    assert isinstance(model, DecoderSettings)
    return flops_per_token(model.replace(vocab_size=model.vocab_size or vocab_size))


def with_looks(recipe: Recipe, ids: Ids, folder: Path) -> Recipe:
    """Return the recipe with as many steps between validations as give some ``LOOKS`` of them.

    A budget of time says nothing of steps, so a few are done and thrown away (in ``folder``).
    """
    if isinstance(recipe.model, COUNTED) or recipe.training.validate_every:
        return recipe
    settings = recipe.training
    if settings.tokens is not None:
        context = recipe.model.context_length
        steps = settings.tokens / (settings.batch_windows * settings.accumulation * context)
    else:
        steps = 60 * (settings.minutes or 0.0) / seconds_per_step(recipe, ids, folder)
    return recipe.replace(training=settings.replace(validate_every=max(1, round(steps / LOOKS))))


def seconds_per_step(recipe: Recipe, ids: Ids, folder: Path) -> float:
    """Return how long a training step takes on this machine, by doing a few in a folder that is removed again."""
    from zhixing.pretraining.neural import NeuralRun

    settings = recipe.training.replace(steps=_PACE_STEPS, log_every=1, validation_windows=1, tensorboard=False)
    short = recipe.replace(training=settings, warm_start=WarmStartSettings())
    with TemporaryDirectory(prefix="pace-", dir=folder) as beside:
        NeuralRun(short, Path(beside), ids, probe(settings)).train()
        ends = [record["seconds"] for record in read_metrics(Path(beside)) if "loss" in record]
    steps = [after - before for before, after in pairwise(ends)]  # without the first, a slow one
    return max(1e-4, median(steps or ends or [1.0]))


def _training(budget: Budget, one: ComparedModel, vocab_size: int) -> TrainingSettings:
    own = {name: value for name, value in one.training if value is not None}
    per_token = flops_of_token(one.model, vocab_size)
    if per_token is None:
        return TrainingSettings(**own, epochs=1.0)
    if budget.flops is not None:
        return TrainingSettings(**own, tokens=max(1, round(budget.flops / per_token)))
    return TrainingSettings(**own, minutes=budget.minutes, tokens=budget.tokens)


def _with_members(recipe: CompareRecipe, model: ModelSettings, models: Path) -> ModelSettings:
    if not isinstance(model, MixtureSettings):
        return model
    known = {one.name for one in recipe.models}
    return model.replace(members=tuple(str(models / name) if name in known else name for name in model.members))
