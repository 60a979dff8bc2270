"""Topics of normalisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, numbered, require_length
from zhixing.language import tr
from zhixing.theory import normalisation as theory


class RmsNormInputs(Settings):
    """One token's vector, and a gain for each entry."""

    x: Vector = setting((1.0, 7.0), "the token's vector (D,)", "词元的向量 (D,)", min_length=1)
    gain: Vector = setting((1.0, 1.0), "gains (D,)", "增益 (D,)", min_length=1)
    epsilon: float = setting(1e-6, "keeps the root above zero", "使根号大于零的小数", gt=0)

    @model_validator(mode="after")
    def _one_gain_each(self) -> Self:
        require_length("gain", self.gain, len(self.x))
        return self


class LayerNormInputs(RmsNormInputs):
    """The same, and a shift for each entry."""

    x: Vector = setting((1.0, 3.0, 5.0, 7.0), "the token's vector (D,)", "词元的向量 (D,)", min_length=1)
    gain: Vector = setting((1.0, 1.0, 2.0, 1.0), "gains (D,)", "增益 (D,)", min_length=1)
    shift: Vector = setting((0.0, 0.0, 0.0, 0.5), "shifts (D,)", "平移 (D,)", min_length=1)
    epsilon: float = setting(1e-5, "keeps the root above zero", "使根号大于零的小数", gt=0)

    @model_validator(mode="after")
    def _one_shift_each(self) -> Self:
        require_length("shift", self.shift, len(self.x))
        return self


def layer_norm() -> Topic[LayerNormInputs]:
    """Every vector to mean 0 and variance 1."""
    return Topic(
        name="layer-norm",
        family="normalisation",
        title=tr("Layer normalisation", "层归一化"),
        idea=(
            tr(
                "In a deep network the size of activations drifts from layer to layer, and training becomes unstable.",
                "深层网络中激活值的大小逐层漂移，训练变得不稳。",
            ),
            tr(
                "Give each token's vector mean 0 and variance 1; a learned gain and shift restore what is needed.",
                "将每个词元的向量化为均值 0、方差 1，再由学得的增益与平移恢复所需。",
            ),
            tr(
                "Each vector is treated alone, so neither the batch nor the length of the text matters.",
                "每个向量各自处理，故与批的大小、文本的长短无关。",
            ),
        ),
        formula=(r"y = \gamma \odot \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta",),
        symbols={
            "x": tr("one token's vector, (D,)", "一个词元的向量，(D,)"),
            r"\mu": tr("mean of its D entries", "其 D 项的均值"),
            r"\sigma^2": tr("their variance, divided by D", "其方差，除以 D"),
            r"\gamma, \beta": tr("learned gain and shift, (D,)", "学得的增益与平移，(D,)"),
            r"\varepsilon": tr("small number, 1e-5", "小数，1e-5"),
        },
        inputs=LayerNormInputs,
        example=_layer_norm_example,
        picture=_layer_norm_picture,
        pitfalls=(
            tr(
                "The variance divides by D, not D - 1: NumPy's var does, PyTorch's var by default does not.",
                "方差除以 D 而非 D - 1：NumPy 的 var 如此，PyTorch 的 var 默认并非如此。",
            ),
            tr(
                "ε stands inside the root; models differ in it (1e-5, 1e-6, 1e-12), and the logits with them.",
                "ε 在根号之内；各模型取值不同（1e-5、1e-6、1e-12），logit 也随之不同。",
            ),
            tr(
                "In half precision compute mean and variance in float32: the squares overflow.",
                "半精度下均值与方差须用 float32 计算：平方会溢出。",
            ),
        ),
        papers=("Ba, Kiros & Hinton 2016, Layer normalization, equation 4",),
        theory=(theory.layer_norm, theory.standardise, theory.layer_norm_gradient),
        practice=("zhixing.nn.norms:LayerNorm",),
        related=("rms-norm", "transformer-block"),
    )


def _layer_norm_example(inputs: LayerNormInputs) -> Iterator[Step]:
    x, gain, shift = np.array(inputs.x), np.array(inputs.gain), np.array(inputs.shift)
    names = numbered("x", len(x))
    yield Step(tr("mean", "均值"), float(x.mean()), r"\mu")
    yield Step(tr("mean square of the differences", "差的平方之均值"), float(x.var()), r"\sigma^2")
    standard = theory.standardise(x, inputs.epsilon)
    says = tr("take off the mean, divide by the root", "减去均值，除以平方根")
    yield Step(says, standard, r"\frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}}", columns=names)
    y = theory.layer_norm(x, gain, shift, inputs.epsilon)
    yield Step(tr("gain and shift", "乘增益，加平移"), y, "y", columns=names)


def _layer_norm_picture(inputs: LayerNormInputs) -> Bars:
    x = np.array(inputs.x)
    y = theory.layer_norm(x, np.array(inputs.gain), np.array(inputs.shift), inputs.epsilon)
    return Bars(tr("before and after", "之前与之后"), numbered("x", len(x)), {"x": x, "y": y})


def rms_norm() -> Topic[RmsNormInputs]:
    """Layer normalisation without mean and shift."""
    return Topic(
        name="rms-norm",
        family="normalisation",
        title=tr("RMS normalisation", "均方根归一化（RMSNorm）"),
        idea=(
            tr("What in layer normalisation is really needed?", "层归一化中真正必需的是什么？"),
            tr(
                "Only the size: divide each vector by its root mean square and multiply by a learned gain.",
                "只是大小：每个向量除以其均方根，再乘以学得的增益。",
            ),
            tr(
                "It is as good and cheaper, since no mean is taken off and no shift added.",
                "效果相当而更省：不减均值，也不加平移。",
            ),
        ),
        formula=(r"y = \gamma \odot \frac{x}{\sqrt{\frac{1}{D} \sum_{i=1}^{D} x_i^2 + \varepsilon}}",),
        symbols={
            "x": tr("one token's vector, (D,)", "一个词元的向量，(D,)"),
            r"\gamma": tr("learned gain, (D,)", "学得的增益，(D,)"),
            r"\varepsilon": tr("small number, 1e-5 or 1e-6", "小数，1e-5 或 1e-6"),
        },
        inputs=RmsNormInputs,
        example=_rms_norm_example,
        picture=_rms_norm_picture,
        pitfalls=(
            tr(
                "It equals layer normalisation only for vectors of mean 0.",
                "只有均值为 0 的向量，结果才与层归一化相同。",
            ),
            tr(
                "Some models store the gain minus one (Gemma); loaded as it is, every layer is nearly zero.",
                "有的模型存的是增益减一（Gemma）；照原样载入，每层几乎为零。",
            ),
        ),
        papers=("Zhang & Sennrich 2019, Root mean square layer normalization, equation 4",),
        theory=(theory.rms_norm, theory.root_mean_square, theory.rms_norm_gradient),
        practice=("zhixing.nn.norms:RMSNorm",),
        related=("layer-norm", "llama"),
    )


def _rms_norm_example(inputs: RmsNormInputs) -> Iterator[Step]:
    x, gain = np.array(inputs.x), np.array(inputs.gain)
    names = numbered("x", len(x))
    yield Step(tr("squares", "平方"), x**2, "x_i^2", columns=names)
    yield Step(
        tr("root of their mean", "均值的平方根"),
        theory.root_mean_square(x, inputs.epsilon).item(),
        r"\operatorname{RMS}(x)",
    )
    y = theory.rms_norm(x, gain, inputs.epsilon)
    yield Step(tr("divide, and multiply by the gain", "相除，再乘增益"), y, "y", columns=names)


def _rms_norm_picture(inputs: RmsNormInputs) -> Bars:
    x = np.array(inputs.x)
    y = theory.rms_norm(x, np.array(inputs.gain), inputs.epsilon)
    return Bars(tr("before and after", "之前与之后"), numbered("x", len(x)), {"x": x, "y": y})


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (layer_norm, rms_norm)
