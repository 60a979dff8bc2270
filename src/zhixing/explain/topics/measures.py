"""Topics of measures: how good predictions are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import significance
from zhixing.explain.topics.inputs import Vector, require, require_length
from zhixing.language import tr
from zhixing.theory import measures as theory


class PerplexityInputs(Settings):
    """A text, and the probability that a model gave to each of its tokens."""

    tokens: tuple[str, ...] = setting(
        ("the", "cat", "sat"), "tokens of the text", "文本的词元", min_length=1, max_length=20
    )
    probabilities: Vector = setting((0.5, 0.25, 0.125), "what the model gave to each", "模型给各词元的概率")

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        require_length("probabilities", self.probabilities, len(self.tokens))
        inside = all(1e-12 <= p <= 1 for p in self.probabilities)
        require(inside, "probabilities must lie between 1e-12 and 1", "probabilities 须在 1e-12 与 1 之间")
        return self

    def log_probs(self) -> NDArray[Any]:
        """Natural log-probabilities (T,)."""
        return np.log(np.array(self.probabilities))


def perplexity() -> Topic[PerplexityInputs]:
    """Among how many tokens a model seems to choose."""
    return Topic(
        name="perplexity",
        family="measures",
        title=tr("Perplexity", "困惑度"),
        idea=(
            tr("How well does a model predict a text it has not seen?", "模型对没见过的文本预测得有多好？"),
            tr(
                "Average the negative log-probabilities of its tokens and exponentiate.",
                "将各词元的负对数概率取平均，再取指数。",
            ),
            tr(
                "The result is the number of equally likely tokens that would be as hard to guess among.",
                "所得即：在多少个等可能的词元中猜，会同样困难。",
            ),
        ),
        formula=(r"\operatorname{PPL} = \exp(-\frac{1}{T} \sum_{t=1}^{T} \log p(x_t \mid x_{<t}))",),
        symbols={
            "x_t": tr("token t of the text, T in all", "文本的第 t 个词元，共 T 个"),
            "p": tr("what the model gave to it, having seen those before", "读过前文后模型给它的概率"),
            r"\operatorname{PPL}": tr("perplexity, at least 1, tokens", "困惑度，不小于 1，单位：词元"),
        },
        inputs=PerplexityInputs,
        example=_perplexity_example,
        picture=_perplexity_picture,
        pitfalls=(
            tr(
                "Perplexities of different tokenizers do not compare: larger pieces are harder to guess but fewer.",
                "切分不同则困惑度不可比：块越大越难猜，但块数越少。",
            ),
            tr(
                "Average over all tokens of the test set, then exponentiate; a mean of perplexities is something else.",
                "先对测试集全部词元取平均再取指数；各文本困惑度的平均是另一回事。",
            ),
            tr(
                "Tokens at the start of a window have little context: without overlap every window pays for it anew.",
                "窗口开头的词元前文太少：窗口不重叠，便每次都吃这个亏。",
            ),
        ),
        papers=(
            "Jelinek, Mercer, Bahl & Baker 1977, Perplexity: a measure of the difficulty of speech recognition tasks",
        ),
        theory=(theory.perplexity,),
        practice=("zhixing.evaluation.perplexity:Scores.perplexity", "zhixing.evaluation.perplexity:score_documents"),
        related=("bits-per-byte", "cross-entropy"),
    )


def _perplexity_example(inputs: PerplexityInputs) -> Iterator[Step]:
    log_probs = inputs.log_probs()
    says = tr("surprise of each token, nats", "各词元的意外程度，奈特")
    yield Step(says, -log_probs, r"-\log p(x_t \mid x_{<t})", columns=inputs.tokens)
    yield Step(tr("their mean", "取平均"), float(-log_probs.mean()), r"-\frac{1}{T} \sum_t \log p")
    yield Step(tr("exponentiate", "取指数"), theory.perplexity(log_probs), r"\operatorname{PPL}")
    root = float(np.prod(inputs.probabilities) ** (-1 / len(inputs.tokens)))
    says = tr("check: the inverse of the geometric mean", "核对：几何平均的倒数")
    yield Step(says, root, r"(\prod_t p(x_t))^{-1/T}")


def _perplexity_picture(inputs: PerplexityInputs) -> Bars:
    choices = 1 / np.array(inputs.probabilities)
    title = tr("each token as a choice among so many", "各词元相当于几选一")
    return Bars(title, inputs.tokens, {"1 / p": choices})


class BitsPerByteInputs(PerplexityInputs):
    """The same; the tokens joined are the text."""

    tokens: tuple[str, ...] = setting(
        ("知行", "合一", "!"), "tokens; joined they are the text", "词元，相连即文本", min_length=1
    )


def bits_per_byte() -> Topic[BitsPerByteInputs]:
    """The loss per byte of text, whatever the tokenizer."""
    return Topic(
        name="bits-per-byte",
        family="measures",
        title=tr("Bits per byte", "每字节比特数"),
        idea=(
            tr(
                "How can models be compared that cut text in different ways?",
                "切分方式不同的模型，如何比较？",
            ),
            tr(
                "Add up the negative log-probabilities of the whole text, in bits, and divide by its bytes.",
                "将整段文本的负对数概率以比特相加，除以其字节数。",
            ),
            tr(
                "It is the size to which the model would compress the text, per byte: 8 means not at all.",
                "它就是模型能把文本压缩到的程度：每字节 8 比特即毫无压缩。",
            ),
        ),
        formula=(r"\operatorname{bpb} = -\frac{1}{B \log 2} \sum_{t=1}^{T} \log p(x_t \mid x_{<t})",),
        symbols={
            "x_t": tr("token t of the text", "文本的第 t 个词元"),
            "B": tr("bytes of the text in UTF-8", "文本的 UTF-8 字节数"),
            r"\operatorname{bpb}": tr("bits per byte", "单位：比特每字节"),
        },
        inputs=BitsPerByteInputs,
        example=_bits_per_byte_example,
        pitfalls=(
            tr(
                "A Chinese character has three bytes in UTF-8: bits per byte of Chinese and English differ by nature.",
                "一个汉字在 UTF-8 中占三字节：中英文的每字节比特数本就不同。",
            ),
            tr(
                "Count the bytes of the text, not of what survives cleaning, and predict the end of each text too.",
                "数的是原文而非清洗后的字节；各文本的结尾也须预测。",
            ),
            tr(
                "Dropping unknown tokens from the sum makes a bad tokenizer look good.",
                "若略去未知词元不计，差的分词器反显得好。",
            ),
        ),
        papers=("Shannon 1951, Prediction and entropy of printed English",),
        theory=(theory.bits_per_byte,),
        practice=("zhixing.evaluation.perplexity:Scores.bits_per_byte",),
        related=("perplexity", "byte-pair-encoding"),
    )


def _bits_per_byte_example(inputs: BitsPerByteInputs) -> Iterator[Step]:
    log_probs = inputs.log_probs()
    yield Step(
        tr("bits of each token", "各词元的比特数"), -log_probs / math.log(2), r"-\log_2 p", columns=inputs.tokens
    )
    sizes = np.array([float(len(token.encode())) for token in inputs.tokens])
    yield Step(tr("bytes of each token", "各词元的字节数"), sizes, columns=inputs.tokens)
    yield Step(tr("bytes of the text", "文本的字节数"), float(sizes.sum()), "B")
    yield Step(tr("bits in all", "总比特数"), float(-log_probs.sum() / math.log(2)))
    yield Step(tr("divide", "相除"), theory.bits_per_byte(log_probs, int(sizes.sum())), r"\operatorname{bpb}")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (perplexity, bits_per_byte, *significance.TOPICS)
