"""Topics of regularisation: keeping a model from learning its examples by heart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, numbered, require_length
from zhixing.language import tr
from zhixing.theory import regularisation as theory


class DropoutInputs(Settings):
    """A vector, which of its entries survive, and how often one does not."""

    x: Vector = setting(
        (1.0, 2.0, 3.0, 4.0), "activations (at most 10)", "激活值（至多 10 个）", min_length=1, max_length=10
    )
    kept: tuple[bool, ...] = setting((True, False, True, True), "which are kept this time", "此次保留哪些")
    rate: float = setting(0.25, "chance of dropping an entry", "丢弃一项的概率", ge=0, lt=1)

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        require_length("kept", self.kept, len(self.x))
        return self


def dropout() -> Topic[DropoutInputs]:
    """Zeroing activations at random."""
    return Topic(
        name="dropout",
        family="regularisation",
        title=tr("Dropout", "随机失活（dropout）"),
        idea=(
            tr(
                "Units of a network come to rely on one another's exact values and so learn the examples by heart.",
                "网络中的单元会依赖彼此的精确取值，以致死记样本。",
            ),
            tr(
                "During training each activation is set to zero with probability p, and the others are scaled up.",
                "训练时每个激活值以概率 p 置零，其余放大。",
            ),
            tr(
                "The scaling keeps the expectation, so nothing needs to change when the model is used.",
                "放大使期望不变，故使用模型时无须任何改动。",
            ),
        ),
        formula=(r"y = \frac{m \odot x}{1 - p}", r"\operatorname{P}(m_i = 1) = 1 - p"),
        symbols={
            "x": tr("activations, any shape", "激活值，任意形状"),
            "m": tr("mask of 0 and 1, same shape as x", "由 0 与 1 组成的掩码，形状同 x"),
            "p": tr("chance of dropping, at least 0 and below 1", "丢弃概率，不小于 0 且小于 1"),
        },
        inputs=DropoutInputs,
        example=_dropout_example,
        picture=_dropout_picture,
        pitfalls=(
            tr(
                "Forgetting evaluation mode leaves the noise on: the same text then scores differently every time.",
                "忘记切到评估模式，噪声就一直在：同一文本每次得分不同。",
            ),
            tr(
                "The original paper scales at test time; mixing it with the inverted form scales twice or never.",
                "原论文在测试时缩放；与“反向”形式混用会缩放两次或一次都不缩放。",
            ),
            tr(
                "A model trained on each text once hardly overfits; dropout then only slows it.",
                "若每段文本只读一遍，模型几乎不会过拟合；此时 dropout 只会拖慢训练。",
            ),
        ),
        papers=(
            "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting, section 4",
        ),
        theory=(theory.dropout,),
        practice=("zhixing.nn.dropout:Dropout",),
        related=("weight-decay",),
    )


def _dropout_example(inputs: DropoutInputs) -> Iterator[Step]:
    x, kept = np.array(inputs.x), np.array(inputs.kept)
    names = numbered("x", len(x))
    yield Step(tr("what the mask leaves", "掩码留下的"), x * kept, r"m \odot x", columns=names)
    yield Step(tr("the scale", "放大倍数"), 1 / (1 - inputs.rate), r"\frac{1}{1 - p}")
    yield Step(tr("the output", "输出"), theory.dropout(x, kept, inputs.rate), "y", columns=names)
    mean = np.zeros(len(x))
    for flags in itertools.product((True, False), repeat=len(x)):
        mask = np.array(flags)
        chance = np.where(mask, 1 - inputs.rate, inputs.rate).prod()
        mean += chance * theory.dropout(x, mask, inputs.rate)
    says = tr(f"mean over all {2 ** len(x)} masks: x again", f"对全部 {2 ** len(x)} 种掩码取期望：仍为 x")
    yield Step(says, mean, r"\operatorname{E}[y]", columns=names)


def _dropout_picture(inputs: DropoutInputs) -> Bars:
    x = np.array(inputs.x)
    series = {"x": x, "y": theory.dropout(x, np.array(inputs.kept), inputs.rate)}
    return Bars(tr("before and after", "之前与之后"), numbered("x", len(x)), series)


class WeightDecayInputs(Settings):
    """Weights, the loss's gradient, and how strongly the weights are pulled to zero."""

    weights: Vector = setting((2.0, -1.0, 0.1), "weights", "权重", min_length=1)
    gradient: Vector = setting((0.0, 0.0, 0.0), "gradient of the loss alone", "损失本身的梯度", min_length=1)
    strength: float = setting(0.5, "strength of the pull (λ)", "惩罚强度 λ", ge=0)
    learning_rate: float = setting(0.1, "step size (η)", "学习率 η", gt=0)

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        require_length("gradient", self.gradient, len(self.weights))
        return self


def weight_decay() -> Topic[WeightDecayInputs]:
    """L1, L2 and decoupled decay."""
    return Topic(
        name="weight-decay",
        family="regularisation",
        title=tr("Weight decay: L1, L2 and decoupled", "权重衰减：L1、L2 与解耦衰减"),
        idea=(
            tr(
                "Of all weights that fit the examples, small ones tend to fit new text better.",
                "同样拟合样本，较小的权重往往更能适应新文本。",
            ),
            tr(
                "A penalty pulls every weight to zero: L2 in proportion to its size, L1 by the same amount for all.",
                "惩罚项把每个权重拉向零：L2 按其大小成比例，L1 对所有权重力度相同。",
            ),
            tr(
                "L1 makes weights exactly zero, L2 makes them small; decoupled decay shrinks them apart from the loss.",
                "L1 使权重恰为零，L2 使其变小；解耦衰减则与损失无关地收缩权重。",
            ),
        ),
        formula=(
            r"R_1 = \lambda \sum_i |\theta_i|,\quad \nabla R_1 = \lambda \operatorname{sign}(\theta)",
            r"R_2 = \frac{\lambda}{2} \sum_i \theta_i^2,\quad \nabla R_2 = \lambda \theta",
            r"\theta \leftarrow (1 - \eta \lambda)\, \theta - \eta \nabla L",
        ),
        symbols={
            r"\theta": tr("weights, any shape", "权重，任意形状"),
            r"\lambda": tr("strength, at least 0", "强度，不小于 0"),
            r"\eta": tr("learning rate", "学习率"),
            r"\nabla L": tr("gradient of the loss alone, same shape as θ", "损失本身的梯度，形状同 θ"),
        },
        inputs=WeightDecayInputs,
        example=_weight_decay_example,
        picture=_weight_decay_picture,
        pitfalls=(
            tr(
                "L2 equals decoupled decay under plain SGD only; Adam divides the pull away, hence AdamW.",
                "仅在朴素 SGD 下 L2 才等于解耦衰减；Adam 会把这份拉力除掉，故有 AdamW。",
            ),
            tr(
                "Do not decay biases and the gains of norms: nothing is gained by pulling a gain of one to zero.",
                "偏置与归一化的增益不应衰减：把等于一的增益拉向零毫无益处。",
            ),
            tr(
                "Steps on L1 jump across zero; a proximal step (soft threshold) is needed to stay there.",
                "L1 的梯度步会越过零点来回跳；要停在零须用近端步（软阈值）。",
            ),
        ),
        papers=(
            "Krogh & Hertz 1992, A simple weight decay can improve generalization, equation 4",
            "Tibshirani 1996, Regression shrinkage and selection via the lasso, equation 1",
            "Loshchilov & Hutter 2019, Decoupled weight decay regularization, section 2",
        ),
        theory=(theory.l1_penalty, theory.l1_gradient, theory.l2_penalty, theory.l2_gradient),
        practice=("zhixing.training.optimizers:Optimizer",),
        related=("dropout",),
    )


def _weight_decay_example(inputs: WeightDecayInputs) -> Iterator[Step]:
    weights, gradient, strength = np.array(inputs.weights), np.array(inputs.gradient), inputs.strength
    names, rate = numbered("θ", len(weights)), inputs.learning_rate
    yield Step(tr("L1 penalty", "L1 惩罚"), theory.l1_penalty(weights, strength), "R_1")
    yield Step(tr("L2 penalty", "L2 惩罚"), theory.l2_penalty(weights, strength), "R_2")
    l1, l2 = theory.l1_gradient(weights, strength), theory.l2_gradient(weights, strength)
    pulls = np.stack([l1, l2])
    yield Step(tr("their pulls", "各自的拉力"), pulls, r"\nabla R", ("L1", "L2"), names)
    after = np.stack([weights - rate * (gradient + l1), weights - rate * (gradient + l2)])
    yield Step(tr("weights after one step of SGD", "SGD 一步之后的权重"), after, r"\theta", ("L1", "L2"), names)
    decoupled = (1 - rate * strength) * weights - rate * gradient
    yield Step(tr("decoupled decay: equal to L2 here", "解耦衰减：此处与 L2 相等"), decoupled, r"\theta", columns=names)


def _weight_decay_picture(inputs: WeightDecayInputs) -> Lines:
    steps = np.arange(41.0)
    curves = {
        "L1": _path(inputs, theory.l1_gradient, len(steps)),
        "L2": _path(inputs, theory.l2_gradient, len(steps)),
    }
    title = tr("the first weight under the penalty alone", "仅受惩罚时的第一个权重")
    return Lines(title, steps, curves, tr("step", "步"), "θ1")


def _path(inputs: WeightDecayInputs, pull: Callable[[NDArray[Any], float], NDArray[Any]], steps: int) -> NDArray[Any]:
    weight = np.array(inputs.weights[:1])
    path = []
    for _ in range(steps):
        path.append(weight.item())
        weight = weight - inputs.learning_rate * pull(weight, inputs.strength)
    return np.array(path)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (dropout, weight_decay)
