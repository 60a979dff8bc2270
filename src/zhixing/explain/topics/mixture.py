"""Topics of mixtures: several models asked at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require_distribution, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import mixture as theory


class MixtureInputs(Settings):
    """What each model gave to the tokens of a held-out text, and the weights to start from."""

    members: tuple[str, ...] = setting(("n-gram", "Llama"), "the models (M)", "各模型 (M)", min_length=1)
    probabilities: Matrix = setting(
        ((0.2, 0.6), (0.1, 0.1), (0.5, 0.1)),
        "what each gave to each token (N, M)",
        "各模型给各词元的概率 (N, M)",
        min_length=1,
    )
    weights: Vector = setting((0.5, 0.5), "weights to start from (M,)", "初始权重 (M,)")
    steps: int = setting(20, "steps of EM", "EM 的步数", unit="steps", ge=1, le=1000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_shape("probabilities", self.probabilities, len(self.probabilities), len(self.members))
        require_length("weights", self.weights, len(self.members))
        require_distribution("weights", self.weights)
        return self

    @model_validator(mode="after")
    def _every_token_possible(self) -> Self:
        for number, row in enumerate(self.probabilities, 1):
            valid = all(0 <= p <= 1 for p in row)
            mixed = sum(p * w for p, w in zip(row, self.weights, strict=True))
            if not valid or mixed <= 0:
                raise ValueError(
                    tr(
                        f"row {number} of probabilities must lie between 0 and 1 and be above 0 for a weighted model",
                        f"probabilities 第 {number} 行须在 0 与 1 之间，且至少一个有权重的模型大于 0",
                    )
                )
        return self


def mixture() -> Topic[MixtureInputs]:
    """Interpolating models, and finding the weights by EM."""
    return Topic(
        name="mixture",
        family="mixture",
        title=tr("Mixtures and their weights by EM", "混合模型与 EM 求权重"),
        idea=(
            tr(
                "Two models err in different places: can both together be better than either?",
                "两个模型错在不同之处：合起来能否胜过任何一个？",
            ),
            tr(
                "Average their probabilities with weights; a step of EM gives each model the mean share it is owed.",
                "以权重平均其概率；EM 每一步把各模型应得份额的平均值作为新权重。",
            ),
            tr(
                "The likelihood never falls, and one minute on held-out text finds the best weights.",
                "似然永不下降，在留出文本上片刻即得最优权重。",
            ),
        ),
        formula=(
            r"p(x) = \sum_{m=1}^{M} w_m\, p_m(x)",
            r"r_{nm} = \frac{w_m\, p_m(x_n)}{\sum_j w_j\, p_j(x_n)}",
            r"w_m \leftarrow \frac{1}{N} \sum_{n=1}^{N} r_{nm}",
        ),
        symbols={
            "p_m(x_n)": tr("what model m gave to token n, (N, M)", "模型 m 给词元 n 的概率，(N, M)"),
            "w_m": tr("weights, (M,), sum to one", "权重，(M,)，和为一"),
            "r_{nm}": tr("how far model m answers for token n, (N, M)", "模型 m 对词元 n 的责任，(N, M)"),
        },
        inputs=MixtureInputs,
        example=_mixture_example,
        picture=_mixture_picture,
        pitfalls=(
            tr(
                "Fit the weights on text that no member was trained on: on its own text the memoriser takes all.",
                "权重须在各模型都没见过的文本上求：在训练文本上，死记者会独占权重。",
            ),
            tr(
                "Average probabilities, not logarithms: the latter is another model and needs normalising.",
                "平均的是概率而非对数：后者是另一种模型，且须归一化。",
            ),
            tr(
                "A weight that starts at zero stays there for ever.",
                "初始为零的权重永远为零。",
            ),
        ),
        papers=(
            "Jelinek & Mercer 1980, Interpolated estimation of Markov source parameters from sparse data",
            "Dempster, Laird & Rubin 1977, Maximum likelihood from incomplete data via the EM algorithm",
        ),
        theory=(theory.interpolate, theory.em_step, theory.table_em_step),
        practice=("zhixing.models.mixture:mix", "zhixing.evaluation.fit_mixture:em_step"),
        related=("n-gram", "perplexity"),
    )


def _loss(inputs: MixtureInputs, weights: NDArray[Any]) -> float:
    """Mean negative log-probability of the tokens, nats."""
    return float(-np.log(theory.interpolate(inputs.probabilities, weights)).mean())


def _mixture_example(inputs: MixtureInputs) -> Iterator[Step]:
    p, weights = np.array(inputs.probabilities), np.array(inputs.weights)
    tokens = numbered("x", len(p))
    mixed = theory.interpolate(p, weights)
    yield Step(tr("the mixture's probabilities", "混合后的概率"), mixed, "p(x_n)", columns=tokens)
    share = p * weights / mixed[:, None]
    yield Step(tr("each model's share of each token", "各模型对各词元的责任"), share, "r_{nm}", tokens, inputs.members)
    once = theory.em_step(p, weights)
    yield Step(tr("their means: the new weights", "取平均：新的权重"), once, "w_m", columns=inputs.members)
    last = _path(inputs)[-1]
    says = tr(f"weights after {inputs.steps} steps", f"{inputs.steps} 步之后的权重")
    yield Step(says, last, "w_m", columns=inputs.members)
    losses = np.array([_loss(inputs, w) for w in (weights, once, last)])
    columns = tr("start", "起点"), tr("one step", "一步"), tr("end", "终点")
    yield Step(
        tr("nats per token on the way", "沿途的损失，奈特每词元"),
        losses,
        r"-\frac{1}{N} \sum_n \log p(x_n)",
        (),
        columns,
    )


def _path(inputs: MixtureInputs) -> NDArray[Any]:
    """The weights before and after each step, (steps + 1, M)."""
    path = [np.array(inputs.weights)]
    for _ in range(inputs.steps):
        path.append(theory.em_step(inputs.probabilities, path[-1]))
    return np.array(path)


def _mixture_picture(inputs: MixtureInputs) -> Lines:
    path = _path(inputs)
    curves = {name: path[:, m] for m, name in enumerate(inputs.members)}
    return Lines(
        tr("the weights, step by step", "权重逐步变化"), np.arange(float(len(path))), curves, tr("step", "步"), "w"
    )


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (mixture,)
