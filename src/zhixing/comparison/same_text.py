"""An n-gram of exactly the text that another model has read: what the same reading is worth, counted instead."""

from __future__ import annotations

from pathlib import Path

from zhixing.config import load_settings
from zhixing.data.windows import TokenWindows
from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.load import load
from zhixing.pretraining.counted import train_ngram_on
from zhixing.pretraining.prepare import Ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run_folder import RECIPE


def count_same_text(wanted: Recipe, folder: Path, reader: Path, ids: Ids) -> None:
    """Count the windows that the model in ``reader`` had read when its budget was spent into an n-gram at ``folder``.

    A window it has read several times is counted once: a second count of the same text says nothing new.

    Raises:
        DataError: ``reader`` holds no finished model.
        ZhixingError: the folder cannot be written.
    """
    if not (reader / RECIPE).exists():
        raise DataError(
            tr(f"{reader.name} was not trained, so it has read no text", f"{reader.name} 未完成训练，没有读过文本")
        )
    recipe, seen = load_settings(Recipe, reader / RECIPE), load(reader).facts
    context = getattr(recipe.model, "context_length", 0)
    windows = TokenWindows(ids.prepared.train, context, recipe.seed, recipe.data.shuffle)
    count = min(int(seen["windows_seen"]), windows.windows_per_epoch)
    train_ngram_on(windows.seen_ids(0, count), wanted, folder, ids)
