"""Topics of decoding: how the next token is chosen from a distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import generation
from zhixing.explain.topics.inputs import Vector, require, require_distribution, require_length
from zhixing.language import tr
from zhixing.theory import decoding as theory


class TemperatureInputs(Settings):
    """Scores of a few tokens, and how strongly to flatten them."""

    tokens: tuple[str, ...] = setting(("the", "a", "cat", "xyz"), "tokens", "词元", min_length=2)
    scores: tuple[float, ...] = setting((2.0, 1.0, 0.0, -2.0), "their scores (logits)", "各词元的得分", min_length=2)
    temperature: float = setting(0.5, "below 1 sharpens, above 1 flattens", "小于 1 变尖，大于 1 变平", gt=0)

    @model_validator(mode="after")
    def _one_score_each(self) -> TemperatureInputs:
        if len(self.tokens) != len(self.scores):
            raise ValueError(
                tr(
                    f"{len(self.tokens)} tokens but {len(self.scores)} scores; give one score per token",
                    f"词元 {len(self.tokens)} 个，得分 {len(self.scores)} 个；请为每个词元给一个得分",
                )
            )
        return self


def temperature() -> Topic[TemperatureInputs]:
    """Softmax with a temperature."""
    return Topic(
        name="temperature",
        family="decoding",
        title=tr("Softmax and temperature", "softmax 与温度"),
        idea=(
            tr(
                "A model gives every token a score; to draw a token the scores must become probabilities.",
                "模型给每个词元一个得分；要抽取词元，须先把得分变成概率。",
            ),
            tr(
                "Softmax exponentiates and normalises them, after dividing by a temperature.",
                "softmax 先将得分除以温度，再取指数并归一化。",
            ),
            tr(
                "A low temperature makes the best token almost certain, a high one makes all tokens alike.",
                "温度低时最佳词元近乎必然，温度高时各词元趋于相同。",
            ),
        ),
        formula=(r"p_i = \frac{\exp(x_i / \tau)}{\sum_{j=1}^{V} \exp(x_j / \tau)}",),
        symbols={
            "x_i": tr("score (logit) of token i; x is (V,)", "词元 i 的得分；x 形状为 (V,)"),
            r"\tau": tr("temperature, above 0, no unit", "温度，大于 0，无单位"),
            "p_i": tr("probability of token i; p is (V,) and sums to one", "词元 i 的概率；p 形状为 (V,)，和为一"),
        },
        inputs=TemperatureInputs,
        example=_temperature_example,
        picture=_temperature_picture,
        pitfalls=(
            tr(
                "Subtract the largest score before exponentiating: the result is the same and nothing overflows.",
                "取指数前减去最大得分：结果不变，且不会溢出。",
            ),
            tr(
                "Temperature 0 is not a number to divide by: it means taking the best token (greedy).",
                "温度 0 不能作除数：其含义是直接取最佳词元（贪心）。",
            ),
        ),
        papers=("Ackley, Hinton & Sejnowski 1985, A learning algorithm for Boltzmann machines, section 2",),
        theory=(theory.softmax,),
        practice=("zhixing.generation.filters:temperature",),
        related=("top-p",),
    )


def _temperature_example(inputs: TemperatureInputs) -> Iterator[Step]:
    scaled = np.array(inputs.scores) / inputs.temperature
    yield Step(tr("divide the scores by the temperature", "得分除以温度"), scaled, r"x_i / \tau", columns=inputs.tokens)
    shifted = np.exp(scaled - scaled.max())
    yield Step(
        tr("subtract the largest and exponentiate", "减去最大值，取指数"),
        shifted,
        r"\exp(x_i/\tau - \max_j x_j/\tau)",
        columns=inputs.tokens,
    )
    yield Step(tr("their sum", "求和"), float(shifted.sum()), r"\sum_j")
    p = theory.softmax(inputs.scores, inputs.temperature)
    yield Step(tr("divide: the probabilities", "相除得概率"), p, "p_i", columns=inputs.tokens)


def _temperature_picture(inputs: TemperatureInputs) -> Bars:
    chosen = dict.fromkeys((inputs.temperature, 1.0, 2.0))
    series = {f"τ = {t:g}": theory.softmax(inputs.scores, t) for t in chosen}
    return Bars(tr("one set of scores at several temperatures", "同一组得分在不同温度下"), inputs.tokens, series, "p")


class FilterInputs(Settings):
    """A distribution over a few tokens."""

    tokens: tuple[str, ...] = setting(("the", "a", "cat", "dog", "xyz"), "tokens", "词元", min_length=2)
    probabilities: Vector = setting((0.5, 0.2, 0.15, 0.1, 0.05), "theirs, summing to one", "各自的概率，和为一")

    @model_validator(mode="after")
    def _a_distribution(self) -> Self:
        require_length("probabilities", self.probabilities, len(self.tokens))
        require_distribution("probabilities", self.probabilities)
        return self

    @property
    def p(self) -> NDArray[np.float64]:
        """The distribution (V,)."""
        return np.array(self.probabilities)


class TopKInputs(FilterInputs):
    """The same, and how many tokens to keep."""

    k: int = setting(2, "tokens to keep", "保留的词元数", ge=1)

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        n = len(self.tokens)
        require(self.k <= n, f"k is {self.k}, but there are only {n} tokens", f"k 为 {self.k}，而词元只有 {n} 个")
        return self


def top_k() -> Topic[TopKInputs]:
    """Draw among the k best tokens only."""
    return Topic(
        name="top-k",
        family="decoding",
        title=tr("Top-k sampling", "top-k 采样"),
        idea=(
            tr(
                "Of fifty thousand unlikely tokens each is rare, but together they are drawn often and spoil the text.",
                "五万个不太可能的词元各自罕见，合起来却常被抽中，毁了文本。",
            ),
            tr(
                "Keep the k most probable tokens and share all probability among them.",
                "只留概率最高的 k 个词元，由它们分享全部概率。",
            ),
            tr(
                "Nonsense disappears; but k is the same whether the next word is certain or wide open.",
                "胡言乱语不再出现；但无论下一个词是确定还是开放，k 都一样。",
            ),
        ),
        formula=(r"p'_i = \frac{p_i}{\sum_{j \in K} p_j} \text{ if } i \in K,\ \text{else } 0",),
        symbols={
            "p": tr("distribution over the vocabulary, (V,)", "词表上的分布，(V,)"),
            "K": tr(
                "the k most probable tokens, and whatever ties with the last", "概率最高的 k 个词元，含与末位并列者"
            ),
            "p'": tr("what the token is drawn from, (V,)", "抽取所用的分布，(V,)"),
        },
        inputs=TopKInputs,
        example=_top_k_example,
        picture=_top_k_picture,
        pitfalls=(
            tr("k = 1 is greedy decoding, whatever the temperature.", "k = 1 即贪心解码，与温度无关。"),
            tr(
                "Ties at the k-th place: keep them all, or the result depends on the order of the vocabulary.",
                "第 k 位并列时应全部保留，否则结果取决于词表的顺序。",
            ),
        ),
        papers=("Fan, Lewis & Dauphin 2018, Hierarchical neural story generation",),
        theory=(theory.top_k, theory.renormalise),
        practice=("zhixing.generation.filters:top_k",),
        related=("top-p", "min-p", "temperature"),
    )


def _kept(inputs: FilterInputs, after: NDArray[Any]) -> Iterator[Step]:
    """The steps that all filters end with."""
    kept = np.where(after > 0, inputs.p, 0.0)
    yield Step(tr("kept", "保留"), kept, columns=inputs.tokens)
    yield Step(tr("their sum", "其和"), float(kept.sum()), r"\sum_{j \in K} p_j")
    yield Step(tr("divide by it", "除以其和"), after, "p'", columns=inputs.tokens)


def _before_after(inputs: FilterInputs, after: NDArray[Any]) -> Bars:
    return Bars(tr("before and after", "之前与之后"), inputs.tokens, {"p": inputs.p, "p′": after}, "p")


def _top_k_example(inputs: TopKInputs) -> Iterator[Step]:
    smallest = float(np.sort(inputs.p)[-inputs.k])
    yield Step(tr(f"the probability at rank {inputs.k}", f"排在第 {inputs.k} 的概率"), smallest)
    yield from _kept(inputs, theory.top_k(inputs.p, inputs.k))


def _top_k_picture(inputs: TopKInputs) -> Bars:
    return _before_after(inputs, theory.top_k(inputs.p, inputs.k))


class TopPInputs(FilterInputs):
    """The same, and how much probability to keep."""

    mass: float = setting(0.8, "probability to keep", "保留的概率质量", gt=0, le=1)


def top_p() -> Topic[TopPInputs]:
    """Draw from the smallest set that holds a given mass."""
    return Topic(
        name="top-p",
        family="decoding",
        title=tr("Top-p (nucleus) sampling", "top-p（核）采样"),
        idea=(
            tr(
                "Sometimes three tokens are sensible, sometimes three hundred; a fixed number fits neither.",
                "有时合理的词元有三个，有时有三百个；固定的数目两头不合。",
            ),
            tr(
                "Take tokens from the most probable down until they hold the mass p, and draw among them.",
                "从概率最高者起依次取，直到总质量达到 p，只在其中抽取。",
            ),
            tr(
                "The set is small where the model is sure and wide where it is not.",
                "模型有把握时集合小，没把握时集合大。",
            ),
        ),
        formula=(
            r"K = \{ i : \sum_{j \text{ before } i} p_j < P \}",
            r"p'_i = \frac{p_i}{\sum_{j \in K} p_j} \text{ if } i \in K,\ \text{else } 0",
        ),
        symbols={
            "p": tr("distribution over the vocabulary, (V,)", "词表上的分布，(V,)"),
            "P": tr("mass to keep, above 0, at most 1", "保留的质量，大于 0，至多 1"),
            "K": tr("the nucleus; 'before': more probable", "核；before 指概率更高者"),
        },
        inputs=TopPInputs,
        example=_top_p_example,
        picture=_top_p_picture,
        pitfalls=(
            tr(
                "The token that crosses the mass belongs to the set; without it a sure model would keep none.",
                "使质量越过 P 的那个词元也在集合内；否则有把握的模型一个也不留。",
            ),
            tr(
                "Temperature comes first: the same P after a temperature of 2 keeps many more tokens.",
                "温度在先：温度为 2 时，同样的 P 会留下多得多的词元。",
            ),
            tr(
                "The cumulative sum of a large vocabulary in half precision is off by more than the tail holds.",
                "半精度下对大词表求累积和，误差比尾部的总概率还大。",
            ),
        ),
        papers=("Holtzman et al. 2020, The curious case of neural text degeneration, section 3.1",),
        theory=(theory.top_p, theory.renormalise),
        practice=("zhixing.generation.filters:top_p",),
        related=("top-k", "min-p", "temperature"),
    )


def _top_p_example(inputs: TopPInputs) -> Iterator[Step]:
    order = np.argsort(-inputs.p, kind="stable")
    names = [inputs.tokens[i] for i in order]
    yield Step(tr("from the most probable down", "由高到低排列"), inputs.p[order], "p", columns=names)
    before = np.cumsum(inputs.p[order]) - inputs.p[order]
    yield Step(
        tr(f"mass before each; kept if below {inputs.mass:g}", f"各项之前的质量；小于 {inputs.mass:g} 则保留"),
        before,
        columns=names,
    )
    yield from _kept(inputs, theory.top_p(inputs.p, inputs.mass))


def _top_p_picture(inputs: TopPInputs) -> Bars:
    return _before_after(inputs, theory.top_p(inputs.p, inputs.mass))


class MinPInputs(FilterInputs):
    """The same, and how probable a token must be beside the best."""

    fraction: float = setting(
        0.25, "least probability, as a share of the best's", "最低概率，占最佳者的比例", ge=0, le=1
    )


def min_p() -> Topic[MinPInputs]:
    """Keep what is not much less probable than the best."""
    return Topic(
        name="min-p",
        family="decoding",
        title=tr("Min-p sampling", "min-p 采样"),
        idea=(
            tr(
                "When a model is unsure, a fixed mass lets in tokens hundreds of times less likely than the best.",
                "模型没把握时，固定的质量会放进比最佳者低数百倍的词元。",
            ),
            tr(
                "Keep the tokens that are at least a fraction as probable as the best one.",
                "只留概率不低于最佳者某一比例的词元。",
            ),
            tr(
                "The threshold follows the model's certainty, which allows higher temperatures.",
                "阈值随模型的把握而变，因而可用更高的温度。",
            ),
        ),
        formula=(
            r"K = \{ i : p_i \ge \phi \max_j p_j \}",
            r"p'_i = \frac{p_i}{\sum_{j \in K} p_j} \text{ if } i \in K,\ \text{else } 0",
        ),
        symbols={
            "p": tr("distribution over the vocabulary, (V,)", "词表上的分布，(V,)"),
            r"\phi": tr("fraction, 0 to 1", "比例，0 至 1"),
            "K": tr("the tokens kept", "保留的词元"),
        },
        inputs=MinPInputs,
        example=_min_p_example,
        picture=_min_p_picture,
        pitfalls=(
            tr(
                "It is a share of the best probability, not a probability: 0.1 does not mean ten per cent.",
                "它是相对最佳概率的比例，而非概率：0.1 不是百分之十。",
            ),
            tr(
                "Programs disagree whether temperature comes before it or after: equal settings, different texts.",
                "各程序对温度在先还是在后并不一致；同样的设置会写出不同的文本。",
            ),
        ),
        papers=("Nguyen et al. 2024, Turning up the heat: min-p sampling for creative and coherent LLM outputs",),
        theory=(theory.min_p, theory.renormalise),
        practice=("zhixing.generation.filters:min_p",),
        related=("top-p", "top-k", "temperature"),
    )


def _min_p_example(inputs: MinPInputs) -> Iterator[Step]:
    yield Step(tr("the threshold", "阈值"), inputs.fraction * float(inputs.p.max()), r"\phi \max_j p_j")
    yield from _kept(inputs, theory.min_p(inputs.p, inputs.fraction))


def _min_p_picture(inputs: MinPInputs) -> Bars:
    return _before_after(inputs, theory.min_p(inputs.p, inputs.fraction))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (temperature, top_k, top_p, min_p, *generation.TOPICS)
