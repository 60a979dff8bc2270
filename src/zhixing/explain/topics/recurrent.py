"""Topics of recurrent networks: one state carried from token to token, and gradients carried back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import gated_recurrent, recurrent_attention
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require_shape
from zhixing.language import tr
from zhixing.theory import recurrent as theory

NO_BIAS = np.zeros(1)


class RnnInputs(Settings):
    """A few words as vectors, and the matrices of one layer."""

    words: tuple[str, ...] = setting(("the", "cat", "sat"), "words read (T)", "读入的词 (T)", min_length=1)
    x: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), "their vectors (T, I)", "词向量 (T, I)", min_length=1)
    input_weight: Matrix = setting(((1.0, 0.0), (0.0, 1.0)), "W (I, D)", "W (I, D)，输入权重", min_length=1)
    recurrent_weight: Matrix = setting(((0.0, 0.5), (-0.5, 0.0)), "U (D, D)", "U (D, D)，循环权重", min_length=1)
    bias: Vector = setting((0.0, 0.0), "b (D)", "b (D)，偏置", min_length=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        width = len(self.bias)
        require_shape("input_weight", self.input_weight, len(self.input_weight), width)
        require_shape("recurrent_weight", self.recurrent_weight, width, width)
        require_shape("x", self.x, len(self.words), len(self.input_weight))
        return self


def rnn() -> Topic[RnnInputs]:
    """Elman's network."""
    return Topic(
        name="rnn",
        family="recurrent",
        title=tr("Recurrent network (RNN)", "循环神经网络（RNN）"),
        idea=(
            tr(
                "How can a network of fixed size read a text of any length, word by word?",
                "规模固定的网络，如何逐词读完任意长的文本？",
            ),
            tr(
                "It keeps a state, and at each word computes the next state from the word and the state before.",
                "它保有一个状态，每读一词，就由该词与前一状态算出新状态。",
            ),
            tr(
                "The state is all it knows of the past: cheap at any length, but what does not fit is lost.",
                "状态便是它对过去的全部所知：文本再长，代价不变；状态容不下的，就此遗失。",
            ),
        ),
        formula=(r"h_t = \tanh(x_t W + h_{t-1} U + b)",),
        symbols={
            "x_t": tr("vector of the word at step t, (I,)", "第 t 步词的向量，(I,)"),
            "h_t": tr("state after step t, (D,); at first zeros", "第 t 步后的状态，(D,)；初始为零"),
            "W": tr("weights of the input, (I, D)", "输入权重，(I, D)"),
            "U": tr("weights of the state, (D, D)", "循环权重，(D, D)"),
            "b": tr("bias, (D,)", "偏置，(D,)"),
        },
        inputs=RnnInputs,
        example=_rnn_example,
        picture=_rnn_picture,
        pitfalls=(
            tr(
                "A batch of texts needs a state for each text; a state not reset lets one text leak into the next.",
                "批中每篇文本各有其状态；换篇时忘记清零，前文便会混入后文。",
            ),
            tr(
                "Right padding is harmless for the outputs, but the final state must be taken at each text's own end.",
                "右侧填充不影响各步输出，但末状态须取自每篇文本各自的末尾。",
            ),
            tr(
                "Steps cannot be computed in parallel: on long texts a Transformer trains faster for the same work.",
                "各步无法并行：文本较长时，同样的计算量，Transformer 训练更快。",
            ),
        ),
        papers=(
            "Elman 1990, Finding structure in time",
            "Mikolov et al. 2010, Recurrent neural network language model",
        ),
        theory=(theory.rnn, theory.rnn_cell),
        practice=("zhixing.nn.recurrent:RecurrentLayer", "zhixing.models.recurrent:Recurrent"),
        related=("back-propagation-through-time", "lstm", "gru"),
    )


def _rnn_weights(inputs: RnnInputs) -> theory.Weights:
    bias = np.array(inputs.bias)
    return theory.Weights(np.array(inputs.input_weight), np.array(inputs.recurrent_weight), bias, np.zeros_like(bias))


def _rnn_states(inputs: RnnInputs) -> NDArray[Any]:
    x = np.array(inputs.x)[:, None]
    return theory.rnn(x, np.zeros((1, len(inputs.bias))), _rnn_weights(inputs))[:, 0]


def _rnn_example(inputs: RnnInputs) -> Iterator[Step]:
    x, weights, states = np.array(inputs.x), _rnn_weights(inputs), _rnn_states(inputs)
    units = numbered("h", len(inputs.bias))
    from_words = x @ weights.input + weights.input_bias
    says = tr("what each word says, before any state", "各词自身的贡献，尚未计入状态")
    yield Step(says, from_words, "x_t W + b", inputs.words, units)
    first = inputs.words[0]
    says = tr(f"after “{first}”: the state before was zero", f"读入“{first}”后：此前状态为零")
    yield Step(says, states[0], r"h_1 = \tanh(x_1 W + b)", columns=units)
    if len(states) > 1:
        says = tr("what that state hands to the next step", "该状态传给下一步的量")
        yield Step(says, states[0] @ weights.recurrent, "h_1 U", columns=units)
        says = tr("added to the next word, and squashed", "与下一词相加，再取 tanh")
        yield Step(says, states[1], r"h_2 = \tanh(x_2 W + h_1 U + b)", columns=units)
    yield Step(tr("the state after each word", "每词之后的状态"), states, "h_t", inputs.words, units)


def _rnn_picture(inputs: RnnInputs) -> HeatMap:
    title, axis = tr("the state after each word", "每词之后的状态"), tr("word", "词")
    return HeatMap(title, _rnn_states(inputs), inputs.words, numbered("h", len(inputs.bias)), axis, tr("unit", "单元"))


class ThroughTimeInputs(Settings):
    """A network of one unit, and how far back to look."""

    x: Vector = setting((1.0, 0.0, 0.0, 0.5), "what is read at each step (T)", "各步的输入 (T)", min_length=2)
    input_weight: float = setting(1.0, "W", "W，输入权重")
    recurrent_weight: float = setting(0.9, "U", "U，循环权重")
    forget_gate: float = setting(0.99, "of the LSTM in the picture", "图中 LSTM 的遗忘门", gt=0, lt=1)
    distance: int = setting(50, "of the picture", "图中的最大距离", unit="steps", ge=2, le=1000)


def back_propagation_through_time() -> Topic[ThroughTimeInputs]:
    """Gradients along the unrolled network."""
    return Topic(
        name="back-propagation-through-time",
        family="recurrent",
        title=tr("Back-propagation through time", "随时间反向传播"),
        idea=(
            tr(
                "The same weights act at every step; how does an error at the end reach what was wrong at the start?",
                "同一组权重作用于每一步；末尾的误差如何追溯到开头的错处？",
            ),
            tr(
                "Unrolled, the network is one layer per step; the chain rule runs back through all of them, and the "
                "gradients of all steps are added.",
                "沿时间展开，每步便是一层；链式法则逐层回溯，各步的梯度相加。",
            ),
            tr(
                "Each step back multiplies by one more factor: below 1 the gradient vanishes, above 1 it explodes.",
                "每退一步便多乘一个因子：小于 1 则梯度消失，大于 1 则梯度爆炸。",
            ),
        ),
        formula=(
            r"\delta_t = \frac{\partial L}{\partial h_t} \odot (1 - h_t^2)",
            r"\frac{\partial L}{\partial h_{t-1}} = \delta_t U^\top",
            r"\frac{\partial L}{\partial U} = \sum_{t=1}^{T} h_{t-1}^\top \delta_t",
        ),
        symbols={
            "L": tr("loss, a number", "损失，一个数"),
            "h_t": tr("state after step t, (1, D)", "第 t 步后的状态，(1, D)"),
            r"\delta_t": tr("gradient before the tanh of step t, (1, D)", "第 t 步 tanh 之前的梯度，(1, D)"),
            "U": tr("weights of the state, (D, D)", "循环权重，(D, D)"),
            "T": tr("number of steps", "步数"),
        },
        inputs=ThroughTimeInputs,
        example=_through_time_example,
        picture=_through_time_picture,
        pitfalls=(
            tr(
                "Clip the norm of the gradient: clipping cures explosion, nothing at this place cures vanishing.",
                "要裁剪梯度范数：裁剪可治爆炸；至于消失，此处无药可医。",
            ),
            tr(
                "Windows truncate: nothing is learned across a boundary, though the state may be carried over it.",
                "窗口会截断：状态虽可跨界传递，跨界的依赖却学不到。",
            ),
            tr(
                "Memory grows with the window: every state is kept until its gradient has been computed.",
                "内存随窗口增长：每个状态都须保留到算完其梯度为止。",
            ),
        ),
        papers=(
            "Werbos 1990, Backpropagation through time: what it does and how to do it, section III",
            "Bengio, Simard & Frasconi 1994, Learning long-term dependencies with gradient descent is difficult",
            "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks, section 2",
        ),
        theory=(theory.rnn_gradient, theory.lstm_gradient, theory.gru_gradient),
        practice=("zhixing.nn.recurrent:RecurrentLayer",),
        related=("rnn", "lstm", "gru"),
    )


def _through_time_example(inputs: ThroughTimeInputs) -> Iterator[Step]:
    x, zero = np.array(inputs.x)[:, None, None], np.zeros((1, 1))
    weights = theory.Weights(np.array([[inputs.input_weight]]), np.array([[inputs.recurrent_weight]]), NO_BIAS, NO_BIAS)
    steps = tuple(f"t = {t + 1}" for t in range(len(x)))
    states = theory.rnn(x, zero, weights).ravel()
    yield Step(tr("forward: the states", "前向：各状态"), states, "h_t", columns=steps)
    factors = (1 - states**2) * inputs.recurrent_weight
    says = tr("each step back multiplies by this", "每退一步所乘的因子")
    yield Step(says, factors, "(1 - h_t^2) U", columns=steps)
    reaching = np.append(np.cumprod(factors[:0:-1])[::-1], 1.0)
    says = tr("the loss is the last state: its gradient at each state", "以末状态为损失：其对各状态的梯度")
    yield Step(says, reaching, r"\frac{\partial L}{\partial h_t}", columns=steps)
    before = np.append(0.0, states[:-1])
    parts = before * reaching * (1 - states**2)
    yield Step(tr("what each step wants of U", "各步对 U 的要求"), parts, columns=steps)
    only_last = np.zeros_like(x)
    only_last[-1] = 1.0
    total = theory.rnn_gradient(x, zero, weights, only_last)[2].recurrent
    yield Step(tr("added up: one gradient for the one U", "求和：同一个 U 的梯度"), float(total[0, 0]), r"\sum_t")


def _fading(gradient: NDArray[Any]) -> NDArray[Any]:
    """Decimal logarithm of the gradient's size, by distance, relative to distance 0."""
    size = np.abs(gradient.ravel()[::-1])
    return np.log10(np.maximum(size / size[0], 1e-300))


def _through_time_picture(inputs: ThroughTimeInputs) -> Lines:
    steps, zero, one = inputs.distance + 1, np.zeros((1, 1)), np.ones((1, 1))
    x, only_last = np.zeros((steps, 1, 1)), np.zeros((steps, 1, 1))
    only_last[-1] = 1.0
    curves = {}
    for u in dict.fromkeys((inputs.recurrent_weight, 1.1)):
        weights = theory.Weights(one, np.array([[u]]), NO_BIAS, NO_BIAS)
        if u:
            curves[f"RNN, U = {u:g}"] = _fading(theory.rnn_gradient(x, zero, weights, only_last)[0])
    bias = np.array([0.0, np.log(inputs.forget_gate / (1 - inputs.forget_gate)), 0.0, 0.0])
    gated = theory.Weights(np.ones((1, 4)), np.zeros((1, 4)), bias, np.zeros(4))
    curves[f"LSTM, f = {inputs.forget_gate:g}"] = _fading(theory.lstm_gradient(x, zero, zero, gated, only_last)[0])
    axes = tr("distance back, steps", "回溯距离，步"), tr("log₁₀ of the gradient's norm", "梯度范数的 log₁₀")
    return Lines(tr("how much of a gradient arrives", "梯度能传回多少"), np.arange(0.0, steps), curves, *axes)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    rnn,
    back_propagation_through_time,
    *gated_recurrent.TOPICS,
    *recurrent_attention.TOPICS,
)
