"""The recipe of a comparison: what is equal for all models stands once, what differs stands with each model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError, field_validator, model_validator

from zhixing.config import Settings, setting, tuples
from zhixing.corpus.settings import TextSettings
from zhixing.data.settings import DataSettings
from zhixing.language import tr
from zhixing.models.families import ENCODERS, NEURAL, STATISTICAL
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.objectives import AutoSettings, resolve
from zhixing.pretraining.recipe import ModelSettings, Recipe
from zhixing.pretraining.warm_start import WarmStartSettings
from zhixing.tokenizers.train import TokenizerSettings
from zhixing.training.settings import TrainingSettings

_NAME = re.compile(r"[^\W_][\w.+-]*")


class Budget(Settings):
    """What each neural model may spend: time, or tokens, or arithmetic. Counted models simply read the text."""

    minutes: float | None = setting(None, "of training, for each model", "每个模型的训练时间", unit="minutes", gt=0)
    tokens: int | None = setting(None, "read in training, by each model", "每个模型训练所读词元", unit="tokens", ge=1)
    flops: float | None = setting(
        None,
        "floating-point operations of training, forward and backward, for each model",
        "每个模型训练（前向与反向）的浮点运算量",
        unit="operations",
        gt=0,
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        given = [name for name, value in self if value is not None]
        if len(given) != 1:
            what = ", ".join(given) or tr("none", "未给出")
            raise ValueError(
                tr(
                    f"give exactly one of minutes, tokens, flops (given: {what}); "
                    "to change the kind, empty the other: --set budget.minutes=null --set budget.tokens=1000000",
                    f"minutes、tokens、flops 必须且只能给出一个（已给：{what}）；"
                    "更换种类时请清空另一个：--set budget.minutes=null --set budget.tokens=1000000",
                )
            )
        return self


class ComparedTraining(TrainingSettings):
    """How a model is trained, but for the budget, which is equal for all."""

    validate_every: int = setting(
        0,
        "steps between looks at the held-out text; 0: some twenty looks in a run",
        "两次验证之间的步数；0 表示全程约二十次",
        unit="steps",
        ge=0,
    )

    validation_windows: int = setting(
        16,
        "windows of held-out text in one look: enough for a curve, for at the end all of the text is measured",
        "每次验证使用的留出窗口数：足以画出曲线，最后总会度量全部文本",
        unit="windows",
        ge=1,
    )

    @model_validator(mode="after")
    def _some_budget(self) -> ComparedTraining:
        given = [name for name in ("minutes", "steps", "tokens", "epochs") if getattr(self, name) is not None]
        if given:
            raise ValueError(
                tr(
                    f"the budget is one for all models: take {', '.join(given)} out of training, set budget instead",
                    f"所有模型共用一份预算：请从 training 中去掉 {'、'.join(given)}，改设 budget",
                )
            )
        return self


class ComparedModel(Settings):
    """One model of the comparison; ``training`` names only what differs from the comparison's own."""

    name: str = setting(..., "what its row, its curve and its folder are called", "其行、曲线与文件夹的名称")
    model: ModelSettings
    training: ComparedTraining = ComparedTraining()
    warm_start: WarmStartSettings = WarmStartSettings()
    same_text_as: str | None = setting(
        None,
        "for an n-gram: a model that stands before it in the list; just the text that this one has read is counted",
        "用于 n 元模型：列表中排在其前的某个模型；只对该模型读过的文本计数",
    )

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(
                tr(
                    "a name begins with a letter or digit; letters, digits and . _ + - follow",
                    "名称须以字母、汉字或数字开头，其后可用字母、汉字、数字与 . _ + -",
                )
            )
        return name

    @model_validator(mode="after")
    def _predicts_text(self) -> ComparedModel:
        family = self.model.family
        if family not in STATISTICAL and (family not in NEURAL.values() or family in ENCODERS):
            raise ValueError(
                tr(
                    f"a model of the family {family} predicts no next token, so it has no bits per byte; leave it out",
                    f"{family} 类模型不预测下一个词元，没有每字节比特数可比；请去掉它",
                )
            )
        return self

    @model_validator(mode="after")
    def _warm_start_fits(self) -> ComparedModel:
        try:
            Recipe(model=self.model, warm_start=self.warm_start)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self


class EvaluationSettings(Settings):
    """On which held-out documents, and how, the models are measured."""

    part: Literal["all", "fit", "report"] = setting(
        "all",
        "half of the held-out documents; a mixture is fitted on fit, so it is measured on report",
        "留出文档的哪一半；混合模型在 fit 上拟合，因此在 report 上度量",
    )
    stride: float = setting(
        0.5,
        "step of the windows of models with a context, as a fraction of it",
        "有上下文上限的模型的窗口步幅，占上下文的比例",
        gt=0,
        le=1,
    )
    predictions: int = setting(
        8192,
        "at most so many held-out tokens are guessed, to count how often the first guess is right",
        "最多猜测这么多留出词元，以统计首选命中率",
        unit="tokens",
        ge=1,
    )


class CompareRecipe(Settings):
    """One text, one tokenizer, one budget, several models."""

    name: str = setting("comparison", "title of the page", "页面标题", min_length=1)
    seed: int = setting(0, "of everything random", "随机种子", ge=0, lt=2**63)
    text: TextSettings = TextSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    data: DataSettings = DataSettings()
    budget: Budget = Budget(minutes=2.0)
    training: ComparedTraining = ComparedTraining()
    models: tuple[ComparedModel, ...] = setting(..., "the models, each with a name", "各个模型，均有名称")
    evaluation: EvaluationSettings = EvaluationSettings()

    @model_validator(mode="before")
    @classmethod
    def _share_training(cls, tree: Any) -> Any:
        """Give each model the comparison's training settings wherever it says nothing else."""
        tree = tuples(tree)  # what a function has handled is no JSON any more, where a list could be a tuple
        if not isinstance(tree, dict) or not _is_training(shared := tree.get("training")):
            return tree  # a mistake in it is told once, where it stands
        models = tree.get("models")
        if not isinstance(models, tuple):
            return tree
        return {**tree, "models": tuple(_with_training(model, shared) for model in models)}

    @model_validator(mode="after")
    def _names_fit(self) -> CompareRecipe:
        names = [model.name for model in self.models]
        if not names:
            raise ValueError(tr("models: name at least one", "models：请至少列出一个模型"))
        twice = sorted({name for name in names if sum(other.lower() == name.lower() for other in names) > 1})
        if twice:
            raise ValueError(
                tr(
                    f"models: each needs a name of its own; {', '.join(twice)} stands there twice",
                    f"models：名称不可重复；重复的有 {'、'.join(twice)}",
                )
            )
        return self

    @model_validator(mode="after")
    def _text_fits(self) -> CompareRecipe:
        if self.text.source_field:
            raise ValueError(
                tr(
                    "text.source_field: pairs of source and target have no bits per byte to compare; "
                    "measure such models with zhixing evaluate --pairs",
                    "text.source_field：成对的文本没有每字节比特数可比；请用 zhixing evaluate --pairs 度量这类模型",
                )
            )
        for place, model in enumerate(self.models):
            _check_same_text(model, self.models[:place])
        mixed = [model.name for model in self.models if isinstance(model.model, MixtureSettings)]
        if mixed and self.evaluation.part != "report":
            raise ValueError(
                tr(
                    f"{mixed[0]} is a mixture, fitted on one half of the held-out text: set evaluation.part to report",
                    f"{mixed[0]} 是混合模型，在一半留出文本上拟合：请将 evaluation.part 设为 report",
                )
            )
        return self


def _check_same_text(model: ComparedModel, before: tuple[ComparedModel, ...]) -> None:
    if model.same_text_as is None:
        return
    readers = [one.name for one in before if reads_windows(one.model)]
    where = f"models: {model.name}: same_text_as"
    if not isinstance(model.model, NgramSettings):
        raise ValueError(
            tr(
                f"{where}: only an n-gram can be counted on the text of another model; take it out",
                f"{where}：只有 n 元模型能对另一模型读过的文本计数；请去掉该项",
            )
        )
    if model.same_text_as not in readers:
        listed = ", ".join(readers) or tr("none", "无")
        raise ValueError(
            tr(
                f"{where} = {model.same_text_as!r} is no model before it that is trained step by step on running "
                f"text; there are: {listed}",
                f"{where} = {model.same_text_as!r} 不是排在其前、在连续文本上逐步训练的模型；可用的有：{listed}",
            )
        )


def reads_windows(model: ModelSettings) -> bool:
    """Say whether a family is trained on windows of the text, each token predicted from those before it."""
    return model.family in NEURAL.values() and resolve(AutoSettings(), model.family).kind == "causal"


def _is_training(tree: Any) -> bool:
    if not isinstance(tree, dict):
        return False
    try:
        ComparedTraining.model_validate(tree)
    except ValidationError:
        return False
    return True


def _with_training(model: Any, shared: Any) -> Any:
    own = model.get("training", {}) if isinstance(model, dict) else None
    return {**model, "training": _merged(shared, own)} if isinstance(own, dict) else model


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with what ``above`` says laid over it, branch by branch."""
    found = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], dict) and isinstance(above[name], dict):
            found[name] = _merged(below[name], above[name])
    return found


def schema() -> dict[str, Any]:
    """Return the JSON schema of a comparison's recipe, for editors and for ``zhixing compare --help``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **CompareRecipe.model_json_schema()}


if __name__ == "__main__":
    import sys

    json.dump(schema(), sys.stdout, ensure_ascii=False, indent=1)
    sys.stdout.write("\n")
