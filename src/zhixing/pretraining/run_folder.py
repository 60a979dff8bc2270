"""The folder of a run: what makes it one, where its ids are, and how the finished model is written into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zhixing.config import to_yaml
from zhixing.errors import ConfigError
from zhixing.language import tr
from zhixing.model_folder import Content, model_card, publish_into
from zhixing.model_folder.durable import replace_file
from zhixing.models.families import ENCODERS
from zhixing.pretraining.objectives import resolve
from zhixing.pretraining.recipe import COUNTED, Recipe

RECIPE = "recipe.yaml"
STATE = "training_state"
IDS_FOLDER = "ids_folder.txt"


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, and what produced the model."""

    folder: Path
    facts: Mapping[str, Any]


def ids_folder_of(folder: Path) -> Path:
    """Return the folder of tokenizer and shards that the run in ``folder`` reads."""
    link = folder / IDS_FOLDER
    return Path(link.read_text(encoding="utf-8").strip()) if link.is_file() else folder


def check_free(out: Path) -> None:
    """Refuse a folder that holds a run already, and a file where a folder should be."""
    blocked = next((path for path in (out, *out.parents) if path.exists()), None)
    if blocked is not None and not blocked.is_dir():
        raise ConfigError(
            tr(f"{blocked} is a file, not a folder; choose another --out", f"{blocked} 是文件而非文件夹；请另选 --out")
        )
    if (out / RECIPE).exists():
        raise ConfigError(
            tr(
                f"{out} holds a run already; choose another --out, or continue it: zhixing resume {out}",
                f"{out} 已有一次训练；请另选 --out，或继续它：zhixing resume {out}",
            )
        )


def claim(out: Path, recipe: Recipe, ids_folder: Path | None) -> None:
    """Write what makes ``out`` a run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    if ids_folder is not None:
        replace_file(out / IDS_FOLDER, f"{ids_folder.resolve()}\n")
    replace_file(out / RECIPE, to_yaml(recipe))


def learns_sentences(recipe: Recipe) -> bool:
    """Say whether the model is one of sentences, not of the tokens in them."""
    return resolve(recipe.objective, recipe.model.family).kind == "contrastive"


def publish(recipe: Recipe, folder: Path, files: Mapping[str, Content], facts: Mapping[str, Any]) -> None:
    """Write a finished model into the folder of its run: its files, its recipe, a card that says what it is for."""
    task = "fill-mask" if recipe.model.family in ENCODERS else "text-generation"
    if not isinstance(recipe.model, COUNTED) and learns_sentences(recipe):
        task = "sentence-similarity"
    if recipe.text.pair_fields:
        task = "text2text-generation"
    card = model_card(recipe.name, facts=facts, pipeline_tag=task)
    publish_into(folder, {**files, RECIPE: to_yaml(recipe), "README.md": card}, facts=facts)
