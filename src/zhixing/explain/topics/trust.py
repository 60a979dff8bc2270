"""Topics of trust: differential privacy, integrated gradients, attention rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, require, require_distribution, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import trust as theory
from zhixing.theory.networks import sigmoid, sigmoid_derivative

Array = NDArray[np.float64]
ORDERS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Enough of them for a curve."""
SHOWN = (2, 3, 4, 5, 6, 7, 8)
"""Few enough for a table."""


class DifferentialPrivacyInputs(Settings):
    """How a model is trained with noise."""

    rate: float = setting(0.01, "chance that a record takes part in a step", "一条记录参与某步的概率", gt=0, le=1)
    sigma: float = setting(1.0, "noise, in units of the clipping length", "噪声，以裁剪长度为单位", gt=0)
    steps: int = setting(1000, "steps of training", "训练步数", ge=1)
    delta: float = setting(1e-5, "chance that the promise fails", "承诺失效的概率", gt=0, lt=1)


def differential_privacy() -> Topic[DifferentialPrivacyInputs]:
    """The Gaussian mechanism and its accountant."""
    return Topic(
        name="differential-privacy",
        family="trust",
        title=tr("Differential privacy", "差分隐私"),
        idea=(
            tr(
                "Can anyone tell from a model whether your text was in its training data?",
                "能否从模型看出你的文本是否在训练数据之中？",
            ),
            tr(
                "Clip every record's gradient to one length, sum them, and add Gaussian noise of that length's order.",
                "将每条记录的梯度裁剪到同一长度，求和，再加上相应大小的高斯噪声。",
            ),
            tr(
                "Then your presence makes no outcome more than exp(ε) times likelier; an accountant adds the steps up.",
                "于是任一结果的概率因你在场而至多增大 e 的 ε 次方倍；会计方法累计各步。",
            ),
        ),
        formula=(
            r"\Pr[M(D) \in S] \le e^{\varepsilon} \Pr[M(D') \in S] + \delta",
            r"\varepsilon(\alpha) = \frac{1}{\alpha-1} \log \sum_{k=0}^{\alpha} b_k \exp(\frac{k(k-1)}{2\sigma^2})",
            r"b_k = \binom{\alpha}{k} (1 - q)^{\alpha - k} q^k",
            r"\varepsilon = \min_{\alpha} \left(T \varepsilon(\alpha) + \frac{\log(1/\delta)}{\alpha - 1}\right)",
        ),
        symbols={
            r"\varepsilon": tr("privacy loss, nats: smaller is safer", "隐私损失，单位奈特：越小越安全"),
            r"\delta": tr("chance that the bound fails; below 1 / records", "界失效的概率；应小于 1/记录数"),
            "q": tr("sampling rate", "采样率"),
            r"\sigma": tr("noise in units of the clipping length", "以裁剪长度为单位的噪声"),
            r"\alpha": tr("order of the Rényi divergence", "Rényi 散度的阶"),
            "b_k": tr("chance that k of α copies are drawn", "α 份中抽中 k 份的概率"),
            "T": tr("steps", "步数"),
        },
        inputs=DifferentialPrivacyInputs,
        example=_differential_privacy_example,
        picture=_differential_privacy_picture,
        pitfalls=_differential_privacy_pitfalls(),
        papers=(
            "Dwork & Roth 2014, The algorithmic foundations of differential privacy, theorem A.1",
            "Mironov, Talwar & Zhang 2019, Rényi differential privacy of the sampled Gaussian mechanism, section 3.3",
            "Abadi et al. 2016, Deep learning with differential privacy",
        ),
        theory=(
            theory.private_training_epsilon,
            theory.sampled_gaussian_rdp,
            theory.gaussian_rdp,
            theory.rdp_to_epsilon,
            theory.gaussian_mechanism_sigma,
            theory.clip_record,
        ),
        related=("gradient-clipping",),
    )


def _differential_privacy_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "Records must be clipped one by one: clipping the sum of a batch bounds nobody's contribution.",
            "须逐条裁剪：裁剪整批之和并不能限制任何一条的贡献。",
        ),
        tr(
            "The accountant assumes that every record is drawn on its own; shuffled batches are not covered by it.",
            "会计方法假定各记录独立抽取；打乱后顺序取批不在其保证之内。",
        ),
        tr(
            "A record is what is bounded: to a person who wrote a hundred of them the promise is far weaker.",
            "受保护的是一条记录：若某人写了一百条，对其本人的保证便弱得多。",
        ),
    )


def _differential_privacy_example(inputs: DifferentialPrivacyInputs) -> Iterator[Step]:
    names = [f"α = {order}" for order in SHOWN]
    one = np.array([theory.sampled_gaussian_rdp(order, inputs.rate, inputs.sigma) for order in SHOWN])
    yield Step(
        tr("one step's divergence at several orders", "单步在若干阶上的散度"),
        one,
        r"\varepsilon(\alpha)",
        columns=names,
    )
    total = inputs.steps * one
    yield Step(tr("all steps: they add up", "所有步：逐步相加"), total, r"T \varepsilon(\alpha)", columns=names)
    pairs = zip(total.tolist(), SHOWN, strict=True)
    each = np.array([theory.rdp_to_epsilon(rdp, order, inputs.delta) for rdp, order in pairs])
    yield Step(tr("turned into a bound that fails with chance δ", "换算为以概率 δ 失效的界"), each, columns=names)
    epsilon = theory.private_training_epsilon(inputs.rate, inputs.sigma, inputs.steps, inputs.delta)
    yield Step(tr("the best of all orders from 2 to 64", "2 到 64 阶中的最优者"), epsilon, r"\varepsilon")
    factor = float(np.exp(epsilon))
    yield Step(
        tr("so no outcome gets likelier than times", "故任一结果的概率至多增大到倍数"), factor, r"e^{\varepsilon}"
    )


def _differential_privacy_picture(inputs: DifferentialPrivacyInputs) -> Lines:
    steps = np.unique(np.linspace(1, inputs.steps, 40).astype(np.int64))
    curves = {}
    for sigma in dict.fromkeys((0.7 * inputs.sigma, inputs.sigma, 2.0 * inputs.sigma)):
        spent = [theory.private_training_epsilon(inputs.rate, sigma, int(n), inputs.delta, ORDERS) for n in steps]
        curves[f"σ = {sigma:g}"] = np.array(spent)
    title = tr("privacy spent as training goes on", "隐私随训练的消耗")
    return Lines(title, steps.astype(np.float64), curves, tr("steps", "步数"), "ε")


class IntegratedGradientsInputs(Settings):
    """A logistic model of a few features, an input and what it is compared with."""

    features: tuple[str, ...] = setting(("good", "film", "not"), "names of the features", "特征名", min_length=1)
    weights: Vector = setting((4.0, 0.5, -3.0), "their weights", "权重")
    x: Vector = setting((1.0, 1.0, 0.5), "the input explained", "所解释的输入")
    baseline: Vector = setting((0.0, 0.0, 0.0), "the input that says nothing", "不含信息的基线输入")
    steps: int = setting(20, "points on the way", "路径上的点数", ge=1, le=1000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("weights", "x", "baseline"):
            require_length(name, getattr(self, name), len(self.features))
        return self


def integrated_gradients() -> Topic[IntegratedGradientsInputs]:
    """Integrated gradients."""
    return Topic(
        name="integrated-gradients",
        family="trust",
        title=tr("Integrated gradients", "积分梯度"),
        idea=(
            tr("Which words made the model say so?", "是哪些词让模型得出这个结论？"),
            tr(
                "The gradient at the input is misleading: where the model is sure, it is flat.",
                "输入处的梯度会误导：模型确信之处，梯度趋平。",
            ),
            tr(
                "So average the gradient along the way from an empty input; the shares sum to the output's change.",
                "故沿从空输入到该输入的直线对梯度取平均；各份额之和恰为输出的变化。",
            ),
        ),
        formula=(
            r"a_i = (x_i - x'_i) \int_0^1 \frac{\partial f}{\partial x_i}(x' + t (x - x')) \, dt",
            r"\sum_i a_i = f(x) - f(x')",
        ),
        symbols={
            "f": tr("the model's output, one number", "模型输出，一个数"),
            "x": tr("the input, (D,)", "输入，(D,)"),
            "x'": tr("the baseline, (D,)", "基线，(D,)"),
            "a_i": tr("attribution to feature i, in units of f", "特征 i 的归因，单位同 f"),
        },
        inputs=IntegratedGradientsInputs,
        example=_integrated_gradients_example,
        picture=_integrated_gradients_picture,
        pitfalls=(
            tr(
                "The baseline decides the answer: a black image explains nothing that is black. State it.",
                "基线决定答案：以黑图为基线，黑色部分永远得不到解释。须注明。",
            ),
            tr(
                "Check that the shares sum to the output's change; if they do not, take more points.",
                "检查份额之和是否等于输出变化；不等则增加点数。",
            ),
            tr(
                "It says what the model used, not what is true, and nothing of how features act together.",
                "它说明模型用了什么，而非事实如何，也不说明特征间的相互作用。",
            ),
        ),
        papers=("Sundararajan, Taly & Yan 2017, Axiomatic attribution for deep networks, section 3",),
        theory=(theory.integrated_gradients,),
        related=("attention-rollout", "back-propagation"),
    )


def _logistic(inputs: IntegratedGradientsInputs) -> tuple[Callable[[Array], float], Callable[[Array], Array]]:
    w = np.array(inputs.weights)
    return lambda v: float(sigmoid(w @ v)), lambda v: sigmoid_derivative(w @ v) * w


def _integrated_gradients_example(inputs: IntegratedGradientsInputs) -> Iterator[Step]:
    f, gradient = _logistic(inputs)
    x, baseline = np.array(inputs.x), np.array(inputs.baseline)
    outputs = np.array([f(baseline), f(x)])
    yield Step(
        tr("the model's output before and after", "模型在基线与输入处的输出"), outputs, columns=("f(x')", "f(x)")
    )
    plain = gradient(x) * (x - baseline)
    yield Step(tr("gradient at the input times the change", "输入处梯度乘以变化量"), plain, columns=inputs.features)
    says = tr("it misses most of the output's change: its sum", "它漏掉了大部分输出变化，其和为")
    yield Step(says, float(plain.sum()))
    found = theory.integrated_gradients(gradient, x, baseline, inputs.steps)
    yield Step(tr("gradient averaged along the way", "沿途平均梯度所得归因"), found, "a_i", columns=inputs.features)
    both = np.array([found.sum(), f(x) - f(baseline)])
    says = tr("their sum, and the output's change", "归因之和与输出变化")
    yield Step(says, both, columns=(r"Σ a", "f(x) − f(x')"))


def _integrated_gradients_picture(inputs: IntegratedGradientsInputs) -> Bars:
    _, gradient = _logistic(inputs)
    x, baseline = np.array(inputs.x), np.array(inputs.baseline)
    series = {
        tr("integrated", "积分梯度"): theory.integrated_gradients(gradient, x, baseline, inputs.steps),
        tr("gradient times input", "梯度乘输入"): gradient(x) * (x - baseline),
    }
    return Bars(tr("what each feature is credited with", "各特征所得的归因"), inputs.features, series, "a")


class AttentionRolloutInputs(Settings):
    """Two layers of attention over three words, averaged over the heads."""

    words: tuple[str, ...] = setting(("it", "was", "good"), "the words", "词", min_length=1)
    first: Matrix = setting(
        ((1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.2, 0.2, 0.6)), "attention of the first layer", "第一层的注意力"
    )
    second: Matrix = setting(
        ((1.0, 0.0, 0.0), (0.1, 0.9, 0.0), (0.0, 0.8, 0.2)), "attention of the second layer", "第二层的注意力"
    )
    residual: float = setting(0.5, "share of the residual path", "残差通路所占比例", ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name, layer in (("first", self.first), ("second", self.second)):
            require_shape(name, layer, len(self.words), len(self.words))
            for row in layer:
                require_distribution(name, row)
        require(len(self.words) <= 12, "at most twelve words", "至多十二个词")
        return self


def attention_rollout() -> Topic[AttentionRolloutInputs]:
    """Attention rollout."""
    return Topic(
        name="attention-rollout",
        family="trust",
        title=tr("Attention rollout", "注意力展开"),
        idea=(
            tr(
                "Attention of a high layer points at places, but what stands there has long been mixed from others.",
                "高层注意力指向某些位置，而那里的内容早已由别处混合而成。",
            ),
            tr(
                "Follow the mixing from the bottom: multiply the layers' attention matrices, with the residual path.",
                "自底层追踪这种混合：将各层注意力矩阵连乘，并计入残差通路。",
            ),
            tr(
                "Row t of the product says how much of every input word has reached place t.",
                "乘积的第 t 行即各输入词抵达位置 t 的份额。",
            ),
        ),
        formula=(
            r"\tilde{A}_l = (1 - r) A_l + r I",
            r"R = \tilde{A}_L \cdots \tilde{A}_2 \tilde{A}_1",
        ),
        symbols={
            "A_l": tr("attention of layer l, mean of its heads, (T, T)", "第 l 层注意力，对各头取平均，(T, T)"),
            "r": tr("share of the residual path, usually a half", "残差通路的比例，通常取一半"),
            "R": tr("rollout, (T, T); rows sum to one", "展开结果，(T, T)；各行和为一"),
        },
        inputs=AttentionRolloutInputs,
        example=_attention_rollout_example,
        picture=_attention_rollout_picture,
        pitfalls=(
            tr(
                "The later layer stands on the left: the wrong order follows information backwards.",
                "后面的层写在左边：次序颠倒便成了逆向追踪。",
            ),
            tr(
                "Averaging hides the heads that do the work, and values may be large or nothing for any weight.",
                "对各头取平均会掩盖真正起作用的头；而值向量可大可小，与权重无关。",
            ),
            tr(
                "A half for the residual path is a convention, not a measurement.",
                "残差取一半只是约定，并非测得。",
            ),
        ),
        papers=("Abnar & Zuidema 2020, Quantifying attention flow in transformers, section 3",),
        theory=(theory.attention_rollout,),
        related=("attention", "integrated-gradients"),
    )


def _attention_rollout_example(inputs: AttentionRolloutInputs) -> Iterator[Step]:
    layers = np.array([inputs.first, inputs.second])
    names = {"rows": inputs.words, "columns": inputs.words}
    identity = np.eye(len(inputs.words))
    for number, layer in enumerate(layers, start=1):
        with_residual = (1 - inputs.residual) * layer + inputs.residual * identity
        says = tr(f"layer {number} with its residual path", f"第 {number} 层，计入残差通路")
        yield Step(says, with_residual, rf"\tilde{{A}}_{number}", **names)
    rollout = theory.attention_rollout(layers, inputs.residual)
    yield Step(tr("second times first: the rollout", "第二层乘第一层：展开结果"), rollout, "R", **names)
    last = np.stack([layers[-1][-1], rollout[-1]])
    rows = (tr("last layer alone", "仅看末层"), tr("rollout", "展开"))
    says = tr(f"what '{inputs.words[-1]}' rests on", f"“{inputs.words[-1]}”所依据的词")
    yield Step(says, last, rows=rows, columns=inputs.words)


def _attention_rollout_picture(inputs: AttentionRolloutInputs) -> HeatMap:
    rollout = theory.attention_rollout(np.array([inputs.first, inputs.second]), inputs.residual)
    return HeatMap(
        tr("from input (column) to top (row)", "自输入（列）至顶层（行）"), rollout, inputs.words, inputs.words
    )


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (differential_privacy, integrated_gradients, attention_rollout)
