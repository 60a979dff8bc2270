"""Topics of optimizers that give every parameter a rate of its own: RMSprop, Adam, AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import valley
from zhixing.explain.topics.valley import VALLEY, Array, ValleyInputs
from zhixing.language import tr
from zhixing.theory import optimizers as theory

PRACTICE = ("zhixing.training.optimizers:Optimizer",)
_SGD_RATE = 0.1


class RmspropInputs(ValleyInputs):
    """A walk with steps measured by the usual size of the gradient."""

    rate: float = setting(0.3, "learning rate η", "学习率 η", gt=0)
    decay: float = setting(0.9, "ρ: share of the old squares that is kept", "ρ：旧平方均值保留的比例", ge=0, lt=1)


class AdamInputs(ValleyInputs):
    """A walk with averages of gradients and of their squares."""

    rate: float = setting(0.3, "learning rate η", "学习率 η", gt=0)
    beta1: float = setting(0.9, "β₁: share of the old average of gradients", "β₁：梯度旧均值保留的比例", ge=0, lt=1)
    beta2: float = setting(0.999, "β₂: share of the old average of squares", "β₂：平方旧均值保留的比例", ge=0, lt=1)


class AdamwInputs(Settings):
    """Two weights that only decay moves: their gradients alternate in sign, one's are small, the other's large."""

    small: float = setting(0.1, "size of the first weight's gradients", "第一个权重的梯度大小", gt=0)
    large: float = setting(10.0, "size of the second weight's gradients", "第二个权重的梯度大小", gt=0)
    rate: float = setting(0.01, "learning rate η", "学习率 η", gt=0)
    weight_decay: float = setting(0.5, "λ: strength of the decay", "λ：衰减的强度", ge=0)
    steps: int = setting(100, "steps", "步数", ge=2, le=1000)


def _symbols() -> dict[str, str]:
    return {
        r"\theta": tr("parameters, (N,)", "参数，(N,)"),
        "g": tr("gradient of the loss at θ, (N,)", "损失在 θ 处的梯度，(N,)"),
        r"\eta": tr("learning rate, above 0", "学习率，大于 0"),
        r"\varepsilon": tr("a small number against division by zero", "防止除以零的小量"),
    }


def _sgd(parameter: Array, gradient: Array, state: Any, step: int) -> tuple[Array, Any]:
    return theory.sgd(parameter, gradient, _SGD_RATE), state


def rmsprop() -> Topic[RmspropInputs]:
    """Gradients divided by their usual size."""
    return Topic(
        name="rmsprop",
        family="optimizers",
        title="RMSprop",
        idea=(
            tr(
                "One learning rate cannot suit a steep direction and a flat one.",
                "陡的方向与平的方向无法共用一个学习率。",
            ),
            tr(
                "Divide each gradient by the root of a running mean of its squares.",
                "把每个梯度除以其平方的滑动均值的平方根。",
            ),
            tr(
                "Every parameter then moves about η a step, however large its gradients are.",
                "于是不论梯度大小，每个参数每步大约移动 η。",
            ),
        ),
        formula=(
            r"s \leftarrow \rho s + (1 - \rho) g^2",
            r"\theta \leftarrow \theta - \eta \frac{g}{\sqrt{s} + \varepsilon}",
            VALLEY,
        ),
        symbols=_symbols()
        | {
            "s": tr("running mean of the squares, (N,), zero at first", "平方的滑动均值，(N,)，初值为零"),
            r"\rho": tr("share of the old mean kept", "旧均值保留的比例"),
        },
        inputs=RmspropInputs,
        example=_rmsprop_example,
        picture=lambda inputs: valley.picture(inputs, {"RMSprop": _rmsprop(inputs), f"SGD, η = {_SGD_RATE:g}": _sgd}),
        pitfalls=(
            tr(
                "s starts at zero, so the first step is η/√(1 − ρ): three times η for ρ = 0.9. Adam corrects this.",
                "s 从零开始，故第一步长达 η/√(1 − ρ)：ρ = 0.9 时约为 η 的三倍。Adam 修正了这一点。",
            ),
            tr(
                "Near the minimum gradients shrink and so does s: the steps do not, so the rate has to fall.",
                "接近极小点时梯度变小，s 也变小，步长却不变小：必须降低学习率。",
            ),
        ),
        papers=("Tieleman & Hinton 2012, Neural networks for machine learning, lecture 6e",),
        theory=(theory.rmsprop,),
        practice=PRACTICE,
        related=("sgd", "adam"),
    )


def _rmsprop(inputs: RmspropInputs) -> valley.Update:
    def update(parameter: Array, gradient: Array, square: Any, step: int) -> tuple[Array, Array]:
        before = np.zeros_like(parameter) if square is None else square
        return theory.rmsprop(parameter, gradient, before, inputs.rate, inputs.decay)

    return update


def _rmsprop_example(inputs: RmspropInputs) -> Iterator[Step]:
    yield valley.first_slope(inputs)
    gradient = inputs.gradient(np.array(inputs.start))
    place, square = theory.rmsprop(np.array(inputs.start), gradient, np.zeros(2), inputs.rate, inputs.decay)
    says = tr("the mean of the squares, begun at zero", "平方的均值，从零开始")
    yield Step(says, square, r"s = (1 - \rho) g^2", columns=("s₁", "s₂"))
    says = tr("both directions get the same step", "两个方向得到相同的步长")
    yield Step(says, place - np.array(inputs.start), r"-\eta \frac{g}{\sqrt{s}}", columns=("Δθ₁", "Δθ₂"))
    yield from valley.journey(inputs, _rmsprop(inputs))


def adam() -> Topic[AdamInputs]:
    """Momentum, divided by the usual size, corrected for the start."""
    return Topic(
        name="adam",
        family="optimizers",
        title="Adam",
        idea=(
            tr("Can one have momentum and a rate for each parameter at once?", "能否兼得动量与逐参数的学习率？"),
            tr(
                "Keep running means of the gradients and of their squares; divide the first by the root of the second.",
                "分别维护梯度与其平方的滑动均值，用前者除以后者的平方根。",
            ),
            tr(
                "Both means start at zero and are corrected for it, so that the first steps are as long as later ones.",
                "两个均值都从零开始并作偏差修正，使最初几步与之后的步长相当。",
            ),
        ),
        formula=(
            r"m \leftarrow \beta_1 m + (1 - \beta_1) g",
            r"v \leftarrow \beta_2 v + (1 - \beta_2) g^2",
            r"\hat{m} = \frac{m}{1 - \beta_1^t}, \quad \hat{v} = \frac{v}{1 - \beta_2^t}",
            r"\theta \leftarrow \theta - \eta \frac{\hat{m}}{\sqrt{\hat{v}} + \varepsilon}",
        ),
        symbols=_symbols()
        | {
            "m": tr("running mean of gradients, (N,)", "梯度的滑动均值，(N,)"),
            "v": tr("running mean of squared gradients, (N,)", "梯度平方的滑动均值，(N,)"),
            r"\beta_1, \beta_2": tr("shares of the old means kept", "旧均值保留的比例"),
            "t": tr("step, from 1", "步数，从 1 起"),
        },
        inputs=AdamInputs,
        example=_adam_example,
        picture=lambda inputs: valley.picture(inputs, {"Adam": _adam(inputs), f"SGD, η = {_SGD_RATE:g}": _sgd}),
        pitfalls=(
            tr(
                "The step t counts from 1: counting from 0 divides zero by zero.",
                "步数 t 从 1 计起：从 0 计起会出现零除以零。",
            ),
            tr(
                "Weight decay added to the gradient is divided by √v as well and loses its meaning: see adamw.",
                "加进梯度的权重衰减也会被 √v 相除而失去原意：见 adamw。",
            ),
            tr(
                "m and v cost two more copies of the parameters in memory.",
                "m 与 v 要在内存中多存两份参数大小的数据。",
            ),
        ),
        papers=("Kingma & Ba 2015, Adam: a method for stochastic optimization, algorithm 1",),
        theory=(theory.adam,),
        practice=PRACTICE,
        related=("rmsprop", "momentum", "adamw"),
    )


def _adam(inputs: AdamInputs) -> valley.Update:
    def update(parameter: Array, gradient: Array, state: Any, step: int) -> tuple[Array, Any]:
        before = (np.zeros_like(parameter), np.zeros_like(parameter)) if state is None else state
        return theory.adam(parameter, gradient, before, step, inputs.rate, (inputs.beta1, inputs.beta2))

    return update


def _adam_example(inputs: AdamInputs) -> Iterator[Step]:
    yield valley.first_slope(inputs)
    start, columns = np.array(inputs.start), ("1", "2")
    gradient, betas = inputs.gradient(start), (inputs.beta1, inputs.beta2)
    place, (mean, square) = theory.adam(start, gradient, (np.zeros(2), np.zeros(2)), 1, inputs.rate, betas)
    says = tr("both means after one gradient: pulled towards zero", "一个梯度之后的两个均值：都偏向零")
    yield Step(says, np.array([mean, square]), "", ("m", "v"), columns)
    corrected = np.array([mean / (1 - betas[0]), square / (1 - betas[1])])
    says = tr("corrected for t = 1 they are g and g² themselves", "按 t = 1 修正后恰为 g 与 g²")
    yield Step(says, corrected, r"\hat{m},\ \hat{v}", ("m̂", "v̂"), columns)
    says = tr("so the first move is η, whatever the size of the gradient", "于是第一步的位移就是 η，与梯度大小无关")
    yield Step(says, place - start, r"-\eta \frac{\hat{m}}{\sqrt{\hat{v}}}", columns=("Δθ₁", "Δθ₂"))
    wrong = -inputs.rate * mean / (np.sqrt(square) + 1e-8)  # Adam's ε: where the valley is level, nothing moves
    says = tr("without the corrections it would have been", "若不修正，位移会是")
    yield Step(says, wrong, r"-\eta \frac{m}{\sqrt{v}}", columns=("Δθ₁", "Δθ₂"))
    yield from valley.journey(inputs, _adam(inputs))


def adamw() -> Topic[AdamwInputs]:
    """Adam with decay apart from the gradient."""
    return Topic(
        name="adamw",
        family="optimizers",
        title=tr("AdamW: decoupled weight decay", "AdamW：解耦的权重衰减"),
        idea=(
            tr(
                "Weights should shrink unless the data objects; how, when Adam rescales everything?",
                "除非数据反对，权重应当变小；可 Adam 会重新缩放一切，怎么办？",
            ),
            tr(
                "Shrink the weight directly, by 1 − ηλ, and keep the decay out of the gradient's means.",
                "直接把权重乘以 1 − ηλ，不让衰减进入梯度的均值。",
            ),
            tr(
                "Every weight then decays at the same pace, also one whose gradients are large.",
                "于是所有权重以相同的速度衰减，梯度大的也不例外。",
            ),
        ),
        formula=(
            r"\theta \leftarrow (1 - \eta \lambda) \theta",
            r"\theta \leftarrow \theta - \eta \frac{\hat{m}}{\sqrt{\hat{v}} + \varepsilon}",
        ),
        symbols=_symbols()
        | {
            r"\lambda": tr("strength of the decay, at least 0", "衰减强度，不小于 0"),
            r"\hat{m}, \hat{v}": tr("Adam's corrected means", "Adam 修正后的均值"),
        },
        inputs=AdamwInputs,
        example=_adamw_example,
        picture=_adamw_picture,
        pitfalls=(
            tr(
                "The decay per step is ηλ: when the schedule lowers η, the decay falls with it.",
                "每步的衰减为 ηλ：学习率调度降低 η 时，衰减也随之减弱。",
            ),
            tr(
                "Norms and biases are usually not decayed; forgetting that exception costs quality.",
                "归一化参数与偏置通常不衰减；忘了这个例外会损失质量。",
            ),
        ),
        papers=("Loshchilov & Hutter 2019, Decoupled weight decay regularization, algorithm 2",),
        theory=(theory.adamw, theory.decoupled_decay),
        practice=PRACTICE,
        related=("adam", "weight-decay"),
    )


def _decayed(inputs: AdamwInputs, *, decoupled: bool) -> Array:
    """Return both weights over the steps, (steps + 1, 2); coupled: λθ is added to the gradient."""
    weights, state = [np.ones(2)], (np.zeros(2), np.zeros(2))
    for step in range(1, inputs.steps + 1):
        gradient = np.array([inputs.small, inputs.large]) * (-1) ** step
        if decoupled:
            weight, state = theory.adamw(
                weights[-1], gradient, state, step, inputs.rate, weight_decay=inputs.weight_decay
            )
        else:
            pulled = gradient + inputs.weight_decay * weights[-1]
            weight, state = theory.adam(weights[-1], pulled, state, step, inputs.rate)
        weights.append(weight)
    return np.array(weights)


def _adamw_example(inputs: AdamwInputs) -> Iterator[Step]:
    columns = (tr("small gradients", "小梯度"), tr("large gradients", "大梯度"))
    factor = float(theory.decoupled_decay(np.ones(1), inputs.rate, inputs.weight_decay)[0])
    yield Step(tr("AdamW's factor on a weight, each step", "AdamW 每步对权重所乘的因子"), factor, r"1 - \eta \lambda")
    says = tr(f"after {inputs.steps} steps that alone makes of 1", f"仅此一项，{inputs.steps} 步后 1 变为")
    yield Step(says, factor**inputs.steps, r"(1 - \eta \lambda)^t")
    both = np.array([_decayed(inputs, decoupled=True)[-1], _decayed(inputs, decoupled=False)[-1]])
    says = tr(
        "two weights that began at 1, after all steps: AdamW shrinks them alike, Adam with λθ in the gradient does not",
        "两个初值为 1 的权重，走完所有步之后：AdamW 使其同等缩小，把 λθ 加进梯度的 Adam 则不然",
    )
    yield Step(says, both, "", ("AdamW", "Adam + L2"), columns)


def _adamw_picture(inputs: AdamwInputs) -> Lines:
    right, wrong = _decayed(inputs, decoupled=True), _decayed(inputs, decoupled=False)
    curves = {
        tr("AdamW, both weights", "AdamW，两个权重"): right.mean(axis=1),
        tr("Adam + L2, small gradients", "Adam + L2，小梯度"): wrong[:, 0],
        tr("Adam + L2, large gradients", "Adam + L2，大梯度"): wrong[:, 1],
    }
    title = tr("two weights that nothing but decay should move", "只应受衰减影响的两个权重")
    return Lines(title, np.arange(inputs.steps + 1.0), curves, tr("step", "步数"), "θ")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (rmsprop, adam, adamw)
