"""``train`` and ``resume``: from a recipe to a model folder, for every family."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.config import digest, load_settings, to_yaml
from zhixing.errors import ConfigError, ResumeError
from zhixing.evaluation.run import versions
from zhixing.language import tr
from zhixing.model_folder import Content, model_card, publish_into
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramModel, NgramSettings
from zhixing.models.save import companion_files, mixture_files, ngram_files
from zhixing.pretraining.prepare import Ids, prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.training.checkpoints import Checkpoints

_log = logging.getLogger(__name__)
RECIPE = "recipe.yaml"
STATE = "training_state"


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, and what produced the model."""

    folder: Path
    facts: Mapping[str, Any]


def train(
    recipe: Recipe | str | Path,
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    init_from: str | Path | None = None,
    ids_folder: str | Path | None = None,
    announce: bool = True,
) -> TrainResult:
    """Train what the recipe describes and leave a model folder at ``out``.

    Args:
        recipe: a recipe, or the path of one.
        out: the run's folder; it must not hold a run yet.
        overrides: ``a.b=c`` changes to the recipe.
        init_from: a model folder whose weights are the start (a new run otherwise).
        ids_folder: where tokenizer and shards are kept or made; ``out`` by default. Runs may share it.
        announce: log the whole resolved recipe at the start.

    Raises:
        InputError: recipe, text or folders are wrong.
        Stopped: a signal came; the state is saved and ``resume`` continues.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_settings(Recipe, recipe, overrides)
    elif overrides:
        raise ConfigError(tr("overrides go with a recipe file", "覆盖项须与配方文件一起使用"))
    out = Path(out)
    if (out / RECIPE).exists():
        raise ConfigError(
            tr(
                f"{out} holds a run already; choose another --out, or continue it: zhixing resume {out}",
                f"{out} 已有一次训练；请另选 --out，或继续它：zhixing resume {out}",
            )
        )
    if announce:
        _log.info("%s", to_yaml(recipe))
    ids = _ids(recipe, Path(ids_folder or out))
    out.mkdir(parents=True, exist_ok=True)
    (out / RECIPE).write_text(to_yaml(recipe), encoding="utf-8")
    if ids_folder is not None:
        (out / "ids_folder.txt").write_text(str(Path(ids_folder).resolve()) + "\n", encoding="utf-8")
    if isinstance(recipe.model, NgramSettings):
        return _train_ngram(recipe, out, ids)
    if isinstance(recipe.model, MixtureSettings):
        return _train_mixture(recipe, out, ids)
    return _train_neural(recipe, out, ids, Path(init_from) if init_from else None)


def resume(folder: str | Path, *, overrides: Sequence[str] = (), allow_changes: bool = False) -> TrainResult:
    """Continue an interrupted run: the same run, bit for bit on one kind of machine.

    Args:
        folder: the run's folder.
        overrides: changes to its recipe; refused by name unless allowed.
        allow_changes: accept changed ``training`` settings or another machine; logged.

    Raises:
        ResumeError: nothing to resume, or settings differ.
        CheckpointError: no checkpoint is whole.
    """
    folder = Path(folder)
    if not (folder / RECIPE).exists():
        raise ResumeError(
            tr(f"{folder} holds no run: there is no {RECIPE}", f"{folder} 没有可续的训练：缺少 {RECIPE}")
        )
    recipe = load_settings(Recipe, folder / RECIPE, overrides)
    if (folder / "config.json").exists():
        raise ResumeError(
            tr(
                f"{folder}: the run is finished; for more training start a new run from its weights: "
                f"zhixing train {folder / RECIPE} --init-from {folder} --out NEW",
                f"{folder}：训练已完成；如需继续训练，请以其权重开始新的训练："
                f"zhixing train {folder / RECIPE} --init-from {folder} --out 新文件夹",
            )
        )
    link = folder / "ids_folder.txt"
    ids = _ids(recipe, Path(link.read_text(encoding="utf-8").strip()) if link.exists() else folder)
    if isinstance(recipe.model, NgramSettings):
        return _train_ngram(recipe, folder, ids)
    if isinstance(recipe.model, MixtureSettings):
        return _train_mixture(recipe, folder, ids)
    return _train_neural(recipe, folder, ids, None, resuming=True, allow_changes=allow_changes)


def _ids(recipe: Recipe, folder: Path) -> Ids:
    if isinstance(recipe.model, MixtureSettings) and len(recipe.model.members) < 2:
        raise ConfigError(
            tr("model.members: a mixture needs at least two model folders", "model.members：混合模型至少需要两个模型文件夹")
        )
    return prepare_ids(recipe, folder)


def _train_neural(
    recipe: Recipe,
    folder: Path,
    ids: Ids,
    init_from: Path | None,
    *,
    resuming: bool = False,
    allow_changes: bool = False,
) -> TrainResult:
    from zhixing.pretraining.neural import NeuralRun
    from zhixing.training.machine import probe

    machine = probe(recipe.training)
    _log.info(tr(f"machine: {machine.describe()}", f"机器：{machine.describe()}"))
    neural = NeuralRun(recipe, folder, ids, machine)
    if init_from is not None:
        neural.initialise_from(init_from)
    if resuming:
        checkpoint = Checkpoints(folder / STATE).latest()
        if checkpoint is not None:
            neural.restore(checkpoint, allow_changes)
        else:
            _log.info(tr("no checkpoint yet: starting from the beginning", "尚无检查点：从头开始"))
    neural.train()
    _publish(recipe, folder, neural.files(), neural.facts())
    shutil.rmtree(folder / STATE, ignore_errors=True)
    return TrainResult(folder, neural.facts())


def _train_ngram(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    shards = ids.prepared.train
    return train_ngram_on([shards.tokens(0, shards.token_count)], recipe, folder, ids)


def train_ngram_on(
    sequences: Iterable[NDArray[np.int64]], recipe: Recipe, folder: Path, ids: Ids
) -> TrainResult:
    """Count ``sequences`` of ids (the first of each is context only) into an n-gram model folder."""
    assert isinstance(recipe.model, NgramSettings)
    tokenizer = ids.tokenizer
    never = tokenizer.special_ids - {tokenizer.separator_id}
    kept = [np.asarray(sequence) for sequence in sequences]
    model = NgramModel.fit(kept, tokenizer.vocab_size, tokenizer.separator_id, recipe.model.order, never)
    seen = sum(len(sequence) - 1 for sequence in kept)
    facts = _facts(recipe, ids, "ngram") | {"order": recipe.model.order, "tokens_seen": seen}
    _publish(recipe, folder, ngram_files(model) | companion_files(tokenizer), facts)
    return TrainResult(folder, facts)


def _train_mixture(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    from zhixing.evaluation.fit_mixture import fit_mixture
    from zhixing.evaluation.heldout import HeldOutShards
    from zhixing.models.load import load

    assert isinstance(recipe.model, MixtureSettings)
    members = [load(path) for path in recipe.model.members]
    different = [str(m.path) for m in members if m.tokenizer.fingerprint != members[0].tokenizer.fingerprint]
    if different:
        raise ConfigError(
            tr(
                f"model.members: {', '.join(different)} have another tokenizer than {members[0].path}",
                f"model.members：{', '.join(different)} 与 {members[0].path} 的分词器不同",
            )
        )
    held_out = HeldOutShards(ids.prepared.validation, ids.tokenizer, part="fit")
    mixture = fit_mixture(
        [m.model for m in members], held_out.documents(members[0].tokenizer), recipe.model.weights
    )
    facts = _facts(recipe, ids, "mixture") | {"members": [dict(m.facts) for m in members]}
    files = mixture_files(mixture, [m.path for m in members]) | companion_files(members[0].tokenizer)
    _publish(recipe, folder, files, facts)
    return TrainResult(folder, facts)


def _facts(recipe: Recipe, ids: Ids, family: str) -> dict[str, Any]:
    return {
        "family": family,
        "recipe": digest(recipe),
        "data": ids.prepared.train.digest,
        "tokenizer": ids.tokenizer.fingerprint,
        "seed": recipe.seed,
        "versions": versions(),
    }


def _publish(recipe: Recipe, folder: Path, files: Mapping[str, Content], facts: Mapping[str, Any]) -> None:
    card = model_card(recipe.name, facts=facts)
    publish_into(folder, {**files, RECIPE: to_yaml(recipe), "README.md": card}, facts=facts)
