"""The main job in one go: text → tokenizer → shards → n-grams, GPT, mixture → one honest table → samples → page.

It is a comparison (``zhixing.comparison``) of four models. Two 5-grams frame the GPT: one has read exactly the text
that the GPT had seen when its time was up, the other all of it. The mixture is fitted on one half of the held-out
documents, and every model is measured on the other. Like any comparison it keeps what is finished, resumes what was
interrupted, and can be started again at any point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zhixing.comparison.run import compare
from zhixing.comparison.settings import (
    Budget,
    ComparedModel,
    ComparedTraining,
    CompareRecipe,
    EvaluationSettings,
)
from zhixing.comparison.table import CompareReport
from zhixing.corpus.settings import TextSettings
from zhixing.language import tr
from zhixing.models.llama import LlamaSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.warm_start import WarmStartSettings
from zhixing.tokenizers.train import TokenizerSettings
from zhixing.training.optimizers import OptimizerSettings
from zhixing.training.settings import TrainingSettings

GPT, NGRAM, SAME_TEXT, MIXTURE = "gpt", "ngram-5", "ngram-5-same-text", "mixture"
_BUDGETS = {"minutes", "steps", "tokens", "epochs"}


@dataclass(frozen=True)
class QuickstartResult:
    """Where everything is, and how good each model is (bits per byte of held-out text, by name)."""

    out: Path
    report: CompareReport

    @property
    def bits_per_byte(self) -> dict[str, float]:
        """Bits per byte by name: ``gpt``, ``ngram-5``, ``ngram-5-same-text``, ``mixture``, ``xz``."""
        found = {row.model: row.bits_per_byte for row in self.report.finished if row.bits_per_byte is not None}
        return found | {name.removesuffix(" -9"): value for name, value in self.report.yardsticks.items()}

    @property
    def commands(self) -> Mapping[str, str]:
        """What to do next: ``serve``, ``generate``, ``continue``."""
        return self.report.commands


def gpt_recipe(text: Sequence[str] = (), minutes: float = 5.0, seed: int = 0) -> Recipe:
    """Return the recipe of the small GPT: a model that two cores teach something in minutes."""
    return Recipe(
        name=GPT,
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


def quickstart_recipe(text: Sequence[str] = (), minutes: float = 5.0, seed: int = 0) -> CompareRecipe:
    """Return the comparison that the quickstart is: the GPT between two 5-grams, and what they know together."""
    gpt = gpt_recipe(text, minutes, seed)
    training = ComparedTraining.model_validate(gpt.training.model_dump(exclude_unset=True, exclude=_BUDGETS))
    return CompareRecipe(
        name=tr("Quickstart", "快速开始"),
        seed=seed,
        text=gpt.text,
        tokenizer=gpt.tokenizer,
        budget=Budget(minutes=minutes),
        models=(
            ComparedModel(name=NGRAM, model=NgramSettings(order=5)),
            ComparedModel(name=GPT, model=gpt.model, training=training, warm_start=gpt.warm_start),
            ComparedModel(name=SAME_TEXT, model=NgramSettings(order=5), same_text_as=GPT),
            ComparedModel(name=MIXTURE, model=MixtureSettings(members=(GPT, NGRAM))),
        ),
        evaluation=EvaluationSettings(part="report"),
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
    return QuickstartResult(out, compare(quickstart_recipe(text, minutes, seed), out))
