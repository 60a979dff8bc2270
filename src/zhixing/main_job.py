"""The main job in one go: text → tokenizer → shards → n-gram, GPT, mixture → honest table → samples → report.

Every stage is a folder; a stage that is finished is kept, one that was interrupted is resumed, so the whole can be
started again at any point. The two 5-grams frame the comparison: one has read exactly the text that the GPT had seen
when its time was up, the other all of it. The mixture is fitted on one half of the held-out documents, and every
model is measured on the other.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zhixing.config import digest, load_settings, to_yaml
from zhixing.corpus.settings import TextSettings
from zhixing.data.windows import TokenWindows
from zhixing.errors import ConfigError
from zhixing.evaluation.run import evaluate
from zhixing.evaluation.table import EvaluationReport
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.prepare import Ids, data_card, prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import RECIPE, resume, train, train_ngram_on
from zhixing.pretraining.samples import draw_samples
from zhixing.pretraining.warm_start import WarmStartSettings
from zhixing.tokenizers.train import TokenizerSettings
from zhixing.training.metrics import read_metrics
from zhixing.training.optimizers import OptimizerSettings
from zhixing.training.report import Sample, write_report
from zhixing.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
SAME_TEXT = "ngram-5-same-text"
NGRAM = "ngram-5"


@dataclass(frozen=True)
class QuickstartResult:
    """Where everything is, and how good each model is (bits per byte of held-out text, by name)."""

    out: Path
    evaluation: EvaluationReport
    samples: Sequence[Sample]
    commands: Mapping[str, str]

    @property
    def bits_per_byte(self) -> dict[str, float]:
        """Bits per byte by name: ``gpt``, ``ngram-5``, ``ngram-5-same-text``, ``mixture``, ``xz``."""
        return {name.removesuffix(" -9"): value for name, value in self.evaluation.bits_per_byte.items()}


def gpt_recipe(text: Sequence[str] = (), minutes: float = 5.0, seed: int = 0) -> Recipe:
    """Return the recipe of the small GPT: a model that two cores teach something in minutes."""
    return Recipe(
        name="gpt",
        seed=seed,
        text=TextSettings(paths=tuple(text), validation_fraction=0.08),
        tokenizer=TokenizerSettings(vocab_size=2048),
        model=LlamaSettings(layers=2, rotary_theta=1e6),
        warm_start=WarmStartSettings(steps=40, copying_heads=True),
        training=TrainingSettings(
            minutes=minutes,
            batch_windows=4,
            optimizer=OptimizerSettings(matrix_learning_rate=0.006, learning_rate=0.03),
        ),
    )


def quickstart(
    out: str | Path = "quickstart", *, text: Sequence[str] = (), minutes: float = 5.0, seed: int = 0
) -> QuickstartResult:
    """Run the main job in folder ``out`` on ``text`` (the Python standard library's own by default).

    Args:
        out: folder of everything; an interrupted quickstart in it is continued.
        text: files, folders, globs.
        minutes: time budget for training the GPT.
        seed: of everything random.

    Raises:
        InputError: the text cannot be used, or ``out`` holds a quickstart of other text or settings.
    """
    out = Path(out)
    recipe = gpt_recipe(text, minutes, seed)
    ids = prepare_ids(recipe, out / "ids")
    if ids.prepared.validation.document_count < 2:
        raise ConfigError(
            tr(
                "quickstart needs at least two held-out documents to fit and to measure; give it more or longer text",
                "quickstart 至少需要两篇留出文档，分别用于拟合与评估；请提供更多或更长的文本",
            )
        )
    _stage(out / NGRAM, _of(recipe, NGRAM, NgramSettings(order=5)), out / "ids")
    _stage(out / "gpt", recipe, out / "ids")
    same_text(out / SAME_TEXT, out / "gpt", recipe, ids)
    members = (str(out / "gpt"), str(out / NGRAM))
    _stage(out / "mixture", _of(recipe, "mixture", MixtureSettings(members=members)), out / "ids")
    names = ("gpt", NGRAM, SAME_TEXT, "mixture")
    evaluation = evaluate([out / name for name in names], data=out / "ids" / "shards", part="report")
    samples = _samples(out, ids, seed)
    result = QuickstartResult(out, evaluation, samples, _commands(out))
    _report(result, recipe, ids)
    return result


def _of(recipe: Recipe, name: str, model: NgramSettings | MixtureSettings) -> Recipe:
    """Return the same recipe for another model."""
    return recipe.replace(name=name, model=model, warm_start=WarmStartSettings())


def same_text(folder: Path, gpt: Path, recipe: Recipe, ids: Ids) -> None:
    """Train a 5-gram on exactly the windows that the GPT has seen."""
    if (folder / MANIFEST_NAME).exists():
        return
    seen = load(gpt).facts
    assert isinstance(recipe.model, LlamaSettings)
    windows = TokenWindows(ids.prepared.train, recipe.model.context_length, recipe.seed, recipe.data.shuffle)
    count = min(int(seen["windows_seen"]), windows.windows_per_epoch)
    train_ngram_on(windows.seen_ids(0, count), _of(recipe, SAME_TEXT, NgramSettings(order=5)), folder, ids)


def _stage(folder: Path, recipe: Recipe, ids_folder: Path) -> None:
    """Train one model unless it is there; continue it if it was interrupted."""
    if (folder / RECIPE).exists():
        before = load_settings(Recipe, folder / RECIPE)
        if digest(before) != digest(recipe):
            raise ConfigError(
                tr(
                    f"{folder} was made with other text or settings; choose another --out, or remove it",
                    f"{folder} 由其他文本或设置生成；请另选 --out 或将其删除",
                )
            )
        if not (folder / MANIFEST_NAME).exists():
            resume(folder)
        return
    _log.info(tr(f"— {recipe.name} —", f"— {recipe.name} —"))
    train(recipe, folder, ids_folder=ids_folder, announce=False)


def _samples(out: Path, ids: Ids, seed: int) -> list[Sample]:
    """Let the GPT and the mixture continue the beginnings of held-out documents."""
    return [sample for name in ("gpt", "mixture") for sample in draw_samples(name, load(out / name).model, ids, seed)]


def _commands(out: Path) -> dict[str, str]:
    gpt = out / "gpt"
    return {
        "serve": f"zhixing serve {gpt} {out / 'mixture'} {out / NGRAM}",
        "continue": f"zhixing train {gpt / RECIPE} --init-from {gpt} --ids {out / 'ids'} --out {out / 'gpt-2'}",
    }


def _report(result: QuickstartResult, recipe: Recipe, ids: Ids) -> None:
    out = result.out
    write_report(
        out / "report.html",
        title=tr("Quickstart", "快速开始"),
        recipe=to_yaml(recipe),
        metrics=read_metrics(out / "gpt"),
        facts=dict(load(out / "gpt").facts),
        data_card=data_card(ids),
        evaluation=result.evaluation.as_dict(),
        samples=result.samples,
        commands=result.commands,
    )
    (out / "quickstart.json").write_text(
        json.dumps(result.evaluation.as_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
