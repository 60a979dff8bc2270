"""Topics of compression: quantisation, pruning, distillation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import compression as theory
from zhixing.theory.networks import softmax


class QuantisationInputs(Settings):
    """A few weights and how many bits each may have."""

    weights: Vector = setting((0.7, -0.24, 0.06, 0.31, 2.8, -1.9), "weights", "权重", min_length=1)
    bits: int = setting(4, "bits of one weight", "每个权重的位数", unit="bits", ge=2, le=16)
    group: int = setting(3, "neighbours that share a scale", "共用一个缩放系数的相邻权重数", ge=1)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        length = len(self.weights)
        fits = length % self.group == 0
        require(fits, f"group must divide the {length} weights evenly", f"group 须整除权重个数 {length}")
        return self


def quantisation() -> Topic[QuantisationInputs]:
    """Symmetric and grouped quantisation."""
    return Topic(
        name="quantisation",
        family="compression",
        title=tr("Quantisation of weights", "权重量化"),
        idea=(
            tr(
                "A weight stored in 16 bits seldom needs them: most of what it says is said by four.",
                "以 16 位存储的权重很少真正需要那么多：四位已能表达其大部分信息。",
            ),
            tr(
                "Divide by a scale that takes the largest weight to the largest code, and round to whole numbers.",
                "除以缩放系数，使最大权重恰对应最大编码，再取整。",
            ),
            tr(
                "No weight is off by more than half a step; as an outlier widens all steps, groups are small.",
                "每个权重的误差不超过半步；一个离群值会拉大所有步长，故分小组各设缩放系数。",
            ),
        ),
        formula=(
            r"s = \frac{\max_i |w_i|}{2^{b-1} - 1}",
            r"q_i = \operatorname{round}(w_i / s)",
            r"\hat{w}_i = s q_i",
            r"|w_i - \hat{w}_i| \le \frac{s}{2}",
        ),
        symbols={
            "w_i": tr("weight i of the group, (n,)", "组内第 i 个权重，(n,)"),
            "b": tr("bits of one code", "一个编码的位数"),
            "s": tr("scale: the size of one step", "缩放系数，即一步的大小"),
            "q_i": tr("code, a whole number", "编码，整数"),
        },
        inputs=QuantisationInputs,
        example=_quantisation_example,
        picture=_quantisation_picture,
        pitfalls=(
            tr(
                "Scales take space too: 16 bits for every group of 32 weights make 4-bit weights 4.5-bit ones.",
                "缩放系数也占空间：每 32 个权重一个 16 位系数，4 位实为 4.5 位。",
            ),
            tr(
                "A small error of the weights is no promise about the model: measure perplexity before and after.",
                "权重误差小不等于模型无损：须比较量化前后的困惑度。",
            ),
            tr(
                "Activations have outliers in a few columns far beyond those of weights; this rule alone ruins them.",
                "激活值在少数列上的离群程度远甚于权重；单用此法会毁掉它们。",
            ),
        ),
        papers=(
            "Jacob et al. 2018, Quantization and training of neural networks, section 2.1",
            "Dettmers et al. 2022, LLM.int8(), section 2",
        ),
        theory=(theory.quantise, theory.dequantise, theory.quantise_groups, theory.quantisation_error_bound),
        related=("pruning", "distillation"),
    )


def _quantisation_example(inputs: QuantisationInputs) -> Iterator[Step]:
    w = np.array(inputs.weights)
    names = numbered("w", len(w))
    codes, scale = theory.quantise(w, inputs.bits)
    yield Step(tr("one scale for all", "全体共用一个缩放系数"), float(scale[0]), "s")
    yield Step(tr("divided by it and rounded: the codes", "相除取整得编码"), codes, "q_i", columns=names)
    whole = theory.dequantise(codes, scale)
    yield Step(tr("times the scale: what the model gets", "乘回系数：模型实际所用"), whole, r"\hat{w}_i", columns=names)
    bound = float(theory.quantisation_error_bound(w, inputs.bits)[0])
    says = tr(f"the error; no more than {bound:.4g}", f"误差；不超过 {bound:.4g}")
    yield Step(says, w - whole, r"w_i - \hat{w}_i", columns=names)
    grouped = theory.quantise_groups(w, inputs.bits, inputs.group)
    says = tr(f"with a scale for every {inputs.group} weights", f"每 {inputs.group} 个权重一个系数")
    yield Step(says, grouped, r"\hat{w}_i", columns=names)
    largest = np.array(
        [np.abs(w - whole).max(), np.abs(w - grouped).max(), np.abs(w - whole).mean(), np.abs(w - grouped).mean()]
    )
    yield Step(
        tr("largest and mean error", "最大与平均误差"),
        largest.reshape(2, 2),
        rows=(tr("largest", "最大"), tr("mean", "平均")),
        columns=(tr("one scale", "单一系数"), tr("groups", "分组")),
    )


def _quantisation_picture(inputs: QuantisationInputs) -> Bars:
    w = np.array(inputs.weights)
    series = {
        tr("weights", "原权重"): w,
        tr("one scale", "单一系数"): theory.dequantise(*theory.quantise(w, inputs.bits)),
        tr("groups", "分组"): theory.quantise_groups(w, inputs.bits, inputs.group),
    }
    return Bars(tr("before and after", "量化前后"), numbered("w", len(w)), series, "w")


class PruningInputs(Settings):
    """A weight matrix, an input, and how much to remove."""

    weights: Matrix = setting(
        ((0.9, -0.1, 0.4), (0.05, -1.2, 0.2), (0.6, 0.3, -0.02)), "weight matrix", "权重矩阵", min_length=1
    )
    sparsity: float = setting(0.5, "share removed", "移除的比例", ge=0, lt=1)
    x: Vector = setting((1.0, 1.0, 1.0), "an input vector", "一个输入向量")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_shape("weights", self.weights, len(self.weights), len(self.weights[0]))
        require_length("x", self.x, len(self.weights[0]))
        return self


def pruning() -> Topic[PruningInputs]:
    """Magnitude pruning."""
    return Topic(
        name="pruning",
        family="compression",
        title=tr("Magnitude pruning", "幅值剪枝"),
        idea=(
            tr(
                "Many weights of a trained network do next to nothing; which may go?",
                "训练好的网络中许多权重几乎不起作用；哪些可以去掉？",
            ),
            tr(
                "Remove the share of smallest magnitude: of all choices it changes the matrix least.",
                "去掉幅值最小的一部分：在所有选法中它对矩阵的改动最小。",
            ),
            tr(
                "Train on with the mask fixed, and half of the weights can go nearly without loss.",
                "固定掩码继续训练，去掉一半权重几乎无损。",
            ),
        ),
        formula=(
            r"m_{ij} = 1 \iff |w_{ij}| \text{ is among the largest } (1 - \rho) n",
            r"\hat{W} = m \odot W",
        ),
        symbols={
            "W": tr("weight matrix of n entries", "含 n 个元素的权重矩阵"),
            "m": tr("mask, 1 where a weight stays", "掩码，保留处为 1"),
            r"\rho": tr("sparsity: the share removed", "稀疏度：移除的比例"),
        },
        inputs=PruningInputs,
        example=_pruning_example,
        picture=_pruning_picture,
        pitfalls=(
            tr(
                "Zeros in a dense matrix save neither memory nor time: that takes a sparse format or a pattern as 2:4.",
                "稠密矩阵中的零既不省内存也不省时间：须用稀疏格式或 2:4 等模式。",
            ),
            tr(
                "A small weight on a large input matters; methods for large models multiply by the input's norm.",
                "小权重遇大输入仍重要；大模型的剪枝方法会将幅值乘以输入的范数。",
            ),
            tr(
                "One threshold for the whole network empties the layers whose weights are small by nature.",
                "全网共用一个阈值，会掏空权重天生偏小的层。",
            ),
        ),
        papers=("Han et al. 2015, Learning both weights and connections for efficient neural networks, section 3",),
        theory=(theory.magnitude_mask,),
        related=("quantisation", "distillation"),
    )


def _pruning_example(inputs: PruningInputs) -> Iterator[Step]:
    w, x = np.array(inputs.weights), np.array(inputs.x)
    mask = theory.magnitude_mask(w, inputs.sparsity)
    pruned = np.where(mask, w, 0.0)
    yield Step(tr("magnitudes", "幅值"), np.abs(w), "|w_{ij}|")
    yield Step(tr("the mask: 1 stays", "掩码：1 为保留"), mask.astype(np.int64), "m_{ij}")
    yield Step(tr("the pruned matrix", "剪枝后的矩阵"), pruned, r"\hat{W}")
    kept = float((pruned**2).sum() / (w**2).sum()) if w.any() else 1.0
    yield Step(tr("share of the sum of squares that is left", "平方和的留存比例"), kept)
    outputs = np.stack([w @ x, pruned @ x])
    rows = (tr("before", "剪枝前"), tr("after", "剪枝后"))
    yield Step(tr("the product with the input, before and after", "与输入之积，前后对比"), outputs, "W x", rows=rows)


def _pruning_picture(inputs: PruningInputs) -> HeatMap:
    w = np.array(inputs.weights)
    left = np.abs(w) * theory.magnitude_mask(w, inputs.sparsity)
    return HeatMap(tr("magnitudes that stay", "保留下来的幅值"), left, numbered("", len(w)), numbered("", len(w[0])))


class DistillationInputs(Settings):
    """What a teacher and a student say of one example."""

    classes: tuple[str, ...] = setting(("cat", "dog", "car"), "classes", "类别", min_length=2)
    teacher: Vector = setting((5.0, 3.0, -2.0), "the teacher's scores", "教师的得分")
    student: Vector = setting((1.0, 0.0, 0.0), "the student's scores", "学生的得分")
    target: int = setting(0, "number of the true class, from 0", "真实类别的序号，从 0 起", ge=0)
    temperature: float = setting(2.0, "softens both", "使二者都变平", gt=0)
    weight: float = setting(0.5, "of the teacher against the label", "教师相对标签的权重", ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = len(self.classes)
        require_length("teacher", self.teacher, size)
        require_length("student", self.student, size)
        require(self.target < size, f"target is at most {size - 1}", f"target 至多为 {size - 1}")
        return self


def distillation() -> Topic[DistillationInputs]:
    """Knowledge distillation."""
    return Topic(
        name="distillation",
        family="compression",
        title=tr("Distillation", "知识蒸馏"),
        idea=(
            tr(
                "A label says 'cat'; a large model says 'cat, a little like a dog, nothing like a car'.",
                "标签只说“猫”；大模型说“猫，有点像狗，全不像车”。",
            ),
            tr(
                "Train the small model to match the large one's whole distribution, softened by a temperature.",
                "让小模型去拟合大模型经温度软化的整个分布。",
            ),
            tr(
                "It learns more from each example than from the label alone, and needs fewer of them.",
                "每个样本教会它的比单个标签更多，所需样本也更少。",
            ),
        ),
        formula=(
            r"p = \operatorname{softmax}(t / \tau), \quad q = \operatorname{softmax}(x / \tau)",
            r"L = \alpha \tau^2 \sum_i p_i \log \frac{p_i}{q_i} - (1 - \alpha) \log \operatorname{softmax}(x)_y",
        ),
        symbols={
            "t": tr("teacher's scores, (V,)", "教师的得分，(V,)"),
            "x": tr("student's scores, (V,)", "学生的得分，(V,)"),
            r"\tau": tr("temperature, above 0", "温度，大于 0"),
            r"\alpha": tr("weight of the teacher, 0 to 1", "教师的权重，0 到 1"),
            "y": tr("true class", "真实类别"),
        },
        inputs=DistillationInputs,
        example=_distillation_example,
        picture=_distillation_picture,
        pitfalls=(
            tr(
                "Without the squared temperature as a factor, the soft part's gradient shrinks as it rises.",
                "若缺少温度平方因子，温度越高，软目标的梯度越小。",
            ),
            tr(
                "The temperature applies to both sides in training and to neither in use: the student answers at 1.",
                "训练时温度作用于双方，使用时都不用：学生以温度 1 作答。",
            ),
            tr(
                "Teacher and student must share the vocabulary: scores of different tokenizers do not line up.",
                "师生须共用词表：不同分词器的得分无法对齐。",
            ),
        ),
        papers=("Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network, section 2",),
        theory=(
            theory.distillation_loss,
            theory.distillation_loss_gradient,
            theory.soft_target_loss,
            theory.soft_target_loss_gradient,
        ),
        related=("temperature", "cross-entropy", "quantisation"),
    )


def _distillation_example(inputs: DistillationInputs) -> Iterator[Step]:
    teacher, student, targets = np.array([inputs.teacher]), np.array([inputs.student]), np.array([inputs.target])
    both = softmax(np.concatenate([teacher, student]) / inputs.temperature)
    rows = (tr("teacher p", "教师 p"), tr("student q", "学生 q"))
    yield Step(tr("both distributions, softened", "软化后的两个分布"), both, rows=rows, columns=inputs.classes)
    soft = theory.soft_target_loss(student, teacher, inputs.temperature)
    yield Step(
        tr("divergence times the squared temperature", "散度乘以温度平方"), soft, r"\tau^2 \operatorname{KL}(p \| q)"
    )
    hard = theory.distillation_loss(student, teacher, targets, inputs.temperature, 0.0)
    yield Step(tr("cross-entropy to the label", "对标签的交叉熵"), hard, r"-\log \operatorname{softmax}(x)_y")
    loss = theory.distillation_loss(student, teacher, targets, inputs.temperature, inputs.weight)
    yield Step(tr("mixed: the loss, in nats", "混合得损失，单位奈特"), loss, "L")
    slope = theory.distillation_loss_gradient(student, teacher, targets, inputs.temperature, inputs.weight)[0]
    yield Step(
        tr("the student's gradient", "学生的梯度"), slope, r"\frac{\partial L}{\partial x}", columns=inputs.classes
    )


def _distillation_picture(inputs: DistillationInputs) -> Lines:
    temperatures = np.linspace(0.5, 8.0, 61)
    p = np.stack([softmax(np.array(inputs.teacher) / each) for each in temperatures])
    curves = dict(zip(inputs.classes, p.T, strict=True))
    title = tr("the teacher's distribution as the temperature rises", "温度升高时教师的分布")
    return Lines(title, temperatures, curves, "τ", "p")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (quantisation, pruning, distillation)
