"""Topics of decoding: how the next token is chosen from a distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
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


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (temperature,)
