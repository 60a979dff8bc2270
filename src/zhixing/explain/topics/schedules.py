"""Topics of schedules: how the learning rate rises and falls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, require
from zhixing.language import tr
from zhixing.theory import schedules as theory

_PROGRESS = np.linspace(0, 1, 201)


class WarmupInputs(Settings):
    """A peak rate and how the run approaches it."""

    peak: float = setting(0.004, "peak learning rate", "峰值学习率", gt=0)
    warmup: float = setting(0.1, "share of the run spent rising", "上升所占的比例", ge=0, lt=1)
    progress: Vector = setting(
        (0.0, 0.05, 0.1, 0.5, 1.0), "moments looked at, 0 to 1", "所看的时刻，0 到 1", min_length=1
    )

    @model_validator(mode="after")
    def _within_the_run(self) -> Self:
        inside = all(0 <= moment <= 1 for moment in self.progress)
        require(inside, "progress must lie between 0 and 1", "progress 须在 0 与 1 之间")
        return self


class ScheduleInputs(WarmupInputs):
    """The same, and how the rate falls."""

    warmup: float = setting(0.05, "share of the run spent rising", "上升所占的比例", ge=0, lt=1)
    decay: float = setting(
        0.3, "share spent falling (warm-up, stable, decay)", "下降所占的比例（预热-稳定-衰减）", ge=0, le=1
    )
    floor: float = setting(0.0, "factor at the end", "结束时的系数", ge=0, le=1)

    @model_validator(mode="after")
    def _shares_fit(self) -> Self:
        fits = self.warmup + self.decay <= 1
        require(fits, "warmup and decay together are more than the run", "warmup 与 decay 之和超过全程")
        return self


def _symbols() -> dict[str, str]:
    return {
        "p": tr("progress, the share of the run that is done, 0 to 1", "进度，已完成的比例，0 到 1"),
        "w": tr("share spent in the warm-up", "预热所占的比例"),
        r"\eta_{\max}": tr("peak learning rate", "峰值学习率"),
    }


def warmup() -> Topic[WarmupInputs]:
    """Begin gently."""
    return Topic(
        name="warm-up",
        family="schedules",
        title=tr("Learning-rate warm-up", "学习率预热"),
        idea=(
            tr(
                "At the start gradients are large and the optimizer's averages know nothing: a full step does harm.",
                "训练之初梯度很大，优化器的均值还一无所知：大步会坏事。",
            ),
            tr(
                "Let the rate rise in a straight line from zero to its peak over the first few percent of the run.",
                "在最初百分之几的进程中，让学习率从零直线升至峰值。",
            ),
            tr(
                "The run then bears a higher peak, and learns faster overall.", "如此便能承受更高的峰值，总体学得更快。"
            ),
        ),
        formula=(r"\eta(p) = \eta_{\max} \min(1, \frac{p}{w})",),
        symbols=_symbols(),
        inputs=WarmupInputs,
        example=_warmup_example,
        picture=_warmup_picture,
        pitfalls=(
            tr(
                "Count the warm-up in optimizer steps, not in micro-batches: with accumulation they differ.",
                "预热应按优化器步数计，而非微批数：梯度累积时二者不同。",
            ),
            tr(
                "A resumed run must not warm up again unless its optimizer state was lost.",
                "续训时不应再次预热，除非优化器状态已丢失。",
            ),
        ),
        papers=("Goyal et al. 2017, Accurate, large minibatch SGD, section 2.2",),
        theory=(theory.warmup_factor,),
        practice=("zhixing.training.schedules:factor",),
        related=("learning-rate-schedules", "adam"),
    )


def _moments(inputs: WarmupInputs) -> tuple[str, ...]:
    return tuple(f"p = {moment:g}" for moment in inputs.progress)


def _warmup_example(inputs: WarmupInputs) -> Iterator[Step]:
    moments = _moments(inputs)
    if inputs.warmup > 0:
        says = tr("how much of the warm-up is done", "预热完成了多少")
        yield Step(says, np.array(inputs.progress) / inputs.warmup, r"\frac{p}{w}", columns=moments)
    factors = np.array([theory.warmup_factor(p, inputs.warmup) for p in inputs.progress])
    yield Step(tr("the factor, never above 1", "系数，不超过 1"), factors, r"\min(1, \frac{p}{w})", columns=moments)
    yield Step(
        tr("times the peak: the learning rate", "乘以峰值：学习率"), inputs.peak * factors, r"\eta(p)", columns=moments
    )


def _warmup_picture(inputs: WarmupInputs) -> Lines:
    rates = np.array([inputs.peak * theory.warmup_factor(float(p), inputs.warmup) for p in _PROGRESS])
    title = tr("the learning rate over the run", "全程的学习率")
    return Lines(title, _PROGRESS, {tr("learning rate", "学习率"): rates}, tr("progress p", "进度 p"), "η")


def learning_rate_schedules() -> Topic[ScheduleInputs]:
    """Three ways down."""
    return Topic(
        name="learning-rate-schedules",
        family="schedules",
        title=tr("Learning-rate schedules", "学习率调度"),
        idea=(
            tr(
                "Large steps learn fast, small steps settle: how should the rate fall over a run?",
                "大步学得快，小步才能稳住：学习率应如何在训练中下降？",
            ),
            tr(
                "In a straight line, along half a cosine, or not at all until the last part of the run.",
                "沿直线、沿半个余弦，或者直到最后一段才下降。",
            ),
            tr(
                "The last form (warm-up, stable, decay) lets a run go on from any point before the decay.",
                "最后一种（预热-稳定-衰减）可从衰减之前的任何一点继续训练。",
            ),
        ),
        formula=(
            r"q = \frac{p - w}{1 - w}",
            r"f_{\text{linear}} = 1 - (1 - f)\, q",
            r"f_{\text{cosine}} = f + \frac{1 - f}{2} (1 + \cos \pi q)",
            r"f_{\text{stable}} = f + (1 - f) \min(1, \frac{1 - p}{d})",
        ),
        symbols=_symbols()
        | {
            "q": tr("progress after the warm-up, 0 to 1", "预热之后的进度，0 到 1"),
            "f": tr("factor at the end", "结束时的系数"),
            "d": tr("share of the run spent falling", "下降所占的比例"),
        },
        inputs=ScheduleInputs,
        example=_schedule_example,
        picture=_schedule_picture,
        pitfalls=(
            tr(
                "A cosine is made for one length: stopped early, the rate has not fallen and the loss is poor.",
                "余弦是为固定长度设计的：提前停下，学习率尚未降下来，损失就不好。",
            ),
            tr(
                "Compare models only after their decay: most of the gain in loss comes in that last part.",
                "应在衰减之后再比较模型：损失的改善大多发生在最后这一段。",
            ),
        ),
        papers=(
            "Loshchilov & Hutter 2017, SGDR, equation 5",
            "Hu et al. 2024, MiniCPM, section 4",
            "Hägele et al. 2024, Scaling laws and compute-optimal training beyond fixed training durations, section 3",
        ),
        theory=(theory.linear, theory.cosine, theory.warmup_stable_decay),
        practice=("zhixing.training.schedules:factor", "zhixing.training.schedules:ScheduleSettings"),
        related=("warm-up", "sgd"),
    )


def _shapes(inputs: ScheduleInputs) -> dict[str, Callable[[float], float]]:
    w, f = inputs.warmup, inputs.floor
    return {
        tr("linear", "线性"): lambda p: theory.linear(p, w, f),
        tr("cosine", "余弦"): lambda p: theory.cosine(p, w, f),
        tr("warm-up, stable, decay", "预热-稳定-衰减"): lambda p: theory.warmup_stable_decay(p, w, inputs.decay, f),
    }


def _schedule_example(inputs: ScheduleInputs) -> Iterator[Step]:
    moments, shapes = _moments(inputs), _shapes(inputs)
    after = np.maximum(np.array(inputs.progress) - inputs.warmup, 0) / (1 - inputs.warmup)
    yield Step(tr("progress after the warm-up", "预热之后的进度"), after, r"q = \frac{p - w}{1 - w}", columns=moments)
    factors = np.array([[shape(p) for p in inputs.progress] for shape in shapes.values()])
    yield Step(tr("the factors", "各种系数"), factors, "", tuple(shapes), moments)
    says = tr("times the peak: the learning rates", "乘以峰值：学习率")
    yield Step(says, inputs.peak * factors, r"\eta(p)", tuple(shapes), moments)
    means = np.array([np.mean([shape(float(p)) for p in _PROGRESS]) for shape in shapes.values()])
    yield Step(tr("the mean factor over the run", "全程的平均系数"), means, "", columns=tuple(shapes))


def _schedule_picture(inputs: ScheduleInputs) -> Lines:
    curves = {name: np.array([shape(float(p)) for p in _PROGRESS]) for name, shape in _shapes(inputs).items()}
    title = tr("the factor on the peak rate over the run", "全程中峰值学习率的系数")
    return Lines(title, _PROGRESS, curves, tr("progress p", "进度 p"), tr("factor", "系数"))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (warmup, learning_rate_schedules)
