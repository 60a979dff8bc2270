"""What the topics of hidden Markov models share: the small tagger they start from, and their symbols."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.topics.inputs import Matrix, Vector, require, require_distribution, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import hmm as theory

RABINER = "Rabiner 1989, A tutorial on hidden Markov models and selected applications in speech recognition"
PASSES = "zhixing.models.hmm_passes:"


class HmmInputs(Settings):
    """A small tagger: two states, four words, one text."""

    states: tuple[str, ...] = setting(("noun", "verb"), "hidden states", "隐状态", min_length=1, max_length=5)
    symbols: tuple[str, ...] = setting(
        ("fish", "swim", "can", "rivers"), "symbols that can be seen", "可观测符号", min_length=1, max_length=8
    )
    start: Vector = setting((0.8, 0.2), "probability of each first state", "各初始状态的概率")
    transition: Matrix = setting(
        ((0.3, 0.7), (0.6, 0.4)), "one row per state: where it goes next", "每个状态一行：下一状态的概率"
    )
    emission: Matrix = setting(
        ((0.4, 0.1, 0.2, 0.3), (0.2, 0.5, 0.3, 0.0)),
        "one row per state: which symbol it shows",
        "每个状态一行：发射各符号的概率",
    )
    observed: tuple[str, ...] = setting(
        ("fish", "can", "swim"), "the text that is seen", "观测到的文本", min_length=2, max_length=8
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        states = len(self.states)
        require_length("start", self.start, states)
        require_shape("transition", self.transition, states, states)
        require_shape("emission", self.emission, states, len(self.symbols))
        for name, row in (("start", self.start), *(("transition", r) for r in self.transition)):
            require_distribution(name, row)
        for row in self.emission:
            require_distribution("emission", row)
        unknown = [symbol for symbol in self.observed if symbol not in self.symbols]
        require(
            not unknown,
            f"observed {unknown} are none of the symbols: {', '.join(self.symbols)}",
            f"观测 {unknown} 不在符号之中：{', '.join(self.symbols)}",
        )
        require(
            bool(np.isfinite(theory.viterbi_scores(self.model(), self.ids())[0][-1]).any()),
            "no sequence of states can show this text; raise a probability that is 0",
            "没有任何状态序列能产生该文本；请增大某个为 0 的概率",
        )
        return self

    def model(self) -> theory.HiddenMarkovModel:
        """The model that theory takes."""
        return theory.HiddenMarkovModel(np.array(self.start), np.array(self.transition), np.array(self.emission))

    def ids(self) -> NDArray[np.int64]:
        """The text as numbers (T,)."""
        return np.array([self.symbols.index(symbol) for symbol in self.observed])

    def times(self) -> tuple[str, ...]:
        """The text with its positions, so that no two columns have one label."""
        return tuple(f"{index + 1} {symbol}" for index, symbol in enumerate(self.observed))


def symbols(*more: tuple[str, str]) -> dict[str, str]:
    """Return what the letters of every hidden Markov model mean, and ``more`` after them."""
    return {
        r"\pi_i": tr("probability that the first state is i; (S,)", "初始状态为 i 的概率；(S,)"),
        "a_{ij}": tr("probability of going from state i to j; (S, S)", "从状态 i 转移到 j 的概率；(S, S)"),
        "b_j(x)": tr("probability that state j shows symbol x; (S, V)", "状态 j 发射符号 x 的概率；(S, V)"),
        "x_t, z_t": tr(
            "the symbol seen and the state hidden at time t, 1 to T", "t 时刻的观测符号与隐状态，t 从 1 到 T"
        ),
        **dict(more),
    }
