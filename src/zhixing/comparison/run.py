"""``zhixing compare``: train several models under one budget, measure all in the same way, say which to choose.

Everything lies in one folder: ``ids/`` (tokenizer and shards, shared), ``models/NAME/`` (a run's folder, as ``zhixing
train`` leaves it), ``measured/`` (figures that need not be made twice), ``compare.json`` and ``report.html``. Started
again, it keeps what is finished and resumes what was interrupted. A model that fails is a row that says why.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from zhixing.comparison.accuracy import REACH
from zhixing.comparison.choice import Limits, admitted, choose
from zhixing.comparison.costs import flops_of_token, recipe_for, with_looks
from zhixing.comparison.measured import HeldOut, Measured, held_out, measure
from zhixing.comparison.next_commands import next_commands
from zhixing.comparison.same_text import count_same_text
from zhixing.comparison.settings import ComparedModel, CompareRecipe
from zhixing.comparison.table import CompareReport, Curve, Row, byte_interval
from zhixing.config import differences, load_settings, to_yaml
from zhixing.errors import ConfigError, ZhixingError
from zhixing.evaluation.run import versions
from zhixing.evaluation.significance import Comparison
from zhixing.evaluation.significance import compare as paired
from zhixing.evaluation.yardsticks import xz
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME, read_manifest
from zhixing.model_folder.durable import replace_file
from zhixing.models.mixture import MixtureSettings
from zhixing.pretraining.prepare import Ids, data_card, prepare_ids
from zhixing.pretraining.recipe import COUNTED, Recipe
from zhixing.pretraining.run import resume, train
from zhixing.pretraining.run_folder import RECIPE
from zhixing.training.machine import EnergyMeter, available_cores
from zhixing.training.metrics import read_metrics
from zhixing.training.report import Sample
from zhixing.training.verdict import is_number

_log = logging.getLogger(__name__)
IDS, MODELS, MEASURED = "ids", "models", "measured"
PAGE, RESULT = "report.html", "compare.json"


@dataclass(frozen=True)
class _Finished:
    """A model that has all its figures."""

    one: ComparedModel
    row: Row
    measured: Measured


def compare(
    recipe: CompareRecipe | str | Path,
    out: str | Path = "comparison",
    *,
    overrides: Sequence[str] = (),
    limits: Limits | None = None,
) -> CompareReport:
    """Train and measure the models that ``recipe`` names, and leave table and page in ``out``.

    Args:
        recipe: a comparison's recipe, or the path of one.
        out: folder of everything; a comparison in it is continued.
        overrides: ``a.b=c`` changes to a recipe that is a path.
        limits: what the chosen model may cost.

    Raises:
        InputError: recipe or text cannot be used, or ``out`` holds models made from other text or settings.
        Stopped: a signal came; started again, it continues.
    """
    if not isinstance(recipe, CompareRecipe):
        recipe = load_settings(CompareRecipe, recipe, overrides)
    elif overrides:
        raise ConfigError(tr("overrides go with a recipe file", "覆盖项须与配方文件一起使用"))
    out = Path(out)
    base = Recipe(seed=recipe.seed, text=recipe.text, tokenizer=recipe.tokenizer, data=recipe.data)
    ids = prepare_ids(base, out / IDS)
    _check_halves(recipe, ids)
    question = held_out(ids, recipe.evaluation, _reach(recipe))
    recipes = {one.name: recipe_for(recipe, one, ids.tokenizer.vocab_size, out / MODELS) for one in recipe.models}
    for name, wanted in recipes.items():
        _check_same(out / MODELS / name, wanted)
    finished: list[_Finished] = []
    failed: list[Row] = []
    for one in recipe.models:
        _log.info(tr(f"— {one.name} —", f"— {one.name} —"))
        try:
            finished.append(_one(recipe, one, recipes[one.name], out, ids, question))
        except Exception as error:
            why = str(error) if isinstance(error, ZhixingError | OSError) else f"{type(error).__name__}: {error}"
            _log.warning(tr(f"{one.name} failed: {why}", f"{one.name} 失败：{why}"))
            _log.debug("", exc_info=error)
            failed.append(Row(one.name, one.model.family, error=why))
    report = _report(recipe, out, ids, question, finished, failed, limits or Limits())
    _write(report, recipe, ids)
    return report


def _one(
    recipe: CompareRecipe, one: ComparedModel, wanted: Recipe, out: Path, ids: Ids, question: HeldOut
) -> _Finished:
    """Train one model unless it is there, measure it unless that was done."""
    folder = out / MODELS / one.name
    spent = _train(one, wanted, folder, out, ids)
    measured = measure(folder, out / MEASURED / f"{one.name}.json", ids, question, recipe.seed)
    manifest = read_manifest(folder)
    facts = {**spent, **(manifest.facts if manifest else {})}
    if not math.isfinite(measured.scores.total_loss):
        raise ZhixingError(tr("it gives some held-out token the probability 0", "它给某个留出词元的概率为 0"))
    per_token = flops_of_token(one.model, ids.tokenizer.vocab_size)
    low, high = byte_interval(measured.scores, recipe.seed)
    row = Row(
        model=one.name,
        family=one.model.family,
        bits_per_byte=measured.scores.bits_per_byte,
        low=low,
        high=high,
        accuracy=measured.right / measured.guesses,
        guesses=measured.guesses,
        parameters=measured.parameters,
        seconds=facts.get("training_seconds"),
        kilojoules=facts.get("kilojoules"),
        energy_measured=facts.get("energy_measured"),
        tokens_seen=facts.get("tokens_seen"),
        flops=None if per_token is None else per_token * facts["tokens_seen"],
        tokens_per_second=measured.spent.tokens_per_second,
        milliseconds_per_token=measured.spent.milliseconds_per_token,
        megabytes=measured.spent.megabytes,
        megabytes_of=measured.spent.megabytes_of,
        folder=str(folder),
    )
    return _Finished(one, row, measured)


def _train(one: ComparedModel, wanted: Recipe, folder: Path, out: Path, ids: Ids) -> Mapping[str, Any]:
    """Have a finished model in ``folder``; return what counting it has cost (a neural model's facts say it)."""
    record = out / MEASURED / f"{folder.name}.training.json"
    if (folder / MANIFEST_NAME).exists():
        return _read(record)
    if (folder / RECIPE).exists() and not isinstance(wanted.model, COUNTED):
        resume(folder)
        return {}
    record.unlink(missing_ok=True)
    begin, meter = time.perf_counter(), EnergyMeter(available_cores(), wanted.training.watts_per_core)
    if one.same_text_as is not None:
        count_same_text(wanted, folder, out / MODELS / one.same_text_as, ids)
    elif (folder / RECIPE).exists():
        resume(folder)
    else:
        train(with_looks(wanted, ids, out), folder, ids_folder=out / IDS, announce=False)
    if not isinstance(wanted.model, COUNTED):
        return {}
    spent = {"training_seconds": time.perf_counter() - begin, "kilojoules": meter.joules() / 1000}
    spent["energy_measured"] = meter.measured
    record.parent.mkdir(parents=True, exist_ok=True)
    replace_file(record, json.dumps(spent))
    return spent


def _read(record: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_halves(recipe: CompareRecipe, ids: Ids) -> None:
    """Refuse, before anything is trained, a mixture that there is no text to fit and to measure."""
    mixed = next((one.name for one in recipe.models if isinstance(one.model, MixtureSettings)), None)
    if mixed is not None and ids.prepared.validation.document_count < 2:
        raise ConfigError(
            tr(
                f"{mixed}: a mixture needs at least two held-out documents, to fit and to measure; give it more or "
                "longer text",
                f"{mixed}：混合模型至少需要两篇留出文档，分别用于拟合与评估；请提供更多或更长的文本",
            )
        )


def _check_same(folder: Path, wanted: Recipe) -> None:
    """Refuse a folder whose model was made with other settings, before anything is trained."""
    if not (folder / RECIPE).exists():
        return
    before = load_settings(Recipe, folder / RECIPE)
    if not wanted.training.validate_every:  # chosen when the run began
        looks = before.training.validate_every
        wanted = wanted.replace(training=wanted.training.replace(validate_every=looks))
    changed = differences(before.model_dump(mode="json"), wanted.model_dump(mode="json"))
    if changed:
        listed = "; ".join(f"{name}: {old!r} → {new!r}" for name, (old, new) in changed.items())
        raise ConfigError(
            tr(
                f"{folder} was made with other settings ({listed}); choose another --out, or remove it",
                f"{folder} 由其他设置生成（{listed}）；请另选 --out 或将其删除",
            )
        )


def _reach(recipe: CompareRecipe) -> int:
    """Return the most tokens before a guess that every model's context holds, so that all guess the same tokens."""
    contexts = [getattr(one.model, "context_length", None) for one in recipe.models]
    return min([REACH, *(context for context in contexts if context is not None)])


def _report(
    recipe: CompareRecipe, out: Path, ids: Ids, question: HeldOut, finished: list[_Finished],
    failed: list[Row], limits: Limits,
) -> CompareReport:  # fmt: skip
    ranked = sorted(finished, key=lambda each: each.measured.scores.bits_per_byte)
    scores = {each.one.name: each.measured.scores for each in ranked}

    def neighbours(names: Sequence[str]) -> list[Comparison]:
        return [paired(a, scores[a], b, scores[b], seed=recipe.seed) for a, b in pairwise(names)]

    rows = [each.row for each in ranked]
    first_two = neighbours(admitted(rows, limits)[:2])
    choice = choose(rows, limits, first_two[0] if first_two else None)
    measured_xz = xz(question.documents.texts())
    return CompareReport(
        out=out,
        page=out / PAGE,
        rows=(*rows, *failed),
        neighbours=tuple(neighbours(list(scores))),
        choice=choice,
        limits=limits,
        yardsticks={measured_xz.name: measured_xz.bits_per_byte},
        curves=tuple(curve for each in ranked if (curve := _curve(each, ids)) is not None),
        samples=tuple(Sample(each.one.name, each.measured.prompt, each.measured.text) for each in ranked),
        facts=_facts(recipe, ids, question, ranked),
        commands=next_commands(rows, choice.best, out / IDS),
    )


def _curve(each: _Finished, ids: Ids) -> Curve | None:
    per_token = flops_of_token(each.one.model, ids.tokenizer.vocab_size)
    if per_token is None or each.row.folder is None:
        return None
    looks = [record for record in read_metrics(Path(each.row.folder)) if "validation_loss" in record]
    values = [(r, float(r["validation_loss"]) if is_number(r["validation_loss"]) else None) for r in looks]
    return Curve(
        each.one.name,
        [(float(record["seconds"]), loss) for record, loss in values],
        [(per_token * record["tokens"], loss) for record, loss in values],
    )


def _facts(recipe: CompareRecipe, ids: Ids, question: HeldOut, ranked: Sequence[_Finished]) -> dict[str, Any]:
    scores = [each.measured.scores for each in ranked]
    held = {"documents": scores[0].documents, "text_bytes": scores[0].total_bytes} if scores else {}
    manifests = [read_manifest(Path(each.row.folder)) for each in ranked if each.row.folder]
    machines = [manifest.facts["machine"] for manifest in manifests if manifest and "machine" in manifest.facts]
    return {
        "budget": {name: value for name, value in recipe.budget if value is not None},
        "seed": recipe.seed,
        "training_text": ids.prepared.train.digest,
        "tokenizer": ids.tokenizer.fingerprint,
        "vocab_size": ids.tokenizer.vocab_size,
        "held_out": {**question.question, **held},
        **({"machine": machines[0]} if machines else {}),
        "versions": versions(),
    }


def _write(report: CompareReport, recipe: CompareRecipe, ids: Ids) -> None:
    from zhixing.comparison.page import render

    replace_file(report.out / RECIPE, to_yaml(recipe))
    text = json.dumps(report.as_dict(), ensure_ascii=False, allow_nan=False, default=str, indent=1)
    replace_file(report.out / RESULT, text + "\n")
    replace_file(report.page, render(report, title=recipe.name, recipe=to_yaml(recipe), card=data_card(ids)))
