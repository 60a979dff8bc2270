"""Topics of optimizers: how a gradient becomes a step. Here the plain rules; the adaptive ones and what is done to
gradients are next door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zhixing.config import setting
from zhixing.explain.pictures import Valley
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import adaptive, gradients, valley
from zhixing.explain.topics.valley import VALLEY, Array, ValleyInputs
from zhixing.language import tr
from zhixing.theory import optimizers as theory

PRACTICE = ("zhixing.training.optimizers:Optimizer",)


class SgdInputs(ValleyInputs):
    """A walk down the valley by the plain rule."""


class MomentumInputs(ValleyInputs):
    """A walk with a velocity."""

    rate: float = setting(0.03, "learning rate η", "学习率 η", gt=0)
    decay: float = setting(0.8, "μ: share of the velocity that is kept", "μ：速度保留的比例", ge=0, lt=1)


def _symbols() -> dict[str, str]:
    return {
        r"\theta": tr("parameters, (N,)", "参数，(N,)"),
        "g": tr("gradient of the loss at θ, (N,)", "损失在 θ 处的梯度，(N,)"),
        r"\eta": tr("learning rate, above 0", "学习率，大于 0"),
        r"\kappa": tr("narrowness of the valley in the example", "算例中山谷的狭窄程度"),
    }


def sgd() -> Topic[SgdInputs]:
    """The plain rule."""
    return Topic(
        name="sgd",
        family="optimizers",
        title=tr("Stochastic gradient descent (SGD)", "随机梯度下降（SGD）"),
        idea=(
            tr("Which way is down, when only the slope underfoot is known?", "只知道脚下的坡度，往哪走才是下坡？"),
            tr(
                "Step against the gradient, by the learning rate times its length, measured on a batch of examples.",
                "逆着梯度走一步，步长为学习率乘以梯度的长度；梯度只用一批样本估计。",
            ),
            tr(
                "In a narrow valley it swings from wall to wall, since the steepest slope sets the largest safe rate.",
                "在狭谷中它会在两壁之间摆动，因为最陡的方向决定了最大的安全学习率。",
            ),
        ),
        formula=(r"\theta \leftarrow \theta - \eta g", VALLEY),
        symbols=_symbols(),
        inputs=SgdInputs,
        example=_sgd_example,
        picture=_sgd_picture,
        pitfalls=(
            tr(
                "A rate above 2/κ (here 0.2) makes every swing larger than the last: try --set rate=0.21.",
                "学习率超过 2/κ（此处为 0.2），每次摆动都比上次更大：不妨试试 --set rate=0.21。",
            ),
            tr(
                "Batches are noisy: with a constant rate SGD hovers around the minimum, it does not settle in it.",
                "小批量有噪声：学习率不变时，SGD 只在极小点附近徘徊，不会停在其中。",
            ),
        ),
        papers=("Robbins & Monro 1951, A stochastic approximation method",),
        theory=(theory.sgd,),
        practice=PRACTICE,
        related=("momentum", "gradient-clipping", "learning-rate-schedules"),
    )


def _sgd(rate: float) -> valley.Update:
    return lambda parameter, gradient, state, step: (theory.sgd(parameter, gradient, rate), state)


def _momentum(inputs: MomentumInputs, rule: Callable[..., tuple[Array, Array]] = theory.momentum) -> valley.Update:
    def update(parameter: Array, gradient: Array, velocity: Any, step: int) -> tuple[Array, Array]:
        before = np.zeros_like(parameter) if velocity is None else velocity
        return rule(parameter, gradient, before, inputs.rate, inputs.decay)

    return update


def _sgd_example(inputs: SgdInputs) -> Iterator[Step]:
    yield valley.first_slope(inputs)
    gradient = inputs.gradient(np.array(inputs.start))
    yield Step(tr("the first move", "第一步的位移"), -inputs.rate * gradient, r"-\eta g", columns=("Δθ₁", "Δθ₂"))
    factors = 1 - inputs.rate * np.array([1.0, inputs.narrowness])
    yield Step(
        tr(
            "every step multiplies θ₁ and θ₂ by these; outside −1 to 1 the walk runs away",
            "每一步使 θ₁、θ₂ 各乘以此数；若超出 −1 到 1，便会发散",
        ),
        factors,
        r"1 - \eta \cdot 1,\quad 1 - \eta \kappa",
        columns=("θ₁", "θ₂"),
    )
    yield from valley.journey(inputs, _sgd(inputs.rate))


def _sgd_picture(inputs: SgdInputs) -> Valley:
    smaller = inputs.rate / 4
    updates = {f"η = {rate:g}": _sgd(rate) for rate in (inputs.rate, smaller)}
    return valley.picture(inputs, updates)


def momentum() -> Topic[MomentumInputs]:
    """Polyak's heavy ball."""
    return Topic(
        name="momentum",
        family="optimizers",
        title=tr("Momentum", "动量法"),
        idea=(
            tr(
                "How can one hurry along a valley without being thrown from wall to wall?",
                "怎样才能沿谷底快走，又不在两壁间来回碰撞？",
            ),
            tr(
                "Keep a velocity: each gradient is added to what is left of the ones before.",
                "保留一个速度：把每个梯度加到此前梯度的余量上。",
            ),
            tr(
                "Gradients that agree add up, by up to 1/(1 − μ); those that alternate cancel.",
                "方向一致的梯度逐渐累加，至多放大 1/(1 − μ) 倍；来回反向的则相互抵消。",
            ),
        ),
        formula=(r"v \leftarrow \mu v + g", r"\theta \leftarrow \theta - \eta v", VALLEY),
        symbols=_symbols()
        | {
            "v": tr("velocity, (N,), zero at first", "速度，(N,)，初值为零"),
            r"\mu": tr("share of the velocity kept, 0 to 1", "速度保留的比例，0 到 1"),
        },
        inputs=MomentumInputs,
        example=_momentum_example,
        picture=lambda inputs: valley.picture(
            inputs, {tr("momentum", "动量法"): _momentum(inputs), "SGD": _sgd(inputs.rate)}
        ),
        pitfalls=(
            tr(
                "With μ = 0.9 the steps grow tenfold: a rate that suited SGD is then too large.",
                "μ = 0.9 时步长会增至十倍：适合 SGD 的学习率此时就太大了。",
            ),
            tr(
                "Some programs add (1 − μ)g instead of g: the same method with another meaning of the rate.",
                "有的程序加的是 (1 − μ)g 而非 g：方法相同，学习率的含义不同。",
            ),
        ),
        papers=(
            "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
            "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, section 2",
        ),
        theory=(theory.momentum,),
        practice=PRACTICE,
        related=("sgd", "nesterov", "adam"),
    )


def _momentum_example(inputs: MomentumInputs) -> Iterator[Step]:
    yield valley.first_slope(inputs)
    start = np.array(inputs.start)
    first = inputs.gradient(start)
    place, velocity = theory.momentum(start, first, np.zeros(2), inputs.rate, inputs.decay)
    says = tr("the first step is SGD's: the velocity was zero", "第一步与 SGD 相同：速度原为零")
    yield Step(says, place, r"\theta - \eta g", columns=("θ₁", "θ₂"))
    second = inputs.gradient(place)
    _, velocity = theory.momentum(place, second, velocity, inputs.rate, inputs.decay)
    says = tr("the second velocity: old gradient and new", "第二步的速度：旧梯度的余量加新梯度")
    table = np.array([inputs.decay * first, second, velocity])
    yield Step(says, table, r"v = \mu v + g", ("μv", "g", "v"), ("1", "2"))
    yield Step(
        tr("how much a steady slope is magnified in the end", "恒定坡度最终被放大的倍数"),
        1 / (1 - inputs.decay),
        r"\frac{1}{1 - \mu}",
    )
    yield from valley.journey(inputs, _momentum(inputs))


def nesterov() -> Topic[MomentumInputs]:
    """Momentum that looks ahead."""
    return Topic(
        name="nesterov",
        family="optimizers",
        title=tr("Nesterov momentum", "Nesterov 动量"),
        idea=(
            tr(
                "Momentum overshoots: it brakes only once it is up the other wall.",
                "动量法会冲过头：爬上对面谷壁才开始刹车。",
            ),
            tr(
                "Step by the gradient plus the velocity that will remain, as if the slope were felt one step ahead.",
                "按“梯度加上将要保留的速度”迈步，仿佛提前一步感知坡度。",
            ),
            tr("The swings die out sooner at no extra cost.", "摆动更快平息，且不增加计算。"),
        ),
        formula=(r"v \leftarrow \mu v + g", r"\theta \leftarrow \theta - \eta (g + \mu v)", VALLEY),
        symbols=_symbols()
        | {
            "v": tr("velocity, (N,), zero at first", "速度，(N,)，初值为零"),
            r"\mu": tr("share of the velocity kept, 0 to 1", "速度保留的比例，0 到 1"),
        },
        inputs=MomentumInputs,
        example=_nesterov_example,
        picture=lambda inputs: valley.picture(
            inputs,
            {"Nesterov": _momentum(inputs, theory.nesterov), tr("momentum", "动量法"): _momentum(inputs)},
        ),
        pitfalls=(
            tr(
                "The original takes the gradient at the place ahead; this form shifts the variables and takes it at θ.",
                "原文在前方一点求梯度；此处的形式换了变量，在 θ 处求梯度。",
            ),
            tr(
                "Its proof of faster convergence is for smooth convex losses with exact gradients, not for noisy ones.",
                "其加速收敛的证明针对光滑凸损失与精确梯度，并不适用于带噪声的梯度。",
            ),
        ),
        papers=(
            "Nesterov 1983, A method of solving a convex programming problem with convergence rate O(1/k²)",
            "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning, section 2",
        ),
        theory=(theory.nesterov,),
        practice=(),
        related=("momentum", "muon"),
    )


def _nesterov_example(inputs: MomentumInputs) -> Iterator[Step]:
    yield valley.first_slope(inputs)
    start, columns = np.array(inputs.start), ("θ₁", "θ₂")
    gradient = inputs.gradient(start)
    place, velocity = theory.nesterov(start, gradient, np.zeros(2), inputs.rate, inputs.decay)
    yield Step(tr("the velocity", "速度"), velocity, r"v = \mu \cdot 0 + g", columns=("v₁", "v₂"))
    ahead = gradient + inputs.decay * velocity
    says = tr("the direction: the gradient and what will be left of the velocity", "方向：梯度加上速度将留下的部分")
    yield Step(says, ahead, r"g + \mu v", columns=("1", "2"))
    yield Step(tr("the place after one step", "一步之后的位置"), place, r"\theta - \eta (g + \mu v)", columns=columns)
    yield from valley.journey(inputs, _momentum(inputs, theory.nesterov))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (sgd, momentum, nesterov, *adaptive.TOPICS, *gradients.TOPICS)
