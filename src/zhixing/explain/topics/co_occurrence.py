"""Topics of word vectors: counting which words stand together, and fitting vectors to the counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import word_vectors as theory

Floats = NDArray[np.float64]
GLOVE = "Pennington, Socher & Manning 2014, GloVe: global vectors for word representation"


class CoOccurrenceInputs(Settings):
    """A text and a window."""

    text: tuple[str, ...] = setting(
        ("the", "king", "rules", "and", "the", "queen", "rules"), "a text", "一段文本", min_length=2, max_length=30
    )
    window: int = setting(2, "words on either side", "两侧各取的词数", unit="words", ge=1, le=10)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n = len(self.vocabulary())
        require(n <= 10, f"at most 10 different words, not {n}", f"不同的词至多 10 个，而非 {n} 个")
        return self

    def vocabulary(self) -> tuple[str, ...]:
        """The different words, in order of appearance."""
        return tuple(dict.fromkeys(self.text))

    def counts(self, weigh_distance: bool) -> NDArray[np.float64]:
        """The table (V, V)."""
        vocabulary = self.vocabulary()
        ids = [vocabulary.index(word) for word in self.text]
        return theory.co_occurrence(ids, len(vocabulary), self.window, weigh_distance)


def co_occurrence() -> Topic[CoOccurrenceInputs]:
    """Which words stand near which."""
    return Topic(
        name="co-occurrence",
        family="words",
        title=tr("Co-occurrence counts", "共现计数"),
        idea=(
            tr("Can what a word means be counted?", "词义能数出来吗？"),
            tr(
                "Slide a window over the text and count, for each word, the words that stand near it.",
                "在文本上滑动窗口，数出每个词近旁各词的次数。",
            ),
            tr(
                "Each row of the table describes a word; words with similar rows are used alike.",
                "表中每行刻画一个词；行相似者，用法相似。",
            ),
        ),
        formula=(r"X_{ij} = \sum_{s, t:\ w_s = i,\ w_t = j,\ 0 < |s - t| \le c} \frac{1}{|s - t|}",),
        symbols={
            "X_{ij}": tr("how much j stands near i; X is (V, V)", "j 出现在 i 近旁的加权次数；X 为 (V, V)"),
            "w_t": tr("the word at place t of the text", "文本第 t 处的词"),
            "c": tr("window: words on either side", "窗口：两侧各取的词数"),
        },
        inputs=CoOccurrenceInputs,
        example=_co_occurrence_example,
        picture=lambda inputs: HeatMap(
            tr("weighted counts", "加权次数"),
            inputs.counts(weigh_distance=True),
            inputs.vocabulary(),
            inputs.vocabulary(),
            tr("word", "词"),
            tr("neighbour", "邻词"),
        ),
        pitfalls=(
            tr(
                "V squared cells for V words, nearly all of them zero: store only the others.",
                "V 个词便有 V 平方个格，几乎全为零：只存非零者。",
            ),
            tr(
                "Raw counts mostly say how frequent a word is; take logarithms or compare with chance.",
                "原始次数主要反映词频；应取对数，或与随机期望相比。",
            ),
            tr(
                "A window must not reach from one document into the next.",
                "窗口不可从一篇文档伸入下一篇。",
            ),
        ),
        papers=(f"{GLOVE}, sections 3 and 4.2", "Lund & Burgess 1996, Producing high-dimensional semantic spaces"),
        theory=(theory.co_occurrence,),
        practice=("zhixing.models.word_vector_tables:co_occurrences",),
        related=("glove", "skip-gram"),
    )


def _co_occurrence_example(inputs: CoOccurrenceInputs) -> Iterator[Step]:
    words = inputs.vocabulary()
    yield Step(tr("the different words", "不同的词"), ", ".join(words))
    plain = inputs.counts(weigh_distance=False)
    yield Step(tr("every neighbour counts one", "每个邻词计一"), plain, rows=words, columns=words)
    weighed = inputs.counts(weigh_distance=True)
    yield Step(tr("one over the distance", "按距离的倒数计"), weighed, "X_{ij}", rows=words, columns=words)
    yield Step(tr("each row's sum", "各行之和"), weighed.sum(axis=1), r"\sum_j X_{ij}", columns=words)
    share = weighed[0] / weighed[0].sum()
    yield Step(
        tr(f"who stands near '{words[0]}'", f"“{words[0]}”近旁各词的比例"),
        share,
        r"\frac{X_{1j}}{\sum_k X_{1k}}",
        columns=words,
    )


class GloveInputs(Settings):
    """A small table of counts, and vectors to be fitted to it."""

    words: tuple[str, ...] = setting(("ice", "steam", "water"), "words", "词", min_length=2, max_length=6)
    counts: Matrix = setting(
        ((0.0, 2.0, 40.0), (2.0, 0.0, 35.0), (40.0, 35.0, 200.0)), "how much they stand together", "共现次数"
    )
    vectors: Matrix = setting(((0.5, 0.2), (0.4, -0.1), (1.0, 0.3)), "word vectors", "词向量", min_length=2)
    contexts: Matrix = setting(((0.3, 0.1), (0.2, -0.2), (0.9, 0.2)), "context vectors", "上下文向量")
    biases: Vector = setting((0.5, 0.5, 1.5), "word biases", "词偏置")
    context_biases: Vector = setting((0.5, 0.5, 1.5), "context biases", "上下文偏置")
    cap: float = setting(100.0, "count from which the weight is 1", "权重达到 1 的次数", gt=0)
    power: float = setting(0.75, "exponent of the weight", "权重的指数", gt=0, le=1)
    learning_rate: float = setting(0.02, "size of the step", "步长", gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        words, width = len(self.words), len(self.vectors[0])
        require(width > 0, "vectors must have at least one number per row", "vectors 每行至少一个数")
        require_shape("counts", self.counts, words, words)
        require(min(min(row) for row in self.counts) >= 0, "counts must be at least 0", "次数不得为负")
        for name, matrix in (("vectors", self.vectors), ("contexts", self.contexts)):
            require_shape(name, matrix, words, width)
        for name, values in (("biases", self.biases), ("context_biases", self.context_biases)):
            require_length(name, values, words)
        return self

    def parameters(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Vectors, context vectors, and the biases of both."""
        return np.array(self.vectors), np.array(self.contexts), np.array(self.biases), np.array(self.context_biases)


def glove() -> Topic[GloveInputs]:
    """Weighted least squares on the logarithms of the counts."""
    return Topic(
        name="glove",
        family="words",
        title="GloVe",
        idea=(
            tr(
                "Skip-gram reads the text again and again, though it learns from nothing but the counts of pairs.",
                "skip-gram 反复阅读文本，而它所学的一切尽在词对的次数之中。",
            ),
            tr(
                "Count once, then fit vectors so that the product of two equals the logarithm of their count.",
                "只数一遍，再拟合向量，使两向量之积等于其次数的对数。",
            ),
            tr(
                "Differences of vectors then stand for ratios of probabilities, which is what meaning shows in.",
                "于是向量之差对应概率之比，而词义正见于这种比值。",
            ),
        ),
        formula=(
            r"J = \sum_{i,j} f(X_{ij}) \big( w_i^\top \tilde w_j + b_i + \tilde b_j - \log X_{ij} \big)^2",
            r"f(x) = \min\big(1, (x / x_{\max})^{\alpha} \big)",
        ),
        symbols={
            "X_{ij}": tr("weighted co-occurrence count; (V, V)", "加权共现次数；(V, V)"),
            r"w_i, \tilde w_j": tr("vectors of word and context; (D,) each", "词与上下文的向量；各 (D,)"),
            r"b_i, \tilde b_j": tr("their biases, which take up frequency", "各自的偏置，用以吸收词频"),
            r"x_{\max}, \alpha": tr("100 and 3/4 in the paper", "论文取 100 与 3/4"),
        },
        inputs=GloveInputs,
        example=_glove_example,
        picture=_glove_picture,
        pitfalls=(
            tr(
                "Pairs never seen have weight 0 and are left out: the logarithm of 0 is never taken.",
                "从未共现的词对权重为 0，不参与求和：绝不对 0 取对数。",
            ),
            tr(
                "The counts are weighed by one over the distance before the logarithm, not after.",
                "按距离倒数加权在取对数之前，而非之后。",
            ),
            tr(
                "The vector to use is the sum of word and context vector, as in the paper; each alone is noisier.",
                "所用向量应为词向量与上下文向量之和，如论文所述；单用其一噪声更大。",
            ),
        ),
        papers=(f"{GLOVE}, equations 8 and 9",),
        theory=(theory.glove_loss, theory.glove_gradient, theory.glove_weight),
        practice=(
            "zhixing.models.word_vector_kernels:learn_counts",
            "zhixing.pretraining.word_vector_learner:CountLearner",
        ),
        related=("co-occurrence", "skip-gram"),
    )


def _glove_example(inputs: GloveInputs) -> Iterator[Step]:
    given, counts, words = inputs.parameters(), np.array(inputs.counts), inputs.words
    vectors, contexts, biases, context_biases = given
    fitted = vectors @ contexts.T + biases[:, None] + context_biases
    yield Step(
        tr("what the vectors say", "向量给出的值"),
        fitted,
        r"w_i^\top \tilde w_j + b_i + \tilde b_j",
        rows=words,
        columns=words,
    )
    with np.errstate(divide="ignore"):
        yield Step(tr("what they should say", "应有的值"), np.log(counts), r"\log X_{ij}", rows=words, columns=words)
    weights = theory.glove_weight(counts, inputs.cap, inputs.power)
    yield Step(tr("how much each pair weighs", "各词对的权重"), weights, "f(X_{ij})", rows=words, columns=words)
    yield Step(tr("the loss", "损失"), theory.glove_loss(*given, counts, inputs.cap, inputs.power), "J")
    gradients = theory.glove_gradient(*given, counts, inputs.cap, inputs.power)
    axes = numbered("d", vectors.shape[1])
    yield Step(
        tr("gradient of the word vectors", "词向量的梯度"), gradients[0], r"\partial w", rows=words, columns=axes
    )
    a, b, c, d = (part - inputs.learning_rate * slope for part, slope in zip(given, gradients, strict=True))
    after = theory.glove_loss(a, b, c, d, counts, inputs.cap, inputs.power)
    yield Step(tr("the loss after one step of all four", "四组参数各走一步之后的损失"), after, "J")


def _glove_picture(inputs: GloveInputs) -> Lines:
    x = np.linspace(0.0, 2 * inputs.cap, 41)
    title = tr("the weight of a pair by its count", "词对权重随次数的变化")
    return Lines(title, x, {"f(x)": theory.glove_weight(x, inputs.cap, inputs.power)}, tr("count", "次数"), "f")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (co_occurrence, glove)
