"""Topics of measures: whether the difference of two models is real."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import measures as theory


class BootstrapInputs(Settings):
    """What two models lost on the same texts, and how often to draw the texts anew."""

    loss_a: Vector = setting((4.0, 6.0, 5.0, 8.0, 7.0), "losses of model A (N,)", "模型 A 的损失 (N,)", min_length=2)
    loss_b: Vector = setting((3.5, 6.5, 4.0, 7.0, 6.0), "losses of model B (N,)", "模型 B 的损失 (N,)", min_length=2)
    size: Vector = setting((1.0, 1.0, 1.0, 1.0, 1.0), "the texts' sizes (N,)", "各文本的大小 (N,)", min_length=2)
    resamples: int = setting(2000, "how many resamples (R)", "重抽次数 R", ge=10, le=100_000)
    confidence: float = setting(0.95, "share of resamples inside the interval", "区间所含重抽的比例", gt=0, lt=1)
    seed: int = setting(0, "of the random draws", "随机抽取的种子", ge=0)

    @model_validator(mode="after")
    def _same_texts(self) -> Self:
        require_length("loss_b", self.loss_b, len(self.loss_a))
        require_length("size", self.size, len(self.loss_a))
        require(min(self.size) > 0, "size must be above 0", "size 须大于 0")
        return self

    def draws(self) -> NDArray[Any]:
        """The numbers of the texts in each resample, (R, N)."""
        n = len(self.loss_a)
        return np.random.default_rng(self.seed).integers(n, size=(self.resamples, n))

    def gap(self) -> NDArray[Any]:
        """By how much A lost more than B, text by text (N,)."""
        return np.array(self.loss_a) - np.array(self.loss_b)


def bootstrap() -> Topic[BootstrapInputs]:
    """Is the difference of two models more than chance?"""
    return Topic(
        name="bootstrap",
        family="measures",
        title=tr("Paired bootstrap and permutation test", "配对自助法与置换检验"),
        idea=(
            tr(
                "Model B lost less than A on the test set; would it on another test set of the same kind?",
                "模型 B 在测试集上损失更小；换一个同类测试集还会如此吗？",
            ),
            tr(
                "Draw test sets from this one, with replacement, and watch the difference; or swap names at random.",
                "从本测试集有放回地重抽，看差值如何波动；或随机对调两个模型的名字。",
            ),
            tr(
                "An interval without 0, or a difference that swaps rarely reach, is more than chance.",
                "若区间不含 0，或随机对调极少达到这一差值，便不只是偶然。",
            ),
        ),
        formula=(
            r"\Delta = \frac{\sum_i (a_i - b_i)}{\sum_i n_i}",
            r"\Delta^{(r)} = \frac{\sum_{i \in S_r} (a_i - b_i)}{\sum_{i \in S_r} n_i}",
            r"p = \frac{1 + \#\{r : |\sum_i \pm (a_i - b_i)| \ge |\sum_i (a_i - b_i)|\}}{1 + R}",
        ),
        symbols={
            "a_i, b_i": tr("what A and B lost on text i; N texts", "A、B 在文本 i 上的损失；共 N 篇"),
            "n_i": tr("size of text i, e.g. bytes", "文本 i 的大小，如字节数"),
            "S_r": tr("resample r: N texts drawn with replacement", "第 r 次重抽：有放回地抽 N 篇"),
            "p": tr("chance of so large a difference if there is none", "若本无差别，差值达到这么大的概率"),
        },
        inputs=BootstrapInputs,
        example=_bootstrap_example,
        picture=_bootstrap_picture,
        pitfalls=(
            tr(
                "Draw texts, not tokens: tokens of one text rise and fall together, and the interval gets too narrow.",
                "重抽的是文本而非词元：同一文本的词元同升同降，否则区间过窄。",
            ),
            tr(
                "Draw the same texts for both models; separate draws throw away the pairing and find nothing.",
                "两个模型须用同一次抽取；分开抽便丢了配对，什么也看不出。",
            ),
            tr(
                "Five texts are for reading only: below some thirty the interval is too narrow.",
                "五篇只为便于阅读：少于三十篇左右，区间偏窄。",
            ),
        ),
        papers=(
            "Efron & Tibshirani 1993, An introduction to the bootstrap, chapter 13",
            "Fisher 1935, The design of experiments, chapter 3 (permutation)",
        ),
        theory=(theory.paired_bootstrap, theory.permutation_p),
        practice=("zhixing.evaluation.significance:compare",),
        related=("mcnemar", "perplexity"),
    )


def _bootstrap_example(inputs: BootstrapInputs) -> Iterator[Step]:
    names, draws = numbered("x", len(inputs.loss_a)), inputs.draws()
    yield Step(tr("difference on each text", "各文本上的差"), inputs.gap(), "a_i - b_i", columns=names)
    shown = [tr(f"resample {r + 1}", f"第 {r + 1} 次重抽") for r in range(3)]
    yield Step(
        tr("the first draws, by number of the text", "最初几次所抽文本的编号"), draws[:3] + 1.0, "S_r", shown, names
    )
    each = _differences(inputs)[:3]
    yield Step(tr("difference on each of them", "各次重抽的差值"), each, r"\Delta^{(r)}", columns=shown)
    difference, low, high = theory.paired_bootstrap(inputs.loss_a, inputs.loss_b, inputs.size, draws, inputs.confidence)
    yield Step(tr("difference on the real test set", "真实测试集上的差值"), difference, r"\Delta")
    says = tr(f"{inputs.confidence:.0%} of all resamples lie in", f"全部重抽的 {inputs.confidence:.0%} 落在")
    yield Step(says, np.array([low, high]), columns=(tr("from", "自"), tr("to", "至")))
    signs = np.random.default_rng(inputs.seed).choice((-1, 1), size=draws.shape)
    p = theory.permutation_p(inputs.loss_a, inputs.loss_b, signs)
    yield Step(tr("swapping names at random reaches it with chance", "随机对调名字达到该差值的概率"), p, "p")


def _differences(inputs: BootstrapInputs) -> NDArray[Any]:
    """The difference on each resample, (R,)."""
    draws, size = inputs.draws(), np.array(inputs.size)
    return np.asarray(inputs.gap()[draws].sum(axis=1) / size[draws].sum(axis=1))


def _bootstrap_picture(inputs: BootstrapInputs) -> Bars:
    counts, edges = np.histogram(_differences(inputs), bins=12)
    labels = [f"{(a + b) / 2:.3g}" for a, b in pairwise(edges)]
    title = tr("how the difference varies over resamples", "差值在各次重抽中的分布")
    return Bars(title, labels, {tr("resamples", "重抽次数"): counts.astype(float)})


class McNemarInputs(Settings):
    """How many items only one of two classifiers got right."""

    only_a: int = setting(1, "right for A alone", "只有 A 答对的题数", unit="items", ge=0, le=500)
    only_b: int = setting(7, "right for B alone", "只有 B 答对的题数", unit="items", ge=0, le=500)

    @model_validator(mode="after")
    def _they_differ_somewhere(self) -> Self:
        differ = self.only_a + self.only_b > 0
        require(differ, "only_a and only_b are both 0: nothing to test", "only_a 与 only_b 都为 0：无可检验")
        return self


def mcnemar() -> Topic[McNemarInputs]:
    """Do two classifiers differ on the same items?"""
    return Topic(
        name="mcnemar",
        family="measures",
        title=tr("McNemar's test", "McNemar 检验"),
        idea=(
            tr(
                "Two classifiers answered the same questions; is the one with more right answers better?",
                "两个分类器答同一套题；答对更多的那个真的更好吗？",
            ),
            tr(
                "Only questions that one got right and the other wrong tell them apart; without a difference each is a "
                "fair coin.",
                "只有一对一错的题才能区分两者；若无差别，每道这样的题就如抛一次公平硬币。",
            ),
            tr(
                "The chance of so uneven a split is the p-value, exact from the binomial distribution.",
                "分得如此不均的概率即 p 值，由二项分布精确给出。",
            ),
        ),
        formula=(
            r"p = \min(1, 2 \sum_{k=0}^{m} \binom{n}{k} 2^{-n})",
            r"n = n_A + n_B,\quad m = \min(n_A, n_B)",
        ),
        symbols={
            "n_A": tr("items right for A alone", "只有 A 答对的题数"),
            "n_B": tr("items right for B alone", "只有 B 答对的题数"),
            "p": tr("chance of so uneven a split if there is no difference", "若无差别，分得如此不均的概率"),
        },
        inputs=McNemarInputs,
        example=_mcnemar_example,
        picture=_mcnemar_picture,
        pitfalls=(
            tr(
                "Items that both got right or both wrong do not count, however many there are.",
                "两者皆对或皆错的题，再多也不计。",
            ),
            tr(
                "The chi-squared form needs about 25 differing items; below that use the exact one, as here.",
                "卡方形式约需 25 道相异的题；不足时用此处的精确形式。",
            ),
            tr(
                "A large p does not show that the two are equal: there may only be too few items.",
                "p 大不说明两者相同：也许只是题太少。",
            ),
        ),
        papers=("McNemar 1947, Note on the sampling error of the difference between correlated proportions",),
        theory=(theory.mcnemar,),
        practice=("zhixing.evaluation.significance:mcnemar",),
        related=("bootstrap",),
    )


def _split_chances(n: int) -> NDArray[Any]:
    """The chance of k heads in n throws of a fair coin, (n + 1,)."""
    return np.array([math.comb(n, k) / 2**n for k in range(n + 1)])


def _mcnemar_example(inputs: McNemarInputs) -> Iterator[Step]:
    n, fewer = inputs.only_a + inputs.only_b, min(inputs.only_a, inputs.only_b)
    yield Step(tr("items that tell them apart", "能区分两者的题数"), float(n), "n")
    yield Step(tr("the smaller side", "较少的一方"), float(fewer), "m")
    tail = float(_split_chances(n)[: fewer + 1].sum())
    says = tr("chance that a fair coin gives so few or fewer", "公平硬币得到这么少或更少的概率")
    yield Step(says, tail, r"\sum_{k=0}^{m} \binom{n}{k} 2^{-n}")
    yield Step(tr("both sides: the p-value", "两侧合计：p 值"), theory.mcnemar(inputs.only_a, inputs.only_b), "p")


def _mcnemar_picture(inputs: McNemarInputs) -> Lines:
    n = inputs.only_a + inputs.only_b
    p = np.array([theory.mcnemar(k, n - k) for k in range(n + 1)])
    title = tr(f"p-value of each split of {n} items", f"{n} 道题各种分法的 p 值")
    return Lines(title, np.arange(float(n + 1)), {"p": p}, tr("right for A alone", "只有 A 答对"), "p")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (bootstrap, mcnemar)
