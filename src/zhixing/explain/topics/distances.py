"""Topics of positions that act on the scores of attention by distance alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import numbered, require
from zhixing.language import tr
from zhixing.theory import positions as theory
from zhixing.theory.networks import softmax


class AlibiInputs(Settings):
    """How many tokens and heads."""

    tokens: int = setting(4, "tokens (T)", "词元数 T", ge=1, le=12)
    heads: int = setting(4, "heads (H)", "头数 H", ge=1, le=16)


def alibi() -> Topic[AlibiInputs]:
    """A penalty on distance."""
    return Topic(
        name="alibi",
        family="positions",
        title=tr("ALiBi, linear biases", "ALiBi 线性偏置"),
        idea=(
            tr("Can a model read texts longer than it was trained on?", "模型能否读比训练时更长的文本？"),
            tr(
                "Take from each score the distance of query and key, times a fixed slope that differs between heads.",
                "从每个得分中减去查询与键的距离乘以一个固定斜率，各头斜率不同。",
            ),
            tr(
                "Steep heads look near, flat heads look far, and nothing is undefined at any length.",
                "陡的头看近处，缓的头看远处；任何长度都有定义。",
            ),
        ),
        formula=(r"S_{h,t,s} = \frac{q_t \cdot k_s}{\sqrt{E}} - m_h |t - s|", r"m_h = 2^{-8h/H}"),
        symbols={
            "S": tr("scores, (H, T, S)", "得分，(H, T, S)"),
            "m_h": tr("slope of head h, h = 1 to H", "第 h 头的斜率，h = 1 至 H"),
            "t, s": tr("places of query and key", "查询与键的位置"),
        },
        inputs=AlibiInputs,
        example=_alibi_example,
        picture=_alibi_picture,
        pitfalls=(
            tr(
                "The slopes' formula holds for powers of two; other counts borrow every other slope of the next.",
                "斜率公式只适用于二的幂；其他头数须从下一个二的幂隔一取一。",
            ),
            tr(
                "The bias is added after dividing by the root of E, never before.",
                "偏置在除以 √E 之后加上，不可在之前。",
            ),
        ),
        papers=("Press, Smith & Lewis 2022, Train short, test long: attention with linear biases, section 3",),
        theory=(theory.alibi, theory.alibi_slopes),
        related=("rotary-positions", "relative-positions"),
    )


def _alibi_example(inputs: AlibiInputs) -> Iterator[Step]:
    slopes = theory.alibi_slopes(inputs.heads)
    names, tokens = numbered("h", inputs.heads), numbered("w", inputs.tokens)
    yield Step(tr("the heads' slopes", "各头的斜率"), slopes, r"m_h = 2^{-8h/H}", columns=names)
    bias = theory.alibi(inputs.tokens, inputs.tokens, inputs.heads) + 0.0
    yield Step(tr("bias of head 1", "第 1 头的偏置"), bias[0], "-m_1 |t - s|", tokens, tokens)
    says = tr("weights of the last token, all products equal", "末词元的权重（点积全等时）")
    yield Step(says, softmax(bias[:, -1]), r"\operatorname{softmax}", names, tokens)


def _alibi_picture(inputs: AlibiInputs) -> HeatMap:
    tokens = numbered("w", inputs.tokens)
    bias = theory.alibi(inputs.tokens, inputs.tokens, inputs.heads)[0] + 0.0
    axes = tr("asking", "发问"), tr("answering", "应答")
    return HeatMap(tr("bias of head 1", "第 1 头的偏置"), bias, tokens, tokens, *axes)


class RelativeInputs(Settings):
    """Buckets of distances, and the number learned for each."""

    distances: tuple[int, ...] = setting(
        (0, -1, -2, -5, -40, 1, 3), "key's place minus query's", "键位置减查询位置", min_length=1
    )
    buckets: int = setting(
        8, "buckets, a multiple of 4 if both ways", "桶数；双向时须为 4 的倍数", ge=4, le=64, multiple_of=2
    )
    farthest: int = setting(16, "from here on all distances share a bucket", "自此之外共用一桶", ge=2)
    both_ways: bool = setting(True, "keys after the query have buckets of their own", "查询之后的键另有其桶")

    @model_validator(mode="after")
    def _farther_than_exact(self) -> Self:
        require(
            not self.both_ways or self.buckets % 4 == 0,
            f"{self.buckets} buckets do not split between both ways; use a multiple of 4",
            f"{self.buckets} 个桶无法双向平分；请用 4 的倍数",
        )
        exact = self.buckets // (4 if self.both_ways else 2)
        require(
            self.farthest > exact,
            f"farthest must be more than {exact}, the distances that have a bucket each",
            f"farthest 须大于 {exact}：此数之内的距离各占一桶",
        )
        return self


def relative_positions() -> Topic[RelativeInputs]:
    """A learned bias per bucket of distance."""
    return Topic(
        name="relative-positions",
        family="positions",
        title=tr("Relative positions in buckets (T5)", "分桶的相对位置（T5）"),
        idea=(
            tr("How much should distance matter? Let the data say.", "距离有多重要？让数据来说。"),
            tr(
                "Sort distances into buckets, exact when near, ever coarser when far; learn one number per bucket.",
                "把距离分桶：近处逐一，远处渐粗；每桶学一个数。",
            ),
            tr(
                "That number is added to the score, so a few dozen weights per head cover any length.",
                "把该数加到得分上，于是每头几十个权重便能覆盖任意长度。",
            ),
        ),
        formula=(
            r"S_{h,t,s} = q_t \cdot k_s + B_{\operatorname{bucket}(s - t),\,h}",
            r"\operatorname{bucket}(d) = \min(n - 1, \lfloor e + (n - e) \frac{\log(d/e)}{\log(f/e)} \rfloor)",
            r"e = \frac{n}{2},\quad d \ge e",
        ),
        symbols={
            "B": tr("learned table, (buckets, H)", "学得的表，（桶数, H）"),
            "d": tr("distance, without sign", "距离，不计符号"),
            "n": tr("buckets of one direction", "单个方向的桶数"),
            "e": tr("below it each distance has its own bucket", "小于它的距离各占一桶"),
            "f": tr("farthest distance told apart", "尚能分辨的最远距离"),
        },
        inputs=RelativeInputs,
        example=_relative_example,
        picture=_relative_picture,
        pitfalls=(
            tr(
                "The sign convention is key minus query; with the other one encoder and decoder swap their directions.",
                "符号约定为键减查询；反了则前后方向颠倒。",
            ),
            tr(
                "T5 does not divide its scores by the root of E: the initialisation absorbs it.",
                "T5 的得分不除以 √E：由初始化吸收。",
            ),
            tr(
                "One table serves all layers of a stack; a table per layer is another model.",
                "一个堆栈的各层共用一张表；每层一张便是另一个模型。",
            ),
        ),
        papers=("Raffel et al. 2020, Exploring the limits of transfer learning (T5), section 2.1",),
        theory=(theory.relative_bucket, theory.relative_bias),
        related=("alibi", "rotary-positions"),
    )


def _relative_example(inputs: RelativeInputs) -> Iterator[Step]:
    names = [f"{d:+d}" if d else "0" for d in inputs.distances]
    count = inputs.buckets // 2 if inputs.both_ways else inputs.buckets
    yield Step(tr("buckets of one direction", "单个方向的桶数"), float(count), "n")
    yield Step(tr("below this, one distance each", "小于此数者各占一桶"), float(count // 2), r"e = \frac{n}{2}")
    bucket = theory.relative_bucket(np.array(inputs.distances), inputs.buckets, inputs.farthest, inputs.both_ways)
    yield Step(tr("bucket of each distance", "各距离所在的桶"), bucket, r"\operatorname{bucket}", columns=names)


def _relative_picture(inputs: RelativeInputs) -> HeatMap:
    table = np.arange(float(inputs.buckets))[:, None]
    values = theory.relative_bias(12, 12, table, inputs.farthest, inputs.both_ways)[0]
    labels = [str(p) for p in range(12)]
    axes = tr("query's place", "查询位置"), tr("key's place", "键位置")
    return HeatMap(tr("bucket of each pair of places", "各对位置所在的桶"), values, labels, labels, *axes)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (alibi, relative_positions)
