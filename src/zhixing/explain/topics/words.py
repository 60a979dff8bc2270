"""Topics of word vectors: skip-gram and CBOW; and the list of all that the other files tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import co_occurrence, subwords, unigram
from zhixing.explain.topics.inputs import Matrix, numbered, require, require_shape
from zhixing.explain.topics.vocabulary_sums import DISTRIBUTED, hierarchical_softmax, negative_sampling
from zhixing.language import tr
from zhixing.theory import word_vectors as theory
from zhixing.theory.networks import sigmoid

EFFICIENT = "Mikolov, Chen, Corrado & Dean 2013, Efficient estimation of word representations in vector space"


class VectorInputs(Settings):
    """Five words with two vectors each, a text, and the words drawn as noise."""

    words: tuple[str, ...] = setting(
        ("king", "queen", "rules", "the", "fish"), "the vocabulary", "词表", min_length=2, max_length=8
    )
    inputs: Matrix = setting(
        ((1.0, 0.5), (0.8, 0.9), (0.5, -0.5), (0.1, 0.2), (-1.0, 0.3)),
        "input vectors, one row per word",
        "输入向量，每词一行",
        min_length=2,
    )
    outputs: Matrix = setting(
        ((0.6, 0.1), (0.4, 0.5), (0.9, -0.2), (0.2, 0.1), (-0.8, 0.4)),
        "output vectors, one row per word",
        "输出向量，每词一行",
    )
    text: tuple[str, ...] = setting(("the", "king", "rules"), "a text", "一段文本", min_length=2, max_length=8)
    place: int = setting(1, "position of the centre word, from 0", "中心词的位置，从 0 起", ge=0)
    window: int = setting(1, "words on either side", "两侧各取的词数", unit="words", ge=1, le=5)
    noise: tuple[str, ...] = setting(
        ("fish", "queen"), "words drawn as noise", "抽到的噪声词", min_length=1, max_length=8
    )
    learning_rate: float = setting(0.5, "size of the step", "步长", gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(len(self.inputs[0]) > 0, "inputs must have at least one number per row", "inputs 每行至少一个数")
        require_shape("inputs", self.inputs, len(self.words), len(self.inputs[0]))
        require_shape("outputs", self.outputs, len(self.words), len(self.inputs[0]))
        unknown = [word for word in (*self.text, *self.noise) if word not in self.words]
        known = ", ".join(self.words)
        require(not unknown, f"{unknown} are none of the words: {known}", f"{unknown} 不在词表之中：{known}")
        last = len(self.text) - 1
        require(self.place <= last, f"place must be 0 to {last}", f"place 须在 0 到 {last} 之间")
        return self

    def vectors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Input and output vectors (V, D)."""
        return np.array(self.inputs), np.array(self.outputs)

    def ids(self, words: tuple[str, ...]) -> NDArray[np.int64]:
        """The words as numbers."""
        return np.array([self.words.index(word) for word in words])

    def centre(self) -> int:
        """The centre word as a number."""
        return self.words.index(self.text[self.place])

    def context(self) -> tuple[str, ...]:
        """The words around the centre."""
        begin = max(0, self.place - self.window)
        return self.text[begin : self.place] + self.text[self.place + 1 : self.place + 1 + self.window]


def _symbols(*more: tuple[str, str]) -> dict[str, str]:
    return {
        "v_w": tr("input vector of word w, the one that is kept; (D,)", "词 w 的输入向量，最终所用者；(D,)"),
        "u_w": tr("output vector of word w, as what is predicted; (D,)", "词 w 作为预测目标时的输出向量；(D,)"),
        **dict(more),
    }


def _noise_symbols() -> tuple[tuple[str, str], ...]:
    return (
        ("w_k, K", tr("words drawn as noise, and how many", "抽到的噪声词及其个数")),
        (r"\sigma", tr("the sigmoid, 1 / (1 + exp(-x))", "sigmoid 函数，1 / (1 + exp(-x))")),
    )


def skip_gram() -> Topic[VectorInputs]:
    """The centre word predicts each neighbour."""
    return Topic(
        name="skip-gram",
        family="words",
        title="Skip-gram",
        idea=(
            tr("What does a word mean? Look at the words around it.", "词的意义何在？看它周围的词。"),
            tr(
                "Give every word a vector and let it predict each of its neighbours, one at a time.",
                "给每个词一个向量，令其逐个预测左右邻词。",
            ),
            tr(
                "Words that keep the same company end up with similar vectors.",
                "常与相同的词为邻者，向量也就相近。",
            ),
        ),
        formula=(
            r"J = -\frac{1}{T} \sum_{t=1}^{T} \sum_{0 < |j| \le c} \log p(w_{t+j} \mid w_t)",
            r"-\log p(o \mid w) \approx -\log \sigma(u_o^\top v_w) - \sum_{k=1}^{K} \log \sigma(-u_{w_k}^\top v_w)",
        ),
        symbols=_symbols(("c", tr("window: words on either side", "窗口：两侧各取的词数")), *_noise_symbols()),
        inputs=VectorInputs,
        example=_skip_gram_example,
        picture=lambda inputs: _scores_picture(inputs, inputs.vectors()[0][inputs.centre()]),
        pitfalls=(
            tr(
                "There are two vectors per word; with one, a word would have to predict itself as its own neighbour.",
                "每词有两个向量；若只有一个，词就会以自己为最可能的邻词。",
            ),
            tr(
                "The programs draw the window's width anew for each word, so that near words count more.",
                "各实现对每个词随机缩小窗口，使近邻的分量更大。",
            ),
            tr(
                "One vector per word, whatever it means: 'bank' of a river and of money are one point.",
                "一词一向量，不论词义：河岸之 bank 与银行之 bank 同为一点。",
            ),
        ),
        papers=(f"{DISTRIBUTED}, section 2", f"{EFFICIENT}, section 3.2"),
        theory=(theory.window_pairs, theory.skip_gram_loss, theory.skip_gram_gradient),
        practice=(
            "zhixing.models.word_vector_kernels:skip_gram_place",
            "zhixing.pretraining.word_vector_learner:TextLearner",
        ),
        related=("cbow", "negative-sampling", "hierarchical-softmax", "fasttext"),
    )


def _skip_gram_example(inputs: VectorInputs) -> Iterator[Step]:
    (kept, outputs), centre = inputs.vectors(), inputs.centre()
    ids = inputs.ids(inputs.text)
    pairs = [pair for pair in theory.window_pairs(ids.tolist(), inputs.window) if pair[0] == centre]
    shown = ", ".join(f"({inputs.words[a]}, {inputs.words[b]})" for a, b in dict.fromkeys(pairs))
    yield Step(tr("the centre word with its neighbours", "中心词与各邻词"), shown, "(w_t, w_{t+j})")
    context, noise = pairs[0][1], inputs.ids(inputs.noise)
    drawn = (inputs.words[context], *inputs.noise)
    scores = np.array([outputs[word] @ kept[centre] for word in (context, *noise)])
    yield Step(
        tr("scores: the first neighbour, then the noise", "得分：先是首个邻词，再是噪声词"),
        scores,
        "u^\\top v",
        columns=drawn,
    )
    loss = theory.skip_gram_loss(kept, outputs, centre, context, noise)
    yield Step(tr("the loss of this pair", "此词对的损失"), loss, r"-\log p(o \mid w)")
    of_inputs, of_outputs = theory.skip_gram_gradient(kept, outputs, centre, context, noise)
    axes = numbered("d", kept.shape[1])
    yield Step(
        tr("gradient of the centre word's vector", "中心词向量的梯度"), of_inputs[centre], r"\partial v_w", columns=axes
    )
    yield Step(
        tr("gradients of the output vectors", "输出向量的梯度"),
        of_outputs,
        r"\partial u",
        rows=inputs.words,
        columns=axes,
    )
    rate = inputs.learning_rate
    after = theory.skip_gram_loss(kept - rate * of_inputs, outputs - rate * of_outputs, centre, context, noise)
    yield Step(tr("the loss after one step", "走一步之后的损失"), after, r"-\log p(o \mid w)")


def _scores_picture(inputs: VectorInputs, hidden: NDArray[np.float64]) -> Bars:
    title = tr("how well each word fits here", "各词与此处的契合度")
    fit = sigmoid(inputs.vectors()[1] @ hidden)
    return Bars(title, inputs.words, {tr("sigmoid of the score", "得分的 sigmoid"): fit}, "σ")


def cbow() -> Topic[VectorInputs]:
    """The neighbours together predict the centre word."""
    return Topic(
        name="cbow",
        family="words",
        title=tr("CBOW: continuous bag of words", "CBOW：连续词袋"),
        idea=(
            tr("Which word belongs in the gap?", "空缺处该填哪个词？"),
            tr(
                "Average the vectors of the words around it and let the mean predict the word in the middle.",
                "将周围各词的向量取平均，由此预测中间的词。",
            ),
            tr(
                "One prediction per place instead of one per neighbour: faster than skip-gram, weaker on rare words.",
                "每处只预测一次，而非每邻词一次：快于 skip-gram，但于罕见词稍逊。",
            ),
        ),
        formula=(
            r"h = \frac{1}{C} \sum_{0 < |j| \le c} v_{w_{t+j}}",
            r"L = -\log \sigma(u_{w_t}^\top h) - \sum_{k=1}^{K} \log \sigma(-u_{w_k}^\top h)",
            r"\frac{\partial L}{\partial v_{w_{t+j}}} = \frac{1}{C} \frac{\partial L}{\partial h}",
        ),
        symbols=_symbols(
            ("h", tr("mean of the neighbours' input vectors; (D,)", "邻词输入向量的平均；(D,)")),
            ("c, C", tr("window on either side; neighbours there are", "单侧窗口；实有邻词数")),
            *_noise_symbols(),
        ),
        inputs=VectorInputs,
        example=_cbow_example,
        picture=lambda inputs: _scores_picture(inputs, inputs.vectors()[0][inputs.ids(inputs.context())].mean(axis=0)),
        pitfalls=(
            tr(
                "The mean's gradient is divided by C; the first program gave each neighbour all of it, a larger step.",
                "平均的梯度须除以 C。最初的程序却把整份梯度给了每个邻词：步长因此不同。",
            ),
            tr(
                "Order inside the window is lost: 'dog bites man' and 'man bites dog' are one bag.",
                "窗口内的词序丢失：“狗咬人”与“人咬狗”是同一个袋子。",
            ),
        ),
        papers=(f"{EFFICIENT}, section 3.1",),
        theory=(theory.cbow_loss, theory.cbow_gradient),
        practice=("zhixing.models.word_vector_kernels:cbow_place",),
        related=("skip-gram", "negative-sampling"),
    )


def _cbow_example(inputs: VectorInputs) -> Iterator[Step]:
    (kept, outputs), centre = inputs.vectors(), inputs.centre()
    context, noise = inputs.ids(inputs.context()), inputs.ids(inputs.noise)
    axes = numbered("d", kept.shape[1])
    rows = tuple(f"{index + 1} {word}" for index, word in enumerate(inputs.context()))
    yield Step(tr("vectors of the neighbours", "邻词的向量"), kept[context], "v_{w_{t+j}}", rows=rows, columns=axes)
    hidden = kept[context].mean(axis=0)
    yield Step(tr("their mean", "取平均"), hidden, "h", columns=axes)
    scores = np.array([outputs[word] @ hidden for word in (centre, *noise)])
    drawn = (inputs.words[centre], *inputs.noise)
    yield Step(
        tr("scores: the centre word, then the noise", "得分：先是中心词，再是噪声词"),
        scores,
        r"u^\top h",
        columns=drawn,
    )
    yield Step(tr("the loss", "损失"), theory.cbow_loss(kept, outputs, context, centre, noise), "L")
    of_inputs, of_outputs = theory.cbow_gradient(kept, outputs, context, centre, noise)
    yield Step(
        tr("gradients of the input vectors", "输入向量的梯度"),
        of_inputs,
        r"\partial v",
        rows=inputs.words,
        columns=axes,
    )
    rate = inputs.learning_rate
    after = theory.cbow_loss(kept - rate * of_inputs, outputs - rate * of_outputs, context, centre, noise)
    yield Step(tr("the loss after one step", "走一步之后的损失"), after, "L")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    skip_gram,
    cbow,
    negative_sampling,
    hierarchical_softmax,
    *co_occurrence.TOPICS,
    *subwords.TOPICS,
    *unigram.TOPICS,
)
