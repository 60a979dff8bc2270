"""Topics of neurons and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Lines, Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import losses
from zhixing.theory import networks as theory

RUMELHART = "Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors"
ACTIVATIONS: dict[str, tuple[theory.Activation, theory.Activation]] = {
    "sigmoid": (theory.sigmoid, theory.sigmoid_derivative),
    "tanh": (theory.tanh, theory.tanh_derivative),
    "relu": (theory.relu, theory.relu_derivative),
    "gelu": (theory.gelu, theory.gelu_derivative),
    "silu": (theory.silu, theory.silu_derivative),
}
Name = Literal["sigmoid", "tanh", "relu", "gelu", "silu"]


class NeuronInputs(Settings):
    """What one neuron reads, and its weights."""

    x: Vector = setting((1.0, 2.0, -1.0), "inputs", "输入", min_length=1)
    weights: Vector = setting((0.5, 0.25, 1.0), "one weight per input", "每个输入一个权重", min_length=1)
    bias: float = setting(0.5, "added to the weighted sum", "加在加权和上的偏置")
    activation: Name = setting("sigmoid", "applied to the sum", "作用于总和的激活函数")

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        require_length("weights", self.weights, len(self.x))
        return self


def neuron() -> Topic[NeuronInputs]:
    """One artificial neuron."""
    return Topic(
        name="neuron",
        family="networks",
        title=tr("The artificial neuron", "人工神经元"),
        idea=(
            tr(
                "How can a number be decided from many numbers by a rule that can be learned?",
                "怎样用一条可学习的规则，由多个数得出一个数？",
            ),
            tr(
                "A neuron weighs its inputs, adds them and a bias, and bends the sum by an activation function.",
                "神经元对输入加权求和，加上偏置，再经激活函数弯曲。",
            ),
            tr(
                "Many neurons side by side are one matrix product, and layers of them make a network.",
                "许多神经元并排即一次矩阵乘法，层层相叠便成网络。",
            ),
        ),
        formula=(r"z = \sum_{i=1}^{I} x_i w_i + b", r"y = f(z)"),
        symbols={
            "x": tr("inputs, (I,)", "输入，(I,)"),
            "w": tr("weights, (I,)", "权重，(I,)"),
            "b": tr("bias, a number", "偏置，一个数"),
            "f": tr("activation function, applied to each number", "激活函数，逐元素作用"),
            "y": tr("the neuron's output, a number", "神经元的输出，一个数"),
        },
        inputs=NeuronInputs,
        example=_neuron_example,
        picture=_neuron_picture,
        pitfalls=(
            tr(
                "Without an activation, layers collapse: a product of matrices is one matrix.",
                "没有激活函数，多层等于一层：矩阵之积仍是一个矩阵。",
            ),
            tr(
                "PyTorch stores a linear layer's weight as (outputs, inputs) and computes x Wᵀ + b.",
                "PyTorch 的线性层把权重存为（输出, 输入），计算的是 x Wᵀ + b。",
            ),
        ),
        papers=("McCulloch & Pitts 1943, A logical calculus of the ideas immanent in nervous activity", RUMELHART),
        theory=(theory.affine, theory.affine_gradient),
        practice=("zhixing.nn.linear:PackedLinear",),
        related=("activations", "back-propagation"),
    )


def _neuron_example(inputs: NeuronInputs) -> Iterator[Step]:
    x, weights = np.array(inputs.x), np.array(inputs.weights)
    names = numbered("x", len(x))
    yield Step(tr("weigh each input", "各输入乘以权重"), x * weights, "x_i w_i", columns=names)
    z = theory.affine(x[None], weights[:, None], np.array([inputs.bias]))
    yield Step(tr("add them and the bias", "相加，再加偏置"), z.item(), r"z = \sum_i x_i w_i + b")
    f, derivative = ACTIVATIONS[inputs.activation]
    yield Step(tr(f"apply {inputs.activation}", f"作用 {inputs.activation}"), f(z).item(), "y = f(z)")
    slope = derivative(z) * weights
    yield Step(tr("how the output moves with each input", "输出随各输入的变化率"), slope[0], "f'(z) w_i", columns=names)


def _neuron_picture(inputs: NeuronInputs) -> Bars:
    parts = np.array([*(x * w for x, w in zip(inputs.x, inputs.weights, strict=True)), inputs.bias])
    labels = (*numbered("x", len(inputs.x)), tr("bias", "偏置"))
    return Bars(tr("what each input adds to the sum", "各输入对总和的贡献"), labels, {"x_i w_i": parts})


class ActivationInputs(Settings):
    """Where to evaluate the functions."""

    x: Vector = setting((-2.0, -1.0, 0.0, 1.0, 2.0), "arguments", "自变量", min_length=1)


def activations() -> Topic[ActivationInputs]:
    """Sigmoid, tanh, ReLU, GELU and SiLU side by side."""
    return Topic(
        name="activations",
        family="networks",
        title=tr("Activation functions", "激活函数"),
        idea=(
            tr("Which curve should bend a neuron's sum?", "神经元的总和应由哪条曲线来弯曲？"),
            tr(
                "Sigmoid and tanh squeeze into a range; ReLU cuts below zero; GELU and SiLU cut smoothly.",
                "sigmoid 与 tanh 压入有限区间；ReLU 截去负值；GELU 与 SiLU 平滑地截去。",
            ),
            tr(
                "Flat ends starve the gradient of deep networks, which is why the open-ended curves took over.",
                "两端平坦会使深层网络的梯度枯竭，故不饱和的曲线后来居上。",
            ),
        ),
        formula=(
            r"\sigma(x) = \frac{1}{1 + \exp(-x)}",
            r"\tanh(x) = 2\sigma(2x) - 1",
            r"\operatorname{ReLU}(x) = \max(0, x)",
            r"\operatorname{GELU}(x) = x\,\Phi(x)",
            r"\operatorname{SiLU}(x) = x\,\sigma(x)",
        ),
        symbols={
            "x": tr("any array; the functions act on each number", "任意数组；逐元素作用"),
            r"\Phi(x)": tr("the chance that a standard normal number lies below x", "标准正态变量小于 x 的概率"),
        },
        inputs=ActivationInputs,
        example=_activations_example,
        picture=_activations_picture,
        pitfalls=(
            tr(
                "GPT-2 uses the tanh approximation of GELU; loading its weights into the exact one shifts every logit.",
                "GPT-2 用的是 GELU 的 tanh 近似；换成精确形式会使每个 logit 偏移。",
            ),
            tr(
                "The sigmoid's slope is at most 1/4: ten layers of it shrink a gradient by a factor of a million.",
                "sigmoid 的斜率至多 1/4：十层就把梯度缩小百万倍。",
            ),
            tr(
                "A ReLU whose sum is negative for every example gets no gradient and stays dead.",
                "若某个 ReLU 对所有样本的总和皆为负，它便得不到梯度，从此“死亡”。",
            ),
        ),
        papers=(
            "Nair & Hinton 2010, Rectified linear units improve restricted Boltzmann machines, section 2",
            "Hendrycks & Gimpel 2016, Gaussian error linear units (GELUs), section 2",
        ),
        theory=(theory.sigmoid, theory.tanh, theory.relu, theory.gelu, theory.gelu_tanh, theory.silu),
        practice=("zhixing.nn.feedforward:GeluFeedForward", "zhixing.nn.feedforward:SwiGLU"),
        related=("neuron", "swiglu"),
    )


def _activations_example(inputs: ActivationInputs) -> Iterator[Step]:
    x = np.array(inputs.x)
    names = [f"{value:g}" for value in x]
    values = np.stack([f(x) for f, _ in ACTIVATIONS.values()])
    yield Step(tr("the functions at each x", "各函数在各 x 处的值"), values, "f(x)", tuple(ACTIVATIONS), names)
    slopes = np.stack([derivative(x) for _, derivative in ACTIVATIONS.values()])
    yield Step(tr("their slopes", "各函数的斜率"), slopes, "f'(x)", tuple(ACTIVATIONS), names)
    gap = theory.gelu_tanh(x) - theory.gelu(x)
    yield Step(tr("GPT-2's approximation of GELU is off by", "GPT-2 的 GELU 近似之误差"), gap, columns=names)


def _activations_picture(inputs: ActivationInputs) -> Lines:
    reach = max(4.0, *np.abs(inputs.x))
    x = np.linspace(-reach, reach, 161)
    curves = {name: f(x) for name, (f, _) in ACTIVATIONS.items()}
    return Lines(tr("five activation functions", "五种激活函数"), x, curves, "x", "f(x)")


class SwigluInputs(Settings):
    """One token's vector and the three matrices."""

    x: Vector = setting((1.0, 2.0), "the token's vector (D,)", "词元的向量 (D,)", min_length=1)
    gate: Matrix = setting(((1.0, -1.0), (0.5, 0.0)), "gate weights (D, F)", "门控权重 (D, F)", min_length=1)
    up: Matrix = setting(((1.0, 0.0), (0.0, 1.0)), "up weights (D, F)", "升维权重 (D, F)", min_length=1)
    down: Matrix = setting(((1.0, 0.0), (1.0, 1.0)), "down weights (F, D)", "降维权重 (F, D)", min_length=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        width, hidden = len(self.x), len(self.gate[0])
        require_shape("gate", self.gate, width, hidden)
        require_shape("up", self.up, width, hidden)
        require_shape("down", self.down, hidden, width)
        return self


def swiglu() -> Topic[SwigluInputs]:
    """The gated feed-forward layer."""
    return Topic(
        name="swiglu",
        family="networks",
        title=tr("SwiGLU, the gated feed-forward layer", "SwiGLU 门控前馈层"),
        idea=(
            tr(
                "A plain feed-forward layer decides by a fixed curve what to let through.",
                "普通前馈层以一条固定曲线决定放行什么。",
            ),
            tr(
                "SwiGLU multiplies one projection by the SiLU of another, so the input itself opens and closes gates.",
                "SwiGLU 用一个投影的 SiLU 值去乘另一个投影，由输入自己开合闸门。",
            ),
            tr(
                "At equal parameters it reaches a lower loss, and most models since Llama use it.",
                "参数量相同时损失更低，Llama 之后的模型大多采用它。",
            ),
        ),
        formula=(r"y = (\operatorname{SiLU}(x W_g) \odot x W_u)\, W_d", r"\operatorname{SiLU}(a) = a\,\sigma(a)"),
        symbols={
            "x": tr("one token's vector, (D,)", "一个词元的向量，(D,)"),
            "W_g": tr("gate weights, (D, F)", "门控权重，(D, F)"),
            "W_u": tr("up weights, (D, F)", "升维权重，(D, F)"),
            "W_d": tr("down weights, (F, D)", "降维权重，(F, D)"),
            r"\odot": tr("product of each pair of entries", "逐元素相乘"),
        },
        inputs=SwigluInputs,
        example=_swiglu_example,
        pitfalls=(
            tr(
                "Three matrices instead of two: to keep the parameter count, F is about 8/3 D, not 4 D.",
                "矩阵由两个变三个：为保持参数量，F 取约 8/3 D 而非 4 D。",
            ),
            tr(
                "Only the gate passes through SiLU; exchanging gate and up when loading weights gives a wrong model.",
                "只有门控一路经过 SiLU；载入权重时若把两者对调，模型就错了。",
            ),
        ),
        papers=("Shazeer 2020, GLU variants improve Transformer, equation 6",),
        theory=(theory.swiglu, theory.swiglu_gradient, theory.silu),
        practice=("zhixing.nn.feedforward:SwiGLU",),
        related=("activations", "llama"),
    )


def _swiglu_example(inputs: SwigluInputs) -> Iterator[Step]:
    x, gate, up, down = (np.array(part) for part in (inputs.x, inputs.gate, inputs.up, inputs.down))
    names = numbered("h", gate.shape[1])
    yield Step(tr("the gate's projection", "门控投影"), x @ gate, "x W_g", columns=names)
    opened = theory.silu(x @ gate)
    yield Step(tr("bent by SiLU", "经 SiLU 弯曲"), opened, r"\operatorname{SiLU}(x W_g)", columns=names)
    yield Step(tr("the other projection", "另一投影"), x @ up, "x W_u", columns=names)
    yield Step(tr("their product", "两者相乘"), opened * (x @ up), r"\odot", columns=names)
    y = theory.swiglu(x[None], gate, up, down)[0]
    yield Step(tr("back to the model's width", "投回模型宽度"), y, "y", columns=numbered("y", len(y)))


class BackPropagationInputs(Settings):
    """A network of two layers without biases, one example, its target."""

    x: Vector = setting((1.0, 2.0), "the example (I,)", "样本 (I,)", min_length=1)
    hidden: Matrix = setting(((1.0, -1.0), (0.5, -0.25)), "first weights (I, F)", "第一层权重 (I, F)", min_length=1)
    output: Vector = setting((0.5, 1.0), "second weights (F,)", "第二层权重 (F,)", min_length=1)
    target: float = setting(2.0, "what the network should say", "目标值")
    activation: Name = setting("relu", "between the layers", "两层之间的激活函数")

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        require_shape("hidden", self.hidden, len(self.x), len(self.output))
        return self

    def arrays(self) -> tuple[NDArray[Any], list[theory.Layer], NDArray[Any]]:
        """The example (1, I), the layers, the target (1, 1), as ``theory`` takes them."""
        hidden, output = np.array(self.hidden), np.array(self.output)[:, None]
        layers = [(hidden, np.zeros(hidden.shape[1])), (output, np.zeros(1))]
        return np.array([self.x]), layers, np.array([[self.target]])


def back_propagation() -> Topic[BackPropagationInputs]:
    """The chain rule from the loss back to every weight."""
    return Topic(
        name="back-propagation",
        family="networks",
        title=tr("Back-propagation", "反向传播"),
        idea=(
            tr(
                "To learn, each weight must know how the loss moves when it moves.",
                "要学习，每个权重都须知道自己变动时损失如何变动。",
            ),
            tr(
                "Back-propagation applies the chain rule from the loss backwards, keeping one vector per layer.",
                "反向传播从损失出发逆向运用链式法则，每层只保留一个向量。",
            ),
            tr(
                "All gradients together cost about twice a forward pass, however many weights there are.",
                "不论权重多少，全部梯度的代价约为前向计算的两倍。",
            ),
        ),
        formula=(
            r"z_l = a_{l-1} W_l,\quad a_l = f(z_l)",
            r"\delta_{l-1} = (\delta_l W_l^\top) \odot f'(z_{l-1})",
            r"\frac{\partial L}{\partial W_l} = a_{l-1}^\top \delta_l",
        ),
        symbols={
            "a_l": tr("output of layer l; a₀ is the example, (1, I)", "第 l 层的输出；a₀ 为样本，(1, I)"),
            "W_l": tr("weights of layer l, (inputs, outputs)", "第 l 层权重，（输入, 输出）"),
            r"\delta_l": tr("gradient of the loss by zₗ, same shape as zₗ", "损失对 zₗ 的梯度，形状同 zₗ"),
            "L": tr("squared error of output and target, a number", "输出与目标的平方误差，一个数"),
        },
        inputs=BackPropagationInputs,
        example=_back_propagation_example,
        picture=_back_propagation_picture,
        pitfalls=(
            tr(
                "Compare with finite differences in float64: in float32 the difference drowns in rounding.",
                "用有限差分核对时须用 float64：float32 的舍入会淹没差值。",
            ),
            tr(
                "Gradients add up over calls; forgetting to clear them mixes this step with the last.",
                "梯度会跨调用累加；忘记清零，就把这一步与上一步混在一起。",
            ),
        ),
        papers=(RUMELHART,),
        theory=(theory.network_forward, theory.network_backward, theory.affine_gradient),
        practice=("zhixing.training.loop:_step",),
        related=("neuron", "squared-error"),
    )


def _back_propagation_example(inputs: BackPropagationInputs) -> Iterator[Step]:
    x, layers, target = inputs.arrays()
    f, derivative = ACTIVATIONS[inputs.activation]
    z, y = theory.network_forward(x, layers, f)
    units, names = numbered("h", z.shape[1]), numbered("x", x.shape[1])
    yield Step(tr("forward: the hidden sums", "前向：隐层总和"), z[0], "z_1 = x W_1", columns=units)
    yield Step(tr("forward: bent", "前向：激活"), f(z)[0], "a_1 = f(z_1)", columns=units)
    loss = losses.squared_error(y, target)
    yield Step(tr(f"forward: output {y.item():g}, and its loss", f"前向：输出 {y.item():g}，其损失为"), loss, "L")
    upstream = losses.squared_error_gradient(y, target)
    yield Step(tr("back: by the output", "反向：对输出"), upstream.item(), r"\delta_2 = 2(z_2 - y)")
    _, ((first, delta), (second, _)) = theory.network_backward(x, layers, f, derivative, upstream)
    yield Step(tr("back: by the second weights", "反向：对第二层权重"), second[:, 0], r"a_1^\top \delta_2", (), units)
    yield Step(tr("back: by the hidden sums", "反向：对隐层总和"), delta, r"\delta_1", columns=units)
    yield Step(tr("back: by the first weights", "反向：对第一层权重"), first, r"x^\top \delta_1", names, units)
    moved = [_loss_with_first_weight(inputs, h) for h in (1e-6, -1e-6)]
    yield Step(
        tr("check: move the first weight a little both ways", "核对：把第一个权重向两边各移一点"),
        (moved[0] - moved[1]) / 2e-6,
        r"\frac{L(w + h) - L(w - h)}{2h}",
    )


def _loss_with_first_weight(inputs: BackPropagationInputs, change: float) -> float:
    x, layers, target = inputs.arrays()
    layers[0][0][0, 0] += change
    return losses.squared_error(theory.network_forward(x, layers, ACTIVATIONS[inputs.activation][0])[-1], target)


def _back_propagation_picture(inputs: BackPropagationInputs) -> Tree:
    x, layers, target = inputs.arrays()
    f, derivative = ACTIVATIONS[inputs.activation]
    z, y = theory.network_forward(x, layers, f)
    upstream = losses.squared_error_gradient(y, target)
    _, ((first, delta), _) = theory.network_backward(x, layers, f, derivative, upstream)
    units = tuple(
        Tree(
            f"h{j + 1}: z = {z[0, j]:.4g}, ∂L/∂z = {delta[j] + 0.0:.4g}",
            tuple(Tree(f"x{i + 1} = {x[0, i]:.4g}, ∂L/∂w = {first[i, j] + 0.0:.4g}") for i in range(x.shape[1])),
        )
        for j in range(z.shape[1])
    )
    output = Tree(f"y = {y.item():.4g}, ∂L/∂y = {upstream.item():.4g}", units)
    return Tree(f"L = {losses.squared_error(y, target):.4g}", (output,))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (neuron, activations, swiglu, back_propagation)
