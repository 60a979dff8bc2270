"""``train`` and ``resume``: from a recipe to a model folder, for every family."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from zhixing.config import brought_up, load_settings, to_yaml
from zhixing.errors import ConfigError, ResumeError
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME
from zhixing.model_folder.durable import replace_file
from zhixing.models.families import ENCODERS
from zhixing.models.mixture import MixtureSettings
from zhixing.models.word_vectors import WordVectorSettings
from zhixing.pretraining.counted import train_counted, train_word_vectors
from zhixing.pretraining.prepare import Ids, data_card, prepare_ids
from zhixing.pretraining.recipe import COUNTED, Recipe
from zhixing.pretraining.run_folder import (
    RECIPE,
    STATE,
    TrainResult,
    check_free,
    claim,
    ids_folder_of,
    learns_sentences,
    publish,
)
from zhixing.training.checkpoints import Checkpoint, Checkpoints
from zhixing.training.metrics import read_metrics

if TYPE_CHECKING:
    from zhixing.pretraining.neural import NeuralRun
    from zhixing.training.report import Sample

_log = logging.getLogger(__name__)


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
        announce: log the whole resolved recipe, and which ids are there, at the start.

    Raises:
        InputError: recipe, text or folders are wrong; ``ids_folder`` holds ids of other text or settings.
        Stopped: a signal came; the state is saved and ``resume`` continues.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_settings(Recipe, recipe, overrides)
    elif overrides:
        raise ConfigError(tr("overrides go with a recipe file", "覆盖项须与配方文件一起使用"))
    out, shared = Path(out), Path(ids_folder) if ids_folder is not None else None
    counted = isinstance(recipe.model, COUNTED)
    if counted and init_from is not None:
        raise ConfigError(
            tr(
                f"--init-from: a model of the family {recipe.model.family} starts from no weights; leave it out",
                f"--init-from：{recipe.model.family} 类模型没有起始权重；请去掉该选项",
            )
        )
    check_free(out)
    if announce:
        _log.info("%s", to_yaml(recipe))
    if isinstance(recipe.model, WordVectorSettings):
        _refuse_ids(shared)
        claim(out, recipe, None)
        return train_word_vectors(recipe, out)
    start = None if init_from is None else Path(init_from)
    ids = _ids(recipe, shared or out, replace=shared is None, announce=announce, start=start)
    if counted:
        claim(out, recipe, shared)
        return train_counted(recipe, out, ids)
    neural = _neural_run(recipe, out, ids)
    if start is not None:
        neural.initialise_from(start)
    with neural.checkpoints as checkpoints:
        check_free(out)
        # What a start that was killed right here has left. The untrained state is saved before the folder is
        # claimed: every run that can be seen can be resumed, and a full disk is found now, not hours later.
        shutil.rmtree(checkpoints.folder / "step-00000000", ignore_errors=True)
        neural.save()
        claim(out, recipe, shared)
        return _finish(neural)


def resume(folder: str | Path, *, overrides: Sequence[str] = (), allow_changes: bool = False) -> TrainResult:
    """Continue an interrupted run: the same run, bit for bit on one kind of machine.

    Args:
        folder: the run's folder.
        overrides: changes to its recipe; refused by name unless allowed.
        allow_changes: accept changed ``training`` settings or another machine; logged.

    Raises:
        ResumeError: nothing to resume, or settings differ.
        CheckpointError: no checkpoint is whole.
        DataError: the text is not what the run has read; nothing was changed.
    """
    folder = Path(folder)
    if not (folder / RECIPE).exists():
        raise ResumeError(tr(f"{folder} holds no run: there is no {RECIPE}", f"{folder} 没有可续的训练：缺少 {RECIPE}"))
    recipe = load_settings(Recipe, folder / RECIPE, overrides)
    if (folder / MANIFEST_NAME).exists() and not (folder / STATE).exists():
        raise ResumeError(
            tr(
                f"{folder}: the run is finished; for more training start a new run from its weights: "
                f"zhixing train {folder / RECIPE} --init-from {folder} --out NEW",
                f"{folder}：训练已完成；如需继续训练，请以其权重开始新的训练："
                f"zhixing train {folder / RECIPE} --init-from {folder} --out 新文件夹",
            )
        )
    if isinstance(recipe.model, WordVectorSettings):
        return train_word_vectors(recipe, folder)
    ids_folder = ids_folder_of(folder)
    if isinstance(recipe.model, COUNTED):
        return train_counted(recipe, folder, _ids(recipe, ids_folder))
    with Checkpoints(folder / STATE, keep=recipe.training.keep_checkpoints) as checkpoints:
        checkpoint = checkpoints.latest()
        if checkpoint is not None:
            _check_recipe(checkpoint, recipe, allow_changes)
        neural = _neural_run(recipe, folder, _ids(recipe, ids_folder), checkpoints)
        if checkpoint is not None:
            neural.restore(checkpoint, allow_changes)
        else:
            _log.info(tr("no checkpoint: starting from the beginning", "没有检查点：从头开始"))
        replace_file(folder / RECIPE, to_yaml(recipe))
        return _finish(neural)


def _check_recipe(checkpoint: Checkpoint, recipe: Recipe, allow_changes: bool) -> None:
    """Refuse changes before any text is read anew and shards are written over."""
    from zhixing.pretraining.neural import accepted_changes

    saved = brought_up(Recipe, checkpoint.state()["contract"]["recipe"])
    accepted_changes({"recipe": saved}, {"recipe": recipe.model_dump(mode="json")}, allow_changes)


def _ids(recipe: Recipe, folder: Path, replace: bool = False, announce: bool = True, start: Path | None = None) -> Ids:
    if isinstance(recipe.model, MixtureSettings) and len(recipe.model.members) < 2:
        raise ConfigError(
            tr(
                "model.members: a mixture needs at least two model folders",
                "model.members：混合模型至少需要两个模型文件夹",
            )
        )
    return prepare_ids(recipe, folder, replace, announce, start)


def _neural_run(recipe: Recipe, folder: Path, ids: Ids, checkpoints: Checkpoints | None = None) -> NeuralRun:
    from zhixing.pretraining.neural import NeuralRun
    from zhixing.training.machine import probe

    machine = probe(recipe.training)
    _log.info(tr(f"machine: {machine.describe()}", f"机器：{machine.describe()}"))
    return NeuralRun(recipe, folder, ids, machine, checkpoints)


def _finish(neural: NeuralRun) -> TrainResult:
    """Train to the end, publish the model, remove the state of the run."""
    neural.train()
    publish(neural.recipe, neural.folder, neural.files(), neural.facts())
    _report(neural)
    shutil.rmtree(neural.folder / STATE, ignore_errors=True)
    return TrainResult(neural.folder, neural.facts())


def _report(neural: NeuralRun) -> None:
    from zhixing.pretraining.closing import next_commands
    from zhixing.training.report import write_report

    recipe, ids, folder = neural.recipe, neural.ids, neural.folder
    write_report(
        folder / "report.html",
        title=recipe.name,
        recipe=to_yaml(recipe),
        metrics=_metrics(folder),
        facts=neural.facts(),
        data_card=data_card(ids),
        samples=_samples(neural),
        commands={verb: join(words) for verb, words in next_commands(folder, neural.facts()).items()},
    )


def _samples(neural: NeuralRun) -> list[Sample]:
    """Return what the model writes or fills in, for the report."""
    from zhixing.models.encoder import EncoderModel
    from zhixing.models.encoder_decoder import as_language_model
    from zhixing.pretraining.samples import SENTENCES, draw_answers, draw_fillings, draw_neighbours, draw_samples

    recipe, ids = neural.recipe, neural.ids
    if learns_sentences(recipe):
        return draw_neighbours(recipe.name, *neural.sentences(SENTENCES))
    if neural.settings.family in ENCODERS:
        return draw_fillings(recipe.name, EncoderModel(neural.decoder), ids, recipe.seed)
    if recipe.text.pair_fields:
        return draw_answers(recipe.name, neural.decoder, ids)
    return draw_samples(recipe.name, as_language_model(neural.decoder), ids, recipe.seed)


def _metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run; none, and a warning, where they cannot be read: the model is finished."""
    try:
        return read_metrics(folder)
    except OSError as error:
        _log.warning(
            tr(
                f"metrics cannot be read ({error}); the report shows no curves",
                f"无法读取指标（{error}）；报告中没有曲线",
            )
        )
        return []


def _refuse_ids(ids_folder: Path | None) -> None:
    if ids_folder is not None:
        raise ConfigError(
            tr(
                "--ids: word vectors are learned from words, not from a tokenizer's ids; leave it out",
                "--ids：词向量由词而非分词器编号学习；请去掉该选项",
            )
        )
