"""Topics of losses: what training makes small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import language_modelling
from zhixing.explain.topics.inputs import Vector, numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import losses as theory
from zhixing.theory.networks import log_softmax, sigmoid, softmax


class SquaredErrorInputs(Settings):
    """Predictions and what was to be predicted."""

    prediction: Vector = setting((2.5, 0.0, 2.0), "predictions", "预测值", min_length=1)
    target: Vector = setting((3.0, -0.5, 2.0), "the true values", "真实值", min_length=1)

    @model_validator(mode="after")
    def _one_target_each(self) -> Self:
        require_length("target", self.target, len(self.prediction))
        return self


def squared_error() -> Topic[SquaredErrorInputs]:
    """Mean squared error."""
    return Topic(
        name="squared-error",
        family="losses",
        title=tr("Mean squared error", "均方误差"),
        idea=(
            tr("How far are predicted numbers from the true ones?", "预测的数与真实的数相差多远？"),
            tr("Square each difference and average.", "将每个差平方，再取平均。"),
            tr(
                "Large misses count far more than small ones, and the best constant answer is the mean.",
                "大误差的分量远超小误差；若只能答一个常数，最佳者为均值。",
            ),
        ),
        formula=(
            r"L = \frac{1}{n} \sum_{i=1}^{n} (\hat{y}_i - y_i)^2",
            r"\frac{\partial L}{\partial \hat{y}_i} = \frac{2}{n} (\hat{y}_i - y_i)",
        ),
        symbols={
            r"\hat{y}": tr("predictions, n numbers", "预测值，n 个数"),
            "y": tr("true values, n numbers", "真实值，n 个数"),
            "L": tr("the loss, in squared units of y", "损失，单位为 y 之平方"),
        },
        inputs=SquaredErrorInputs,
        example=_squared_error_example,
        pitfalls=(
            tr(
                "Some texts put 1/2 in front so that the gradient has no 2: learning rates then differ by that factor.",
                "有的教材在前面加 1/2 以消去梯度中的 2：学习率因此相差一倍。",
            ),
            tr(
                "On a sigmoid's output a confident mistake has almost no gradient; use cross-entropy for classes.",
                "若作用于 sigmoid 的输出，自信的错误几乎没有梯度；分类应用交叉熵。",
            ),
            tr(
                "A target (N,) against a prediction (N, 1) broadcasts to (N, N) without any complaint.",
                "目标 (N,) 与预测 (N, 1) 会悄然广播成 (N, N)。",
            ),
        ),
        papers=("Legendre 1805, Nouvelles méthodes pour la détermination des orbites des comètes, appendix",),
        theory=(theory.squared_error, theory.squared_error_gradient),
        related=("cross-entropy", "back-propagation"),
    )


def _squared_error_example(inputs: SquaredErrorInputs) -> Iterator[Step]:
    prediction, target = np.array(inputs.prediction), np.array(inputs.target)
    names = numbered("y", len(target))
    yield Step(tr("differences", "差"), prediction - target, r"\hat{y} - y", columns=names)
    yield Step(tr("squared", "平方"), (prediction - target) ** 2, r"(\hat{y} - y)^2", columns=names)
    yield Step(tr("their mean", "取平均"), theory.squared_error(prediction, target), "L")
    gradient = theory.squared_error_gradient(prediction, target)
    yield Step(tr("the gradient", "梯度"), gradient, r"\frac{2}{n}(\hat{y} - y)", columns=names)


class CrossEntropyInputs(Settings):
    """Scores of a few classes and the right one."""

    classes: tuple[str, ...] = setting(("cat", "dog", "bird"), "classes", "类别", min_length=2)
    logits: Vector = setting((2.0, 1.0, 0.0), "their scores (logits)", "各类别的得分（logit）", min_length=2)
    target: str = setting("cat", "the right class", "正确类别")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("logits", self.logits, len(self.classes))
        known = ", ".join(self.classes)
        require(
            self.target in self.classes,
            f"target '{self.target}' is none of the classes: {known}",
            f"目标 '{self.target}' 不在类别之中：{known}",
        )
        return self

    def arrays(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Logits (1, V) and target (1,)."""
        return np.array([self.logits]), np.array([self.classes.index(self.target)])


def cross_entropy() -> Topic[CrossEntropyInputs]:
    """The negative log-probability of the right class."""
    return Topic(
        name="cross-entropy",
        family="losses",
        title=tr("Cross-entropy", "交叉熵"),
        idea=(
            tr("How surprised is a classifier by the right answer?", "正确答案让分类器有多意外？"),
            tr(
                "The loss is the negative logarithm of the probability that softmax gave to the right class.",
                "损失即 softmax 给正确类别的概率之负对数。",
            ),
            tr(
                "Certainty costs nothing, a wrong certainty costs without bound; the gradient is simply p minus truth.",
                "确信而正确则无损失，确信而错误则损失无界；梯度恰为 p 减去真值。",
            ),
        ),
        formula=(
            r"L = -\frac{1}{N} \sum_{n=1}^{N} \log \operatorname{softmax}(x_n)_{y_n}",
            r"\frac{\partial L}{\partial x_n} = \frac{1}{N} (p_n - \operatorname{onehot}(y_n))",
        ),
        symbols={
            "x_n": tr("scores of row n; x is (N, V)", "第 n 行的得分；x 形状为 (N, V)"),
            "y_n": tr("number of the right class; y is (N,)", "正确类别的编号；y 形状为 (N,)"),
            "p_n": tr("softmax of xₙ", "xₙ 的 softmax"),
            "L": tr("mean loss, nats", "平均损失，单位奈特"),
        },
        inputs=CrossEntropyInputs,
        example=_cross_entropy_example,
        picture=_cross_entropy_picture,
        pitfalls=(
            tr(
                "Give the function logits, not probabilities: softmax twice still trains, only badly.",
                "应传入 logit 而非概率：做两次 softmax 也能训练，只是效果差。",
            ),
            tr(
                "Only the right class's term counts; the terms (1-y) log(1-p) belong to binary cross-entropy.",
                "只有正确类别那一项计入；(1-y) log(1-p) 属于二元交叉熵。",
            ),
            tr(
                "Natural logarithm gives nats, base two gives bits; divide by log 2 to compare.",
                "自然对数得奈特，以二为底得比特；除以 log 2 方可比较。",
            ),
        ),
        papers=("Bridle 1990, Probabilistic interpretation of feedforward classification network outputs",),
        theory=(theory.cross_entropy, theory.cross_entropy_gradient, theory.one_hot, log_softmax),
        practice=("zhixing.nn.losses:cross_entropy_sum", "zhixing.nn.losses:linear_cross_entropy_sum"),
        related=("temperature", "label-smoothing", "perplexity"),
    )


def _cross_entropy_example(inputs: CrossEntropyInputs) -> Iterator[Step]:
    logits, target = inputs.arrays()
    yield Step(tr("softmax of the scores", "得分的 softmax"), softmax(logits)[0], "p", columns=inputs.classes)
    yield Step(tr("logarithms", "取对数"), log_softmax(logits)[0], r"\log p", columns=inputs.classes)
    loss = theory.cross_entropy(logits, target)
    yield Step(tr(f"the loss: that of '{inputs.target}'", f"损失：取“{inputs.target}”一项"), loss, r"-\log p_y")
    gradient = theory.cross_entropy_gradient(logits, target)[0]
    yield Step(tr("the gradient", "梯度"), gradient, r"p - \operatorname{onehot}(y)", columns=inputs.classes)


def _cross_entropy_picture(inputs: CrossEntropyInputs) -> Lines:
    p = np.linspace(0.01, 1.0, 100)
    return Lines(tr("loss against p of the right class", "损失与正确类别之概率"), p, {"−log p": -np.log(p)}, "p", "L")


class BinaryCrossEntropyInputs(Settings):
    """Logits of independent yes-no questions, and their answers."""

    logits: Vector = setting((0.0, 2.0, -1.0), "one logit per question", "每个问题一个 logit", min_length=1)
    targets: Vector = setting((1.0, 1.0, 0.0), "answers, 0 to 1", "答案，0 至 1", min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("targets", self.targets, len(self.logits))
        inside = all(0 <= value <= 1 for value in self.targets)
        require(inside, "targets must lie between 0 and 1", "targets 须在 0 与 1 之间")
        return self


def binary_cross_entropy() -> Topic[BinaryCrossEntropyInputs]:
    """Cross-entropy of yes-no questions."""
    return Topic(
        name="binary-cross-entropy",
        family="losses",
        title=tr("Binary cross-entropy", "二元交叉熵"),
        idea=(
            tr("How to score independent yes-no predictions?", "怎样评判彼此独立的是非预测？"),
            tr(
                "Each logit passes through a sigmoid and pays the negative logarithm of what it gave the truth.",
                "每个 logit 经 sigmoid 变为概率，按其给真值之概率的负对数计损失。",
            ),
            tr(
                "Several answers may be yes at once, unlike with softmax, where the classes share one unit of belief.",
                "多个答案可同时为“是”；而 softmax 中各类别共分一份概率。",
            ),
        ),
        formula=(
            r"L = -\frac{1}{n} \sum_{i=1}^{n} (y_i \log \sigma(x_i) + (1 - y_i) \log(1 - \sigma(x_i)))",
            r"\frac{\partial L}{\partial x_i} = \frac{1}{n} (\sigma(x_i) - y_i)",
        ),
        symbols={
            "x_i": tr("logit of question i; n numbers", "第 i 个问题的 logit；共 n 个"),
            "y_i": tr("its answer, 0 to 1", "其答案，0 至 1"),
            r"\sigma": tr("sigmoid", "sigmoid 函数"),
            "L": tr("mean loss, nats", "平均损失，单位奈特"),
        },
        inputs=BinaryCrossEntropyInputs,
        example=_binary_cross_entropy_example,
        picture=_binary_cross_entropy_picture,
        pitfalls=(
            tr(
                "log(1 - sigmoid(40)) is minus infinity in floats; the form max(x,0) - xy + log(1+exp(-|x|)) is safe.",
                "浮点数中 log(1 - sigmoid(40)) 为负无穷；max(x,0) - xy + log(1+exp(-|x|)) 才安全。",
            ),
            tr(
                "Mean over all n differs from the sum over labels and mean over rows by the number of labels.",
                "对全部 n 项取平均，与“标签求和、样本取平均”相差标签数倍。",
            ),
        ),
        papers=("Goodfellow, Bengio & Courville 2016, Deep Learning, section 6.2.2.2",),
        theory=(theory.binary_cross_entropy, theory.binary_cross_entropy_gradient, sigmoid),
        related=("cross-entropy", "activations"),
    )


def _binary_cross_entropy_example(inputs: BinaryCrossEntropyInputs) -> Iterator[Step]:
    logits, targets = np.array(inputs.logits), np.array(inputs.targets)
    names = numbered("x", len(logits))
    yield Step(tr("probability of yes", "“是”的概率"), sigmoid(logits), r"\sigma(x)", columns=names)
    each = np.array([theory.binary_cross_entropy(x, y) for x, y in zip(logits[:, None], targets[:, None], strict=True)])
    yield Step(tr("each one's loss", "各项损失"), each, columns=names)
    yield Step(tr("their mean", "取平均"), theory.binary_cross_entropy(logits, targets), "L")
    gradient = theory.binary_cross_entropy_gradient(logits, targets)
    yield Step(tr("the gradient", "梯度"), gradient, r"\frac{1}{n}(\sigma(x) - y)", columns=names)


def _binary_cross_entropy_picture(inputs: BinaryCrossEntropyInputs) -> Lines:
    x = np.linspace(-6.0, 6.0, 121)
    curves = {
        f"y = {y:g}": np.array([theory.binary_cross_entropy(np.array([v]), np.array([y])) for v in x])
        for y in (1.0, 0.0)
    }
    return Lines(tr("loss against the logit", "损失与 logit"), x, curves, "x", "L")


class LabelSmoothingInputs(CrossEntropyInputs):
    """The same, with a share of belief spread over all classes."""

    smoothing: float = setting(0.1, "share spread evenly", "均匀分出的份额", ge=0, lt=1)


def label_smoothing() -> Topic[LabelSmoothingInputs]:
    """Cross-entropy to a softened truth."""
    return Topic(
        name="label-smoothing",
        family="losses",
        title=tr("Label smoothing", "标签平滑"),
        idea=(
            tr(
                "Cross-entropy to a hard label is never satisfied: it pushes the scores apart for ever.",
                "对硬标签的交叉熵永不满足：它会不断把得分推开。",
            ),
            tr(
                "Give the right class a little less than one, and share the rest evenly among all classes.",
                "让正确类别略少于一，余下的由所有类别均分。",
            ),
            tr(
                "The best scores are then finite, and the model is less overconfident.",
                "于是最优得分有限，模型也不至过分自信。",
            ),
        ),
        formula=(
            r"q = (1 - \varepsilon) \operatorname{onehot}(y) + \frac{\varepsilon}{V}",
            r"L = -\frac{1}{N} \sum_{n=1}^{N} \sum_{i=1}^{V} q_{n,i} \log p_{n,i}",
        ),
        symbols={
            r"\varepsilon": tr("share spread evenly, 0 to 1", "均匀分出的份额，0 至 1"),
            "q": tr("softened truth, (N, V), rows sum to one", "平滑后的目标，(N, V)，每行和为一"),
            "p": tr("softmax of the scores, (N, V)", "得分的 softmax，(N, V)"),
            "L": tr("mean loss, nats", "平均损失，单位奈特"),
        },
        inputs=LabelSmoothingInputs,
        example=_label_smoothing_example,
        picture=_label_smoothing_picture,
        pitfalls=(
            tr(
                "Some programs share the rest among the other V-1 classes only: their ε is ours times (V-1)/V.",
                "有的程序只分给其余 V-1 类：其 ε 等于这里的 ε 乘以 (V-1)/V。",
            ),
            tr(
                "The smallest loss is the entropy of q, not 0: report perplexity from the unsmoothed loss.",
                "最小损失是 q 的熵而非 0：报告困惑度应用未平滑的损失。",
            ),
        ),
        papers=("Szegedy et al. 2016, Rethinking the Inception architecture for computer vision, section 7",),
        theory=(theory.label_smoothed_cross_entropy, theory.label_smoothed_cross_entropy_gradient),
        related=("cross-entropy",),
    )


def _smoothed(inputs: LabelSmoothingInputs) -> NDArray[Any]:
    _, target = inputs.arrays()
    count = len(inputs.classes)
    return np.asarray((1 - inputs.smoothing) * theory.one_hot(target, count)[0] + inputs.smoothing / count)


def _label_smoothing_example(inputs: LabelSmoothingInputs) -> Iterator[Step]:
    logits, target = inputs.arrays()
    yield Step(tr("the softened truth", "平滑后的目标"), _smoothed(inputs), "q", columns=inputs.classes)
    yield Step(tr("log-probabilities", "对数概率"), log_softmax(logits)[0], r"\log p", columns=inputs.classes)
    loss = theory.label_smoothed_cross_entropy(logits, target, inputs.smoothing)
    yield Step(tr("the loss", "损失"), loss, r"-\sum_i q_i \log p_i")
    yield Step(tr("without smoothing", "不平滑时"), theory.cross_entropy(logits, target), r"-\log p_y")
    gradient = theory.label_smoothed_cross_entropy_gradient(logits, target, inputs.smoothing)[0]
    yield Step(tr("the gradient", "梯度"), gradient, "p - q", columns=inputs.classes)


def _label_smoothing_picture(inputs: LabelSmoothingInputs) -> Bars:
    p = softmax(np.array(inputs.logits))
    title = tr("softened truth and prediction", "平滑后的目标与预测")
    return Bars(title, inputs.classes, {"q": _smoothed(inputs), "p": p})


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    squared_error,
    cross_entropy,
    binary_cross_entropy,
    label_smoothing,
    *language_modelling.TOPICS,
)
