"""``train`` and ``resume``: from a recipe to a model folder, for every family."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zhixing.config import brought_up, digest, load_settings, to_yaml
from zhixing.errors import ConfigError, ResumeError
from zhixing.evaluation.run import versions
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME, Content, model_card, publish_into
from zhixing.model_folder.durable import replace_file
from zhixing.models.families import ENCODERS
from zhixing.models.hmm import HmmModel, HmmSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramModel, NgramSettings
from zhixing.models.save import companion_files, hmm_files, mixture_files, ngram_files
from zhixing.models.word_vectors import WordVectorSettings
from zhixing.pretraining.objectives import resolve
from zhixing.pretraining.prepare import Ids, data_card, prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.training.checkpoints import Checkpoint, Checkpoints
from zhixing.training.metrics import read_metrics

if TYPE_CHECKING:
    from zhixing.pretraining.neural import NeuralRun
    from zhixing.training.report import Sample

_log = logging.getLogger(__name__)
RECIPE = "recipe.yaml"
STATE = "training_state"
IDS_FOLDER = "ids_folder.txt"
COUNTED = (NgramSettings, HmmSettings, MixtureSettings, WordVectorSettings)
"""Families without weights that a step changes: learned in one go, from no start."""


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
    _check_free(out)
    if announce:
        _log.info("%s", to_yaml(recipe))
    if isinstance(recipe.model, WordVectorSettings):
        _refuse_ids(shared)
        _claim(out, recipe, None)
        return _train_word_vectors(recipe, out)
    start = None if init_from is None else Path(init_from)
    ids = _ids(recipe, shared or out, replace=shared is None, announce=announce, start=start)
    if counted:
        _claim(out, recipe, shared)
        return _train_counted(recipe, out, ids)
    neural = _neural_run(recipe, out, ids)
    if start is not None:
        neural.initialise_from(start)
    with neural.checkpoints as checkpoints:
        _check_free(out)
        # What a start that was killed right here has left. The untrained state is saved before the folder is
        # claimed: every run that can be seen can be resumed, and a full disk is found now, not hours later.
        shutil.rmtree(checkpoints.folder / "step-00000000", ignore_errors=True)
        neural.save()
        _claim(out, recipe, shared)
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
        return _train_word_vectors(recipe, folder)
    ids_folder = ids_folder_of(folder)
    if isinstance(recipe.model, COUNTED):
        return _train_counted(recipe, folder, _ids(recipe, ids_folder))
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


def ids_folder_of(folder: Path) -> Path:
    """Return the folder of tokenizer and shards that the run in ``folder`` reads."""
    link = folder / IDS_FOLDER
    return Path(link.read_text(encoding="utf-8").strip()) if link.is_file() else folder


def _check_free(out: Path) -> None:
    if (out / RECIPE).exists():
        raise ConfigError(
            tr(
                f"{out} holds a run already; choose another --out, or continue it: zhixing resume {out}",
                f"{out} 已有一次训练；请另选 --out，或继续它：zhixing resume {out}",
            )
        )


def _claim(out: Path, recipe: Recipe, ids_folder: Path | None) -> None:
    """Write what makes ``out`` a run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    if ids_folder is not None:
        replace_file(out / IDS_FOLDER, f"{ids_folder.resolve()}\n")
    replace_file(out / RECIPE, to_yaml(recipe))


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
    _publish(neural.recipe, neural.folder, neural.files(), neural.facts())
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
    if _learns_sentences(recipe):
        return draw_neighbours(recipe.name, *neural.sentences(SENTENCES))
    if neural.settings.family in ENCODERS:
        return draw_fillings(recipe.name, EncoderModel(neural.decoder), ids, recipe.seed)
    if recipe.text.pair_fields:
        return draw_answers(recipe.name, neural.decoder, ids)
    return draw_samples(recipe.name, as_language_model(neural.decoder), ids, recipe.seed)


def _learns_sentences(recipe: Recipe) -> bool:
    """Say whether the model is one of sentences, not of the tokens in them."""
    return resolve(recipe.objective, recipe.model.family).kind == "contrastive"


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


def _train_counted(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    families = {"ngram": _train_ngram, "hmm": _train_hmm, "mixture": _train_mixture}
    return families[recipe.model.family](recipe, folder, ids)


def _train_ngram(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    shards = ids.prepared.train
    return train_ngram_on([shards.tokens(0, shards.token_count)], recipe, folder, ids)


def train_ngram_on(sequences: Iterable[NDArray[np.int64]], recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
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


def _train_hmm(recipe: Recipe, folder: Path, ids: Ids) -> TrainResult:
    assert isinstance(recipe.model, HmmSettings)
    shards, tokenizer = ids.prepared.train, ids.tokenizer
    never = tokenizer.special_ids - {tokenizer.separator_id}
    text = [shards.tokens(0, shards.token_count)]
    model = HmmModel.fit(text, tokenizer.vocab_size, recipe.model, recipe.seed, never)
    facts = _facts(recipe, ids, "hmm") | {"states": model.states, "passes": len(model.history)}
    facts |= {"tokens_seen": len(model.history) * shards.token_count}
    _publish(recipe, folder, hmm_files(model) | companion_files(tokenizer), facts)
    return TrainResult(folder, facts)


def _refuse_ids(ids_folder: Path | None) -> None:
    if ids_folder is not None:
        raise ConfigError(
            tr(
                "--ids: word vectors are learned from words, not from a tokenizer's ids; leave it out",
                "--ids：词向量由词而非分词器编号学习；请去掉该选项",
            )
        )


def _train_word_vectors(recipe: Recipe, folder: Path) -> TrainResult:
    from zhixing.pretraining.word_vectors import learn_from_recipe

    files, found = learn_from_recipe(recipe, folder / STATE)
    made_by = {"family": "word_vectors", "recipe": digest(recipe), "seed": recipe.seed, "versions": versions()}
    _publish(recipe, folder, files, made_by | found)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    return TrainResult(folder, made_by | found)


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
    mixture = fit_mixture([m.model for m in members], held_out.documents(members[0].tokenizer), recipe.model.weights)
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
    task = "fill-mask" if recipe.model.family in ENCODERS else "text-generation"
    if not isinstance(recipe.model, COUNTED) and _learns_sentences(recipe):
        task = "sentence-similarity"
    if recipe.text.pair_fields:
        task = "text2text-generation"
    card = model_card(recipe.name, facts=facts, pipeline_tag=task)
    publish_into(folder, {**files, RECIPE: to_yaml(recipe), "README.md": card}, facts=facts)
