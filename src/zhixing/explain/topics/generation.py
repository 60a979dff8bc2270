"""Topics of decoding that change a text as it is written: penalties and drafts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, require, require_distribution, require_length
from zhixing.language import tr
from zhixing.theory import decoding as theory


class RepetitionInputs(Settings):
    """Scores of a few tokens, which of them stand in the text already, and how strongly that is held against them."""

    tokens: tuple[str, ...] = setting(("the", "cat", "sat", "mat"), "tokens", "词元", min_length=2)
    scores: Vector = setting((2.0, 1.0, -1.0, 0.5), "their scores (logits)", "各自的得分（logit）")
    seen: tuple[str, ...] = setting(("the", "sat"), "tokens in the text so far", "文中已有的词元")
    penalty: float = setting(2.0, "1: none; above 1: repeat less", "1 为无；大于 1 则少重复", gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("scores", self.scores, len(self.tokens))
        strange = [word for word in self.seen if word not in self.tokens]
        require(
            not strange,
            f"seen holds what is none of the tokens: {', '.join(strange)}",
            f"seen 中有不在 tokens 里的：{'、'.join(strange)}",
        )
        return self

    def penalised(self) -> NDArray[Any]:
        """Scores (V,) after the penalty."""
        seen = [self.tokens.index(word) for word in self.seen]
        return theory.repetition_penalty(self.scores, seen, self.penalty)


def repetition_penalty() -> Topic[RepetitionInputs]:
    """Make tokens that were used less likely."""
    return Topic(
        name="repetition-penalty",
        family="decoding",
        title=tr("Repetition penalty", "重复惩罚"),
        idea=(
            tr(
                "Small models fall into loops: what was just written makes itself more probable.",
                "小模型会陷入循环：刚写过的内容使自己更可能再现。",
            ),
            tr(
                "Before softmax lower the score of every token in the text: divide if positive, multiply if negative.",
                "在 softmax 之前压低文中已有词元的得分：正者除、负者乘以惩罚。",
            ),
            tr(
                "Loops break, but names and commas are punished as well, so the penalty must stay small.",
                "循环被打破，但人名与逗号也受罚，故惩罚不宜大。",
            ),
        ),
        formula=(
            r"x'_i = \frac{x_i}{\theta} \text{ if } i \in G,\ x_i \ge 0",
            r"x'_i = \theta\, x_i \text{ if } i \in G,\ x_i < 0",
        ),
        symbols={
            "x": tr("scores, (V,)", "得分，(V,)"),
            "G": tr("tokens that stand in the text", "文中已有的词元"),
            r"\theta": tr("penalty, 1.0 to about 1.3", "惩罚，1.0 至约 1.3"),
        },
        inputs=RepetitionInputs,
        example=_repetition_example,
        picture=_repetition_picture,
        pitfalls=(
            tr(
                "The paper divides always, which makes negative scores more likely; programs use the sign.",
                "论文一律相除，会使负得分的词元更可能；各程序都按正负区分。",
            ),
            tr(
                "It is not invariant to a shift: a constant added to all scores changes the result.",
                "它不具平移不变性：所有得分同加一常数，结果便会改变。",
            ),
            tr(
                "Whether the prompt counts as seen differs between programs; a long prompt then taints half the words.",
                "提示词算不算“已有”各程序不同；长提示会使半数词汇受罚。",
            ),
        ),
        papers=("Keskar et al. 2019, CTRL: a conditional Transformer language model, section 4.1",),
        theory=(theory.repetition_penalty, theory.count_penalties, theory.softmax),
        practice=("zhixing.generation.filters:repetition", "zhixing.generation.filters:presence_frequency"),
        related=("temperature", "top-p"),
    )


def _repetition_example(inputs: RepetitionInputs) -> Iterator[Step]:
    seen = np.array([float(word in inputs.seen) for word in inputs.tokens])
    yield Step(tr("which tokens were seen", "哪些已出现"), seen, r"i \in G", columns=inputs.tokens)
    yield Step(tr("probabilities before", "惩罚前的概率"), theory.softmax(inputs.scores), "p", columns=inputs.tokens)
    after = inputs.penalised()
    yield Step(tr("scores after the penalty", "惩罚后的得分"), after, "x'", columns=inputs.tokens)
    yield Step(tr("probabilities after", "惩罚后的概率"), theory.softmax(after), "p'", columns=inputs.tokens)


def _repetition_picture(inputs: RepetitionInputs) -> Bars:
    series = {"p": theory.softmax(inputs.scores), "p′": theory.softmax(inputs.penalised())}
    return Bars(tr("before and after", "之前与之后"), inputs.tokens, series, "p")


class SpeculativeInputs(Settings):
    """What the model says, and what a cheap draft says."""

    tokens: tuple[str, ...] = setting(("the", "a", "cat"), "tokens", "词元", min_length=2)
    model: Vector = setting((0.5, 0.3, 0.2), "the model's distribution p", "模型的分布 p")
    draft: Vector = setting((0.8, 0.1, 0.1), "the draft's distribution q", "草稿的分布 q")
    length: int = setting(4, "tokens drafted at a time", "每次起草的词元数", unit="tokens", ge=1, le=64)

    @model_validator(mode="after")
    def _two_distributions(self) -> Self:
        for name, values in (("model", self.model), ("draft", self.draft)):
            require_length(name, values, len(self.tokens))
            require_distribution(name, values)
        return self

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The distributions p and q, (V,) each."""
        return np.array(self.model), np.array(self.draft)


def speculative_decoding() -> Topic[SpeculativeInputs]:
    """A cheap model drafts, the real one checks many tokens at once."""
    return Topic(
        name="speculative-decoding",
        family="decoding",
        title=tr("Speculative decoding", "投机解码"),
        idea=(
            tr(
                "A large model writes one token per pass, though checking ten at once costs it hardly more.",
                "大模型每次前向只写一个词元，而一次核对十个几乎不更费时。",
            ),
            tr(
                "A small model drafts; each draft is kept with probability min(1, p/q), a refused one is drawn anew.",
                "小模型起草；每个草稿以概率 min(1, p/q) 保留，被拒者从余量中重抽。",
            ),
            tr(
                "The text is distributed exactly as the large model's own, only it comes several times as fast.",
                "所得文本的分布与大模型自己写的完全相同，只是快了数倍。",
            ),
        ),
        formula=(
            r"a_i = \min(1, \frac{p_i}{q_i})",
            r"r_i = \frac{\max(0, p_i - q_i)}{\sum_j \max(0, p_j - q_j)}",
            r"\alpha = \sum_i q_i a_i,\quad \operatorname{E}[n] = \frac{1 - \alpha^{k+1}}{1 - \alpha}",
        ),
        symbols={
            "p, q": tr("distributions of model and draft, (V,)", "模型与草稿的分布，(V,)"),
            "a_i": tr("chance of keeping token i", "保留词元 i 的概率"),
            "r": tr("what replaces a refused draft, (V,)", "被拒之后重抽所用的分布，(V,)"),
            r"\alpha": tr("share of drafts kept", "草稿的保留率"),
            "n": tr("tokens per pass when k are drafted", "每次起草 k 个时，每次前向所得词元数"),
        },
        inputs=SpeculativeInputs,
        example=_speculative_example,
        picture=_speculative_picture,
        pitfalls=(
            tr(
                "A refused token must be drawn from the residual, not from p again: else the draft's favourites gain.",
                "被拒之后须从余量抽取，而非再从 p 抽：否则草稿偏爱的词元会偏多。",
            ),
            tr(
                "Temperature and filters apply to both p and q before the rule, or the text is not the model's.",
                "温度与过滤须先作用于 p 与 q 再用此规则，否则文本便不是模型的分布。",
            ),
            tr(
                "Drafts after the first refusal are all thrown away, and with them their entries in the cache.",
                "首个被拒之后的草稿全部作废，其缓存条目也须一并丢弃。",
            ),
        ),
        papers=(
            "Leviathan, Kalman & Matias 2023, Fast inference from Transformers via speculative decoding, algorithm 1",
            "Chen et al. 2023, Accelerating large language model decoding with speculative sampling",
        ),
        theory=(theory.speculative_acceptance, theory.speculative_residual),
        related=("temperature", "top-p"),
    )


def _residual(p: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    """What replaces a refused draft; nothing is ever refused if draft and model agree."""
    return np.zeros(len(p)) if np.maximum(p - q, 0).sum() == 0 else theory.speculative_residual(p, q)


def _speculative_example(inputs: SpeculativeInputs) -> Iterator[Step]:
    p, q = inputs.arrays()
    keep = theory.speculative_acceptance(p, q)
    yield Step(tr("chance of keeping each draft", "各草稿的保留概率"), keep, "a_i", columns=inputs.tokens)
    alpha = float((q * keep).sum())
    yield Step(tr("share of drafts kept", "草稿的保留率"), alpha, r"\alpha = \sum_i q_i a_i")
    residual = _residual(p, q)
    yield Step(tr("a refused draft is replaced from", "被拒后重抽所用的分布"), residual, "r", columns=inputs.tokens)
    written = q * keep + (1 - alpha) * residual
    says = tr("what is written: kept plus replaced, equal to p", "写出的分布：保留加重抽，恰为 p")
    yield Step(says, written, r"q_i a_i + (1 - \alpha) r_i", columns=inputs.tokens)
    expected = float(sum(alpha**n for n in range(inputs.length + 1)))
    says = tr(f"tokens per pass with {inputs.length} drafts", f"起草 {inputs.length} 个时每次前向所得词元数")
    yield Step(says, expected, r"\frac{1 - \alpha^{k+1}}{1 - \alpha}")


def _speculative_picture(inputs: SpeculativeInputs) -> Bars:
    p, q = inputs.arrays()
    series = {"p": p, "q": q, "q·a": q * theory.speculative_acceptance(p, q)}
    return Bars(tr("model, draft, and what is kept of it", "模型、草稿与其保留部分"), inputs.tokens, series, "p")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (repetition_penalty, speculative_decoding)
