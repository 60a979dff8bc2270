"""Topics of gated recurrent cells: LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, require_length
from zhixing.language import tr
from zhixing.theory import recurrent as theory
from zhixing.theory.networks import sigmoid, tanh

PRACTICE = ("zhixing.nn.recurrent:RecurrentLayer", "zhixing.models.recurrent:Recurrent")


class LstmInputs(Settings):
    """One cell of width 1: a number at each step, four gates with two weights and a bias each."""

    x: Vector = setting((1.0, 0.0, 0.0, 0.0), "what is read at each step (T)", "各步的输入 (T)", min_length=1)
    input_weight: Vector = setting((8.0, 0.0, 2.0, 0.0), "W of the gates i, f, g, o", "门 i、f、g、o 的 W")
    recurrent_weight: Vector = setting((0.0, 0.0, 0.0, 0.0), "U of the gates i, f, g, o", "门 i、f、g、o 的 U")
    bias: Vector = setting((-4.0, 3.0, 0.0, 0.0), "b of the gates i, f, g, o", "门 i、f、g、o 的 b")

    @model_validator(mode="after")
    def _four_gates(self) -> Self:
        for name in ("input_weight", "recurrent_weight", "bias"):
            require_length(name, getattr(self, name), 4)
        return self


def lstm() -> Topic[LstmInputs]:
    """Long short-term memory."""
    return Topic(
        name="lstm",
        family="recurrent",
        title=tr("Long short-term memory (LSTM)", "长短期记忆网络（LSTM）"),
        idea=(
            tr(
                "How can a network keep something in mind over hundreds of steps, without re-making it at each?",
                "网络如何把一件事记住数百步，而不必学会在每一步重新生成它？",
            ),
            tr(
                "A memory is only scaled and added to; gates between 0 and 1 decide what is forgotten, written, shown.",
                "记忆只作缩放与相加；取值在 0 与 1 之间的门决定遗忘多少、写入多少、示出多少。",
            ),
            tr(
                "With the forget gate near 1 the memory stays, and so does the gradient on its way back.",
                "遗忘门接近 1 时，记忆得以保持，梯度回传时亦然。",
            ),
        ),
        formula=(
            r"i, f, o = \sigma(x_t W_{ifo} + h_{t-1} U_{ifo} + b_{ifo})",
            r"g = \tanh(x_t W_g + h_{t-1} U_g + b_g)",
            r"m_t = f \odot m_{t-1} + i \odot g",
            r"h_t = o \odot \tanh(m_t)",
        ),
        symbols={
            "i, f, o": tr(
                "input, forget and output gate, (D,) each, in (0, 1)", "输入门、遗忘门、输出门，各 (D,)，在 (0, 1) 内"
            ),
            "g": tr("candidate: what might be written, (D,)", "候选值：可能写入的内容，(D,)"),
            "m_t": tr("memory (cell state), (D,)", "记忆（细胞状态），(D,)"),
            "h_t": tr("state shown to the outside, (D,)", "对外示出的状态，(D,)"),
            r"\odot": tr("product entry by entry", "逐元素相乘"),
        },
        inputs=LstmInputs,
        example=_lstm_example,
        picture=_lstm_picture,
        pitfalls=_lstm_pitfalls(),
        papers=(
            "Hochreiter & Schmidhuber 1997, Long short-term memory, section 4",
            "Gers, Schmidhuber & Cummins 2000, Learning to forget, section 3.1",
        ),
        theory=(theory.lstm_cell, theory.lstm, theory.lstm_cell_gradient),
        practice=PRACTICE,
        related=("gru", "rnn", "back-propagation-through-time"),
    )


def _lstm_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "Start the forget gate's bias at 1 or more: at 0, half of the memory is lost at every step.",
            "遗忘门偏置的初值应取 1 或更大：若为 0，每步便丢掉一半记忆。",
        ),
        tr(
            "Libraries order the gates differently (i, f, g, o here and in PyTorch; i, f, o, g elsewhere): "
            "exchanging weights in the wrong order raises no error.",
            "各库的门序不同（此处与 PyTorch 为 i、f、g、o，他处有 i、f、o、g）：门序弄错，交换权重时并不报错。",
        ),
        tr(
            "The 1997 cell had no forget gate, and its memory could only grow; the one in use is that of 2000.",
            "1997 年的单元没有遗忘门，记忆只增不减；如今通用的是 2000 年的版本。",
        ),
    )


def _scalar(inputs: LstmInputs | GruInputs) -> theory.Weights:
    w, u, b = (np.array(part) for part in (inputs.input_weight, inputs.recurrent_weight, inputs.bias))
    return theory.Weights(w[None], u[None], b, np.zeros_like(b))


def _lstm_run(inputs: LstmInputs) -> NDArray[Any]:
    """Memory and state after each step: (2, T)."""
    x, zero = np.array(inputs.x)[:, None, None], np.zeros((1, 1))
    states, memories = theory.lstm(x, zero, zero, _scalar(inputs))
    return np.stack([memories.ravel(), states.ravel()])


def _lstm_example(inputs: LstmInputs) -> Iterator[Step]:
    before = inputs.x[0] * np.array(inputs.input_weight) + np.array(inputs.bias)
    names = ("i", "f", "g", "o")
    says = tr("step 1, state and memory are 0: before the gates", "第 1 步，状态与记忆皆为 0：门控之前的值")
    yield Step(says, before, "x_1 W + b", columns=names)
    gates = np.where(np.arange(4) == 2, tanh(before), sigmoid(before))
    yield Step(tr("sigmoid for the gates, tanh for the candidate", "门取 sigmoid，候选值取 tanh"), gates, columns=names)
    memories, states = _lstm_run(inputs)
    says = tr("the memory: what was kept, plus what is written", "记忆：保留的加上写入的")
    yield Step(says, float(memories[0]), r"m_1 = f \cdot 0 + i \cdot g")
    yield Step(tr("the state shows part of it", "状态示出其中一部分"), float(states[0]), r"h_1 = o \tanh(m_1)")
    steps = tuple(f"t = {t + 1}" for t in range(len(inputs.x)))
    says = tr("the same at every step", "此后每步照此")
    yield Step(says, np.stack([memories, states]), rows=("m", "h"), columns=steps)


def _lstm_picture(inputs: LstmInputs) -> Lines:
    memories, states = _lstm_run(inputs)
    curves = {"x": np.array(inputs.x), tr("memory m", "记忆 m"): memories, tr("state h", "状态 h"): states}
    title = tr("what is read, remembered and shown", "读入、记住与示出")
    return Lines(title, np.arange(1.0, len(inputs.x) + 1), curves, tr("step", "步"))


class GruInputs(Settings):
    """One cell of width 1: a number at each step, two gates and a candidate."""

    x: Vector = setting((1.0, 0.0, 0.0, -1.0), "what is read at each step (T)", "各步的输入 (T)", min_length=1)
    input_weight: Vector = setting((0.0, -4.0, 2.0), "W of r, z, n", "r、z、n 的 W")
    recurrent_weight: Vector = setting((0.0, 0.0, 0.5), "U of r, z, n", "r、z、n 的 U")
    bias: Vector = setting((0.0, 2.0, 0.0), "b of r, z, n", "r、z、n 的 b")

    @model_validator(mode="after")
    def _three_gates(self) -> Self:
        for name in ("input_weight", "recurrent_weight", "bias"):
            require_length(name, getattr(self, name), 3)
        return self


def gru() -> Topic[GruInputs]:
    """The gated recurrent unit."""
    return Topic(
        name="gru",
        family="recurrent",
        title=tr("Gated recurrent unit (GRU)", "门控循环单元（GRU）"),
        idea=(
            tr(
                "Can a cell remember as an LSTM does with fewer parts?",
                "能否用更少的部件，做到 LSTM 那样的记忆？",
            ),
            tr(
                "State and memory are one; an update gate slides between keeping it and taking a new candidate.",
                "状态与记忆合二为一；更新门在保留旧值与采用候选值之间取舍。",
            ),
            tr(
                "Three matrices instead of four, no separate memory, and often the same quality.",
                "矩阵由四个减为三个，不另设记忆，而效果常不相上下。",
            ),
        ),
        formula=(
            r"r = \sigma(x_t W_r + h_{t-1} U_r + b_r)",
            r"z = \sigma(x_t W_z + h_{t-1} U_z + b_z)",
            r"n = \tanh(x_t W_n + b_n + r \odot (h_{t-1} U_n + c_n))",
            r"h_t = z \odot h_{t-1} + (1 - z) \odot n",
        ),
        symbols={
            "r": tr("reset gate: how much of the past the candidate sees, (D,)", "重置门：候选值看见多少过去，(D,)"),
            "z": tr("update gate: how much of the state stays, (D,)", "更新门：保留多少旧状态，(D,)"),
            "n": tr("candidate, (D,)", "候选值，(D,)"),
            "h_t": tr("state, (D,)", "状态，(D,)"),
            "c_n": tr("second bias of the candidate, (D,); 0 here", "候选值的另一偏置，(D,)；此处为 0"),
        },
        inputs=GruInputs,
        example=_gru_example,
        picture=_gru_picture,
        pitfalls=(
            tr(
                "The paper multiplies the state by r before the matrix, fused kernels after it: not the same network.",
                "论文先以 r 乘状态再过矩阵，各融合核则先过矩阵再乘 r：两者并非同一网络。",
            ),
            tr(
                "Texts differ on whether z keeps or replaces: check the last line before reading a gate.",
                "z 表示保留还是替换，各文献不一：解读门值之前，先看末式。",
            ),
            tr(
                "Two biases are needed only in the candidate; in the gates only their sum matters.",
                "仅候选值需要两个偏置；在门中，起作用的只是二者之和。",
            ),
        ),
        papers=(
            "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, equations 5-8",
            "Chung et al. 2014, Empirical evaluation of gated recurrent neural networks, section 3.2",
        ),
        theory=(theory.gru_cell, theory.gru, theory.gru_cell_gradient),
        practice=PRACTICE,
        related=("lstm", "rnn", "encoder-decoder"),
    )


def _gru_states(inputs: GruInputs) -> NDArray[Any]:
    return theory.gru(np.array(inputs.x)[:, None, None], np.zeros((1, 1)), _scalar(inputs)).ravel()


def _gru_example(inputs: GruInputs) -> Iterator[Step]:
    states = _gru_states(inputs)
    before = inputs.x[0] * np.array(inputs.input_weight) + np.array(inputs.bias)
    names = ("r", "z", "n")
    yield Step(tr("step 1, the state is 0: before the gates", "第 1 步，状态为 0：门控之前的值"), before, columns=names)
    gates = np.where(np.arange(3) == 2, tanh(before), sigmoid(before))
    says = tr("sigmoid for the gates, tanh for the candidate", "门取 sigmoid，候选值取 tanh")
    yield Step(says, gates, columns=names)
    says = tr("slide from the state 0 towards the candidate", "由状态 0 移向候选值")
    yield Step(says, float(states[0]), r"h_1 = z \cdot 0 + (1 - z) n")
    steps = tuple(f"t = {t + 1}" for t in range(len(states)))
    yield Step(tr("the state after each step", "每步之后的状态"), states, "h_t", columns=steps)


def _gru_picture(inputs: GruInputs) -> Lines:
    states = _gru_states(inputs)
    curves = {"x": np.array(inputs.x), tr("state h", "状态 h"): states}
    return Lines(tr("what is read and kept", "读入与保留"), np.arange(1.0, len(states) + 1), curves, tr("step", "步"))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (lstm, gru)
