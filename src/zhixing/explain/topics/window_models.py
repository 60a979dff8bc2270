"""Topics of models that see a fixed window: the feed-forward language model, and causal convolution with gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import convolution as theory
from zhixing.theory.networks import sigmoid, softmax, tanh

WORDS = ("the", "cat", "dog", "sat")


class FeedForwardInputs(Settings):
    """A vocabulary of a few words, their embeddings, and a network that reads the last words."""

    vocabulary: tuple[str, ...] = setting(WORDS, "all words (V)", "全部词 (V)", min_length=2)
    embeddings: Matrix = setting(
        ((1.0, 0.0), (0.0, 1.0), (0.0, 0.9), (-1.0, 0.0)), "their vectors (V, E)", "词向量 (V, E)", min_length=2
    )
    context: tuple[str, ...] = setting(("the", "cat"), "the last words (m)", "最近的词 (m)", min_length=1)
    hidden: Matrix = setting(
        ((0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (2.0, 0.0)), "H (m·E, D)", "H (m·E, D)，隐藏层", min_length=1
    )
    bias: Vector = setting((0.0, 0.0), "d (D)", "d (D)，偏置", min_length=1)
    output: Matrix = setting(
        ((-1.0, 0.0, 0.0, 2.0), (-2.0, 1.0, 1.0, 0.0)), "U (D, V)", "U (D, V)，输出层", min_length=1
    )

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        words, width, units = len(self.vocabulary), len(self.embeddings[0]), len(self.bias)
        unknown = [word for word in self.context if word not in self.vocabulary]
        listed = ", ".join(unknown)
        require(not unknown, f"context: not in the vocabulary: {listed}", f"context：词表中没有 {listed}")
        require_shape("embeddings", self.embeddings, words, width)
        require_shape("hidden", self.hidden, len(self.context) * width, units)
        require_shape("output", self.output, units, words)
        return self

    def probabilities(self, context: tuple[str, ...]) -> NDArray[Any]:
        """Of the next word, (V,)."""
        x = theory.window(self.embedded(context)[None], len(context))[0, -1:]
        output = np.array(self.output)
        direct = np.zeros((x.shape[1], output.shape[1]))
        return softmax(theory.feed_forward_scores(x, np.array(self.hidden), np.array(self.bias), output, direct))[0]

    def embedded(self, context: tuple[str, ...]) -> NDArray[Any]:
        """The vectors of the words, (m, E)."""
        return np.array(self.embeddings)[[self.vocabulary.index(word) for word in context]]


def feed_forward_language_model() -> Topic[FeedForwardInputs]:
    """Bengio's neural probabilistic language model."""
    return Topic(
        name="feed-forward-language-model",
        family="convolution",
        title=tr("Feed-forward language model", "前馈语言模型"),
        idea=(
            tr(
                "An n-gram model knows nothing of a context it has never counted; how can it learn from similar ones?",
                "n 元模型对从未数到过的上文一无所知；怎样才能从相似的上文中学到东西？",
            ),
            tr(
                "Give every word a vector, lay the last few side by side, and let a network score the next word.",
                "给每个词一个向量，把最近几个词的向量并排，由一个网络给下一词打分。",
            ),
            tr(
                "Words used alike come to have like vectors; so what one sentence teaches serves many unseen ones.",
                "用法相近的词，向量也相近；从一句学到的，便能用于许多未见过的句子。",
            ),
        ),
        formula=(
            r"x_t = [e_{t-m+1}, \ldots, e_t]",
            r"h = \tanh(d + x_t H)",
            r"p = \operatorname{softmax}(h U)",
        ),
        symbols={
            "e_t": tr("embedding of word t, (E,)", "第 t 词的嵌入，(E,)"),
            "m": tr("words seen, n - 1 of an n-gram", "所见词数，即 n 元模型的 n - 1"),
            "x_t": tr("the window, (m·E,); zeros before the text", "窗口，(m·E,)；文本之前以零计"),
            "H, d": tr("hidden layer (m·E, D) and its bias (D,)", "隐藏层 (m·E, D) 及其偏置 (D,)"),
            "U": tr("output weights, (D, V)", "输出权重，(D, V)"),
            "p": tr("probabilities of the next word, (V,)", "下一词的概率，(V,)"),
        },
        inputs=FeedForwardInputs,
        example=_feed_forward_example,
        picture=_feed_forward_picture,
        pitfalls=(
            tr(
                "Places matter: each word of the window has its own block of H. An average of the vectors would lose "
                "the order.",
                "位置有别：窗口中每个位置在 H 中各有一块。若把向量取平均，词序便丢了。",
            ),
            tr(
                "Most of the work is the output: V rows per prediction, whatever the window. That is what hierarchical "
                "and sampled softmax save.",
                "计算大半耗在输出层：无论窗口多长，每次预测都要算 V 个得分。层次或采样 softmax 所省正在于此。",
            ),
            tr(
                "What lies before the window is lost entirely; widening it adds weights in proportion, not sharing "
                "anything between places.",
                "窗口之前的内容完全丢失；加宽窗口则权重同比增加，各位置之间毫无共享。",
            ),
        ),
        papers=("Bengio, Ducharme, Vincent & Jauvin 2003, A neural probabilistic language model, section 2",),
        theory=(theory.feed_forward_scores, theory.feed_forward_scores_gradient, theory.window),
        practice=("zhixing.models.feedforward:FeedForward",),
        related=("convolution", "rnn"),
    )


def _feed_forward_example(inputs: FeedForwardInputs) -> Iterator[Step]:
    embedded, units = inputs.embedded(inputs.context), numbered("h", len(inputs.bias))
    axes = numbered("e", embedded.shape[1])
    yield Step(tr("look up the vectors of the last words", "查出最近各词的向量"), embedded, "e_t", inputs.context, axes)
    x = theory.window(embedded[None], len(embedded))[0, -1]
    says = tr("lay them side by side, the oldest first", "并排成一个向量，最早者在前")
    yield Step(says, x, "x_t", columns=numbered("x", len(x)))
    z = np.array(inputs.bias) + x @ np.array(inputs.hidden)
    yield Step(tr("one number for each hidden unit", "每个隐藏单元一个数"), z, "d + x_t H", columns=units)
    h = tanh(z)
    yield Step(tr("squashed", "压入 -1 与 1 之间"), h, r"h = \tanh(d + x_t H)", columns=units)
    yield Step(
        tr("a score for every word", "每个词一个得分"), h @ np.array(inputs.output), "h U", columns=inputs.vocabulary
    )
    p = inputs.probabilities(inputs.context)
    says = tr("probabilities of the next word", "下一词的概率")
    yield Step(says, p, r"p = \operatorname{softmax}(h U)", columns=inputs.vocabulary)
    table, learned = len(inputs.vocabulary) ** (len(inputs.context) + 1), _numbers(inputs)
    says = tr("a table of all contexts has this many entries", "若为所有上文列一张表，所需条目数")
    yield Step(says, float(table), "V^{m+1}")
    says = tr("numbers learned here; they grow with m, not to its power", "此处要学的数；随 m 线性增长，而非指数增长")
    yield Step(says, float(learned), "VE + (mE + 1) D + DV")


def _numbers(inputs: FeedForwardInputs) -> int:
    return sum(np.size(part) for part in (inputs.embeddings, inputs.hidden, inputs.bias, inputs.output))


def _feed_forward_picture(inputs: FeedForwardInputs) -> HeatMap:
    rows = [inputs.probabilities((*inputs.context[:-1], word)) for word in inputs.vocabulary]
    title = tr("the next word, were the last one another", "若末词换成另一个，下一词的概率")
    axes = tr("last word", "末词"), tr("next word", "下一词")
    return HeatMap(title, np.stack(rows), inputs.vocabulary, inputs.vocabulary, *axes)


class ConvolutionInputs(Settings):
    """A feature of each word, and two kernels: one for the value, one for the gate."""

    words: tuple[str, ...] = setting(("not", "a", "good", "film"), "words (T)", "词 (T)", min_length=1)
    x: Vector = setting((-1.0, 0.0, 2.0, 1.0), "one feature of each (T)", "各词的一个特征 (T)", min_length=1)
    value: Vector = setting((1.0, 0.5), "W, newest word first (K)", "W，最近的词在前 (K)", min_length=1)
    gate: Vector = setting((0.0, 2.0), "V, newest word first (K)", "V，最近的词在前 (K)", min_length=1)
    gate_bias: float = setting(0.0, "c", "c，门的偏置")
    layers: int = setting(4, "of the picture", "图中的层数", ge=1, le=12)

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        require_length("x", self.x, len(self.words))
        require_length("gate", self.gate, len(self.value))
        most = "value: at most 12 places, so that the picture fits", "value：至多 12 个位置，以便作图"
        require(len(self.value) <= 12, *most)
        return self


def convolution() -> Topic[ConvolutionInputs]:
    """Causal convolution with a gated linear unit."""
    return Topic(
        name="convolution",
        family="convolution",
        title=tr("Causal convolution and gates", "因果卷积与门控"),
        idea=(
            tr(
                "How can a network see a wide context without weights for every place, and compute all places at once?",
                "怎样不为每个位置单设权重，也能看见宽广的上文，并同时算出所有位置？",
            ),
            tr(
                "Slide one small kernel over the text, seeing only what lies before; let a second one decide how much "
                "passes; stack the layers.",
                "让一个小卷积核沿文本滑动，只看前文；另一个核决定放行多少；再层层相叠。",
            ),
            tr(
                "The field of view grows with each layer, gradients pass the gates unsquashed, and nothing waits for "
                "the step before.",
                "视野逐层变宽，梯度穿门而过不受压缩，且无须等待前一步。",
            ),
        ),
        formula=(
            r"a_t = \sum_{k=0}^{K-1} x_{t-k} W_k",
            r"b_t = c + \sum_{k=0}^{K-1} x_{t-k} V_k",
            r"y_t = a_t \odot \sigma(b_t)",
            r"R = 1 + L (K - 1)",
        ),
        symbols={
            "x_t": tr("input at place t, (I,); zero before the text", "第 t 处的输入，(I,)；文本之前为零"),
            "W_k, V_k": tr("kernels of value and gate at lag k, (I, O)", "滞后 k 处内容与门的卷积核，(I, O)"),
            "c": tr("bias of the gate, (O,)", "门的偏置，(O,)"),
            r"\sigma": tr("sigmoid, between 0 and 1", "sigmoid，介于 0 与 1"),
            "K": tr("words a layer sees at once", "一层同时所见的词数"),
            "L": tr("number of layers", "层数"),
            "R": tr("receptive field, words", "感受野，词"),
        },
        inputs=ConvolutionInputs,
        example=_convolution_example,
        picture=_convolution_picture,
        pitfalls=_convolution_pitfalls(),
        papers=(
            "Dauphin, Fan, Auli & Grangier 2017, Language modeling with gated convolutional networks, sections 2 and 3",
            "Kim 2014, Convolutional neural networks for sentence classification",
        ),
        theory=(
            theory.causal_convolution,
            theory.causal_convolution_gradient,
            theory.gated_linear_unit,
            theory.receptive_field,
            theory.maximum_over_time,
        ),
        practice=("zhixing.nn.convolution:GatedConvolution", "zhixing.models.convolutional:Convolutional"),
        related=("feed-forward-language-model", "rnn"),
    )


def _convolution_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "Pad on the left only: padding on both sides lets every place see the word it should predict.",
            "只在左侧补零：两侧都补，每个位置便看见了它该预测的词。",
        ),
        tr(
            "What a library calls convolution does not turn the kernel round: there the last weight is of the "
            "newest word.",
            "各库所谓卷积并不翻转卷积核：其最后一个权重对应最近的词。",
        ),
        tr(
            "A stack sees R words and not one more, but a word at the far edge is reached by a single path and "
            "counts little.",
            "多层相叠只能看见 R 个词；而最远处的词只有一条路径可达，影响甚微。",
        ),
    )


def _kernel(weights: Vector) -> NDArray[Any]:
    return np.array(weights)[:, None, None]


def _convolution_example(inputs: ConvolutionInputs) -> Iterator[Step]:
    x, words = np.array(inputs.x)[None, :, None], inputs.words
    lags = range(len(inputs.value))
    seen = np.stack([theory.shifted(x, lag).ravel() for lag in lags])
    says = tr("what each place sees: itself, and the words before", "每个位置所见：自身与前面的词")
    yield Step(says, seen, "x_{t-k}", tuple(f"k = {lag}" for lag in lags), words)
    a = theory.causal_convolution(x, _kernel(inputs.value), np.zeros(1))
    yield Step(
        tr("the value: their weighted sum", "内容：加权和"), a.ravel(), r"a_t = \sum_k x_{t-k} W_k", columns=words
    )
    b = theory.causal_convolution(x, _kernel(inputs.gate), np.array([inputs.gate_bias]))
    says = tr("the gate: another weighted sum, squashed", "门：另一加权和，压入 0 与 1 之间")
    yield Step(says, sigmoid(b).ravel(), r"\sigma(b_t)", columns=words)
    y = theory.gated_linear_unit(a, b)
    yield Step(tr("what passes", "放行的部分"), y.ravel(), r"y_t = a_t \odot \sigma(b_t)", columns=words)
    last = np.zeros_like(x)
    last[0, -1] = 1.0
    gradient = theory.causal_convolution_gradient(x, _kernel(inputs.value), last)[0]
    says = tr("how the last value moves with each word", "末位的内容随各词的变化率")
    yield Step(says, gradient.ravel(), r"\frac{\partial a_T}{\partial x_t}", columns=words)
    strongest = theory.maximum_over_time(y, np.array([len(words)])).item()
    yield Step(
        tr("for a classifier: the strongest of all places", "用于分类：各位置中最强者"), strongest, r"\max_t y_t"
    )
    field = theory.receptive_field(len(inputs.value), inputs.layers)
    says = tr(f"words that {inputs.layers} layers see", f"{inputs.layers} 层所见的词数")
    yield Step(says, float(field), "R = 1 + L (K - 1)")


def _convolution_picture(inputs: ConvolutionInputs) -> HeatMap:
    """An impulse, convolved again and again with ones: the number of ways from each word to the last place."""
    kernel, field = len(inputs.value), theory.receptive_field(len(inputs.value), inputs.layers)
    ways, rows = np.eye(1, field)[..., None], []
    for _ in range(inputs.layers):
        ways = theory.causal_convolution(ways, np.ones((kernel, 1, 1)), np.zeros(1))
        rows.append(ways.ravel() / ways.sum())
    names = tuple(tr(f"layer {layer + 1}", f"第 {layer + 1} 层") for layer in range(inputs.layers))
    title = tr("share of all paths that come from each place before", "来自此前各处的路径所占比例")
    axes = tr("layer", "层"), tr("places back", "前推位数")
    return HeatMap(title, np.stack(rows), names, tuple(str(lag) for lag in range(field)), *axes)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (feed_forward_language_model, convolution)
