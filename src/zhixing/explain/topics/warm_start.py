"""Topics of the warm start: a decoder that begins as a bigram model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, require, require_shape
from zhixing.language import tr
from zhixing.theory import warm_start as theory


class WarmStartInputs(Settings):
    """How often each token followed each other, and a decoder's two matrices."""

    tokens: tuple[str, ...] = setting(("the", "cat", "sat"), "tokens (V)", "词元 (V)", min_length=2)
    counts: Matrix = setting(
        ((0.0, 3.0, 0.0), (1.0, 0.0, 3.0), (2.0, 0.0, 0.0)),
        "row v counts what follows v (V, V)",
        "第 v 行为 v 之后各词元的计数 (V, V)",
    )
    discount: float = setting(0.5, "taken off every count", "从每个计数扣去的量", gt=0, le=1)
    embedding: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), "embeddings (V, D)", "词嵌入 (V, D)")
    head: Matrix = setting(((0.0, 1.0), (2.0, 0.0), (0.0, 2.0)), "output table (V, D)", "输出表 (V, D)")

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        size = len(self.tokens)
        require_shape("counts", self.counts, size, size)
        whole = all(count >= 0 and float(count).is_integer() for row in self.counts for count in row)
        require(whole, "counts must be whole numbers, at least 0", "counts 须为不小于 0 的整数")
        require(any(map(any, self.counts)), "counts must not all be 0", "counts 不可全为 0")
        width = len(self.embedding[0]) if self.embedding else 0
        require_shape("embedding", self.embedding, size, max(width, 1))
        require_shape("head", self.head, size, max(width, 1))
        return self

    def table(self) -> NDArray[Any]:
        """The smoothed table (V, V)."""
        return theory.bigram_table(np.array(self.counts), self.discount)

    def share(self) -> NDArray[Any]:
        """How often each token is a context (V,), summing to one."""
        rows = np.array(self.counts).sum(axis=1)
        return np.asarray(rows / rows.sum())


def warm_start() -> Topic[WarmStartInputs]:
    """Counting pairs before training a network."""
    return Topic(
        name="warm-start",
        family="warm_start",
        title=tr("Starting as a bigram model", "以二元模型起步"),
        idea=(
            tr(
                "A new network spends its first minutes learning which token follows which.",
                "新网络的最初几分钟都花在学“谁后面跟着谁”上。",
            ),
            tr(
                "Count the pairs instead, smooth them, and fit the embeddings and the output table to that table.",
                "不如直接数词对并平滑，再用词嵌入与输出表去拟合这张表。",
            ),
            tr(
                "While its blocks still add nothing, the network is a bigram model, and it learns the rest from there.",
                "各块尚无贡献时，网络便是一个二元模型，其余由此学起。",
            ),
        ),
        formula=(
            r"P(w \mid v) = \frac{\max(c(v w) - D, 0)}{c(v)} + \frac{D\, t(v)}{c(v)} p(w)",
            r"p(w) = \frac{t'(w) + 1}{\sum_u t'(u) + V}",
            r"L = -\sum_v s_v \sum_w P(w \mid v) \log \operatorname{softmax}(W \operatorname{RMS}(E_v))_w",
        ),
        symbols={
            "c": tr("how often w follows v, (V, V)", "w 跟在 v 之后的次数，(V, V)"),
            "t(v), t'(w)": tr("different tokens after v; before w", "v 之后、w 之前的不同词元数"),
            "D": tr("discount, 0 to 1", "折扣，0 至 1"),
            "E, W": tr("embeddings and output table, (V, D) each", "词嵌入与输出表，各为 (V, D)"),
            "s_v": tr("share of v among all contexts", "v 在所有前文中的占比"),
        },
        inputs=WarmStartInputs,
        example=_warm_start_example,
        picture=_warm_start_picture,
        pitfalls=(
            tr(
                "Fitting raw counts teaches chance: without smoothing every unseen pair is forbidden.",
                "拟合原始计数会学到偶然：不平滑，没见过的词对便被禁绝。",
            ),
            tr(
                "Input and output tables must be separate: what follows 'the' is not what resembles 'the'.",
                "输入、输出表须分开：“the”之后的词，并不是与“the”相似的词。",
            ),
            tr(
                "Count only text that the run is charged for, or the comparison with a cold start is unfair.",
                "只可数计入预算的文本，否则与冷启动的比较不公平。",
            ),
        ),
        papers=("Kneser & Ney 1995, Improved backing-off for m-gram language modeling (the smoothing)",),
        theory=(theory.bigram_table, theory.bigram_fit_loss),
        practice=("zhixing.pretraining.warm_start:start_as_bigram", "zhixing.pretraining.warm_start:bigram_table"),
        related=("kneser-ney", "llama"),
    )


def _warm_start_example(inputs: WarmStartInputs) -> Iterator[Step]:
    counts, tokens = np.array(inputs.counts), inputs.tokens
    yield Step(tr("counts of pairs", "词对计数"), counts, "c(v w)", tokens, tokens)
    before = (counts > 0).sum(axis=0).astype(float)
    yield Step(tr("different tokens before each", "各词元之前的不同词元数"), before, "t'(w)", columns=tokens)
    lower = (before + 1) / (before.sum() + len(tokens))
    yield Step(
        tr("the shorter model: one more each, divided", "更短的模型：各加一再相除"), lower, "p(w)", columns=tokens
    )
    table = inputs.table()
    yield Step(
        tr("the smoothed table; rows sum to one", "平滑后的表，每行和为一"), table, r"P(w \mid v)", tokens, tokens
    )
    share = inputs.share()
    yield Step(tr("share of each token among the contexts", "各词元在前文中的占比"), share, "s_v", columns=tokens)
    loss = float(theory.bigram_fit_loss(np.array(inputs.embedding), np.array(inputs.head), table, share, 1e-6))
    yield Step(tr("what these two matrices lose, nats", "这两个矩阵的损失，奈特"), loss, "L")
    least = float(-(share * (table * np.log(table)).sum(axis=1)).sum())
    yield Step(
        tr("the least possible: the table's entropy", "可能的最小值：表的熵"), least, r"-\sum_v s_v \sum_w P \log P"
    )


def _warm_start_picture(inputs: WarmStartInputs) -> HeatMap:
    axes = tr("after", "已读"), tr("next", "下一个")
    return HeatMap(tr("the smoothed table", "平滑后的表"), inputs.table(), inputs.tokens, inputs.tokens, *axes)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (warm_start,)
