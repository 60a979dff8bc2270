"""Topics of what is done to gradients before the step: clipping, accumulation, and Muon's orthogonalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import optimizers as theory


class MuonInputs(Settings):
    """A gradient of one matrix, and how it is made orthogonal."""

    gradient: Matrix = setting(
        ((3.0, 1.0), (1.0, 1.0)), "gradient of a matrix (R, C)", "矩阵的梯度 (R, C)", min_length=2
    )
    schedule: Literal["jordan", "polar-express"] = setting(
        "jordan", "the polynomials: one for all steps, or one each", "多项式：各步相同，或每步一个"
    )
    iterations: int = setting(5, "Newton–Schulz iterations", "Newton–Schulz 迭代次数", ge=1, le=10)
    rate: float = setting(0.02, "learning rate η", "学习率 η", gt=0)

    @model_validator(mode="after")
    def _is_a_matrix(self) -> Self:
        require_shape("gradient", self.gradient, len(self.gradient), len(self.gradient[0]))
        require(bool(np.any(np.array(self.gradient))), "gradient must not be all zeros", "gradient 不能全为零")
        return self

    @property
    def polynomials(self) -> list[theory.Coefficients]:
        """One (a, b, c) for each iteration."""
        if self.schedule == "jordan":
            return [theory.JORDAN] * self.iterations
        return theory.polar_express_schedule(self.iterations)


class ClippingInputs(Settings):
    """The gradients of two parameters, and the limit of their common norm."""

    first: Vector = setting((3.0, 0.0), "gradient of the first parameter", "第一个参数的梯度", min_length=1)
    second: Vector = setting((-4.0,), "gradient of the second parameter", "第二个参数的梯度", min_length=1)
    limit: float = setting(1.0, "largest norm allowed, c", "允许的最大范数 c", gt=0)


class AccumulationInputs(Settings):
    """Micro-batches of different length: the gradients of their summed losses, and their tokens."""

    sums: Vector = setting((2.0, 12.0, 1.0), "gradient of each summed loss", "各微批损失之和的梯度", min_length=1)
    tokens: tuple[int, ...] = setting((1, 8, 3), "tokens in each micro-batch", "各微批的词元数", min_length=1)

    @model_validator(mode="after")
    def _one_count_each(self) -> Self:
        require_length("tokens", self.tokens, len(self.sums))
        require(min(self.tokens) > 0, "tokens must be at least 1 each", "tokens 每项至少为 1")
        return self


def muon() -> Topic[MuonInputs]:
    """Momentum, made orthogonal."""
    return Topic(
        name="muon",
        family="optimizers",
        title="Muon",
        idea=(
            tr(
                "A matrix's gradient is dominated by a few directions; must the others learn so much more slowly?",
                "矩阵的梯度往往被少数方向主导；其余方向只能学得很慢吗？",
            ),
            tr(
                "Replace the averaged gradient by the nearest matrix with orthonormal rows or columns.",
                "把平均后的梯度换成最接近它的、行或列标准正交的矩阵。",
            ),
            tr(
                "All directions then move equally far; a few matrix products suffice, no decomposition.",
                "于是各个方向移动得一样远；只需几次矩阵乘法，无需分解。",
            ),
        ),
        formula=(
            r"m \leftarrow \mu m + (1 - \mu) g",
            r"X_0 = \frac{M}{\lVert M \rVert_F}, \quad X \leftarrow a X + b X X^\top X + c (X X^\top)^2 X",
            r"\theta \leftarrow \theta - \eta \sqrt{\max(1, R/C)}\, X",
        ),
        symbols={
            "g": tr("gradient of a weight matrix, (R, C)", "权重矩阵的梯度，(R, C)"),
            "M": tr("μm + (1 − μ)g, Nesterov's look ahead, (R, C)", "μm + (1 − μ)g，Nesterov 前瞻，(R, C)"),
            "X": tr("tends to U Vᵀ of M = U S Vᵀ", "趋于 M = U S Vᵀ 中的 U Vᵀ"),
            "a, b, c": tr("coefficients of one iteration", "一次迭代的系数"),
            r"\eta": tr("learning rate", "学习率"),
        },
        inputs=MuonInputs,
        example=_muon_example,
        picture=_muon_picture,
        pitfalls=(
            tr(
                "It is for matrices inside the network; embeddings, output head, norms and biases go to AdamW.",
                "它只用于网络内部的矩阵；嵌入、输出层、归一化与偏置仍交给 AdamW。",
            ),
            tr(
                "A packed matrix (query, key and value in one) must be orthogonalised part by part.",
                "打包的矩阵（查询、键、值合一）须逐块正交化。",
            ),
            tr(
                "Jordan's coefficients end between 0.7 and 1.2, not at 1: meant so, because speed matters more.",
                "Jordan 的系数最终落在 0.7 到 1.2 之间而非 1：有意为之，因为速度更重要。",
            ),
        ),
        papers=(
            "Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks, algorithm 2",
            "Amsel et al. 2025, The Polar Express, listing 1",
        ),
        theory=(theory.muon, theory.newton_schulz),
        practice=("zhixing.training.muon:Muon", "zhixing.training.muon:orthogonalise"),
        related=("nesterov", "adamw"),
    )


def _singular(matrix: Any) -> Any:
    return np.linalg.svd(matrix, compute_uv=False)


def _muon_example(inputs: MuonInputs) -> Iterator[Step]:
    gradient = np.array(inputs.gradient)
    rows, columns = numbered("r", gradient.shape[0]), numbered("c", gradient.shape[1])
    count = numbered("s", min(gradient.shape))
    yield Step(
        tr("the gradient (the first step, so M is a multiple of it)", "梯度（第一步，故 M 与之成比例）"),
        gradient,
        "g",
        rows,
        columns,
    )
    says = tr("its singular values: how far each direction would move", "其奇异值：各方向将移动的距离")
    yield Step(says, _singular(gradient), "S", columns=count)
    norm = float(np.linalg.norm(gradient))
    yield Step(
        tr("divide by the Frobenius norm: all singular values are at most 1", "除以 Frobenius 范数：奇异值都不超过 1"),
        norm,
        r"\lVert M \rVert_F",
    )
    orthogonal = theory.newton_schulz(gradient, inputs.polynomials)
    yield Step(
        tr(f"after {inputs.iterations} iterations", f"{inputs.iterations} 次迭代之后"), orthogonal, "X", rows, columns
    )
    yield Step(tr("its singular values", "其奇异值"), _singular(orthogonal), "", columns=count)
    zeros = np.zeros_like(gradient)
    moved, _ = theory.muon(zeros, gradient, zeros, inputs.rate, schedule=inputs.polynomials)
    yield Step(tr("the step", "这一步的位移"), moved, r"-\eta \sqrt{\max(1, R/C)}\, X", rows, columns)


def _muon_picture(inputs: MuonInputs) -> Lines:
    """What the iterations make of every singular value between 0 and 1."""
    x = np.linspace(0, 1, 121)
    curves, y = {}, x
    for number, (a, b, c) in enumerate(inputs.polynomials, 1):
        y = a * y + b * y**3 + c * y**5
        if number in (1, 2, inputs.iterations):
            curves[tr(f"iteration {number}", f"第 {number} 次迭代")] = y
    title = tr("what the iterations make of each singular value", "各次迭代对奇异值的作用")
    return Lines(title, x, curves, tr("singular value before", "迭代前的奇异值"), tr("after", "迭代后"))


def gradient_clipping() -> Topic[ClippingInputs]:
    """One factor for all gradients."""
    return Topic(
        name="gradient-clipping",
        family="optimizers",
        title=tr("Gradient clipping", "梯度裁剪"),
        idea=(
            tr(
                "One odd batch can give a gradient that throws the model far away; must it be followed?",
                "一个反常的批次就可能产生把模型甩得很远的梯度；难道要照走吗？",
            ),
            tr(
                "Measure one norm over all parameters; if it is above a limit, scale all gradients by one factor.",
                "计算全部参数梯度合在一起的范数；若超过上限，就用同一因子缩放所有梯度。",
            ),
            tr("The direction is kept, only the length is limited.", "方向不变，只限制长度。"),
        ),
        formula=(
            r"\lVert g \rVert = \sqrt{\sum_{i} g_i^2}",
            r"g \leftarrow g \cdot \min(1, \frac{c}{\lVert g \rVert})",
        ),
        symbols={
            "g": tr("gradients of all parameters in one vector", "全部参数的梯度连成一个向量"),
            "c": tr("the limit, above 0", "上限，大于 0"),
        },
        inputs=ClippingInputs,
        example=_clipping_example,
        picture=_clipping_picture,
        pitfalls=(
            tr(
                "Clipping each tensor or each number by itself turns the direction: the norm is one for all.",
                "逐个张量或逐个数值裁剪会改变方向：范数应是全局的一个。",
            ),
            tr(
                "Clip after accumulation and, in half precision, after the loss scale is divided out.",
                "应在梯度累积之后裁剪；半精度训练时，还要先除去损失缩放。",
            ),
            tr(
                "A norm that is not a number passes every comparison: check for it and skip the step.",
                "范数若为 NaN，任何比较都拦不住它：须单独检查并跳过该步。",
            ),
        ),
        papers=(
            "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks, algorithm 1",
        ),
        theory=(theory.clip_by_global_norm,),
        practice=("zhixing.training.loop:_step",),
        related=("sgd", "gradient-accumulation"),
    )


def _clipped(inputs: ClippingInputs) -> tuple[list[Any], float]:
    return theory.clip_by_global_norm([np.array(inputs.first), np.array(inputs.second)], inputs.limit)


def _clipping_labels(inputs: ClippingInputs) -> tuple[str, ...]:
    return numbered("a", len(inputs.first)) + numbered("b", len(inputs.second))


def _clipping_example(inputs: ClippingInputs) -> Iterator[Step]:
    labels = _clipping_labels(inputs)
    before = np.array(inputs.first + inputs.second)
    clipped, norm = _clipped(inputs)
    says = tr("the gradients of both parameters side by side", "把两个参数的梯度并排放在一起")
    yield Step(says, before, "g", columns=labels)
    yield Step(tr("their squares", "各自平方"), before**2, r"g_i^2", columns=labels)
    yield Step(tr("the root of their sum: one norm for all", "求和开方：全局只有一个范数"), norm, r"\lVert g \rVert")
    factor = min(1.0, inputs.limit / norm) if norm > 0 else 1.0
    yield Step(tr("the factor", "因子"), factor, r"\min(1, c / \lVert g \rVert)")
    yield Step(
        tr("the clipped gradients", "裁剪后的梯度"),
        np.concatenate(clipped),
        r"g \cdot \min(1, c / \lVert g \rVert)",
        columns=labels,
    )


def _clipping_picture(inputs: ClippingInputs) -> Bars:
    series = {
        tr("before", "裁剪前"): np.array(inputs.first + inputs.second),
        tr("after", "裁剪后"): np.concatenate(_clipped(inputs)[0]),
    }
    return Bars(tr("shorter, same direction", "变短，方向不变"), _clipping_labels(inputs), series, "g")


def gradient_accumulation() -> Topic[AccumulationInputs]:
    """Micro-batches that add up to one batch."""
    return Topic(
        name="gradient-accumulation",
        family="optimizers",
        title=tr("Gradient accumulation", "梯度累积"),
        idea=(
            tr("What if the batch one wants does not fit into memory?", "想用的批次放不进内存，怎么办？"),
            tr(
                "Compute it in micro-batches, add the gradients of the summed losses, divide once by all tokens.",
                "分成微批计算，把各微批损失之和的梯度相加，最后一次除以全部词元数。",
            ),
            tr(
                "The step is then exactly that of the whole batch, whatever the lengths of its parts.",
                "这样得到的一步与整个批次完全相同，不论各部分长短如何。",
            ),
        ),
        formula=(r"g = \frac{\sum_{k} G_k}{\sum_{k} M_k}",),
        symbols={
            "G_k": tr("gradient of the summed loss of micro-batch k", "微批 k 的损失之和的梯度"),
            "M_k": tr("tokens that count in micro-batch k", "微批 k 中计入损失的词元数"),
            "g": tr("gradient of the mean loss per token", "每词元平均损失的梯度"),
        },
        inputs=AccumulationInputs,
        example=_accumulation_example,
        picture=_accumulation_picture,
        pitfalls=(
            tr(
                "Averaging the means of the micro-batches gives tokens of short ones more weight: a well-known bug.",
                "对各微批的均值再求平均，会让短微批中的词元权重偏大：这是个著名的错误。",
            ),
            tr(
                "With several devices the number of tokens has to be summed over all of them as well.",
                "多设备训练时，词元数也须在所有设备上求和。",
            ),
        ),
        papers=("Goyal et al. 2017, Accurate, large minibatch SGD, section 3 (mean over the whole batch)",),
        theory=(theory.accumulate,),
        practice=("zhixing.training.loop:_step",),
        related=("gradient-clipping", "sgd"),
    )


def _accumulation_example(inputs: AccumulationInputs) -> Iterator[Step]:
    sums, tokens = np.array(inputs.sums), np.array(inputs.tokens)
    labels = numbered("k", len(tokens))
    says = tr("gradient of each summed loss, and its tokens", "各微批损失之和的梯度与词元数")
    yield Step(says, np.array([sums, tokens]), "", ("G", "M"), labels)
    yield Step(tr("the sum of the gradients", "梯度之和"), float(sums.sum()), r"\sum_k G_k")
    yield Step(tr("all tokens", "全部词元数"), int(tokens.sum()), r"\sum_k M_k")
    right = float(theory.accumulate([np.array(value) for value in sums], inputs.tokens))
    yield Step(tr("the gradient of the whole batch", "整个批次的梯度"), right, "g")
    says = tr("the wrong way: the mean of each micro-batch", "错误的做法：先求各微批的均值")
    yield Step(says, sums / tokens, r"\frac{G_k}{M_k}", columns=labels)
    says = tr("and their mean, which is another number", "再对其求平均，得到的是另一个数")
    yield Step(says, float((sums / tokens).mean()), r"\frac{1}{K} \sum_k \frac{G_k}{M_k}")


def _accumulation_picture(inputs: AccumulationInputs) -> Bars:
    tokens = np.array(inputs.tokens)
    labels = tuple(f"k{n + 1} (M = {count})" for n, count in enumerate(tokens))
    series = {
        tr("summed, then divided", "先求和再相除"): np.full(len(tokens), 1 / tokens.sum()),
        tr("mean of means", "均值的均值"): 1 / (len(tokens) * tokens),
    }
    return Bars(tr("weight of one token of each micro-batch", "各微批中一个词元的权重"), labels, series)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (muon, gradient_clipping, gradient_accumulation)
