"""Topics of search: looking for the most probable text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, require, require_distribution, require_shape
from zhixing.language import tr
from zhixing.theory import decoding as theory


class BeamSearchInputs(Settings):
    """A model of three tokens in which the next depends on the last; the first token ends a text."""

    tokens: tuple[str, ...] = setting(
        ("END", "a", "b"), "tokens; the first ends a text", "词元；首个表示结束", min_length=2
    )
    first: Vector = setting((0.0, 0.6, 0.4), "probabilities of the first token", "首个词元的概率")
    following: Matrix = setting(
        ((1.0, 0.0, 0.0), (0.4, 0.3, 0.3), (0.9, 0.05, 0.05)),
        "row i: probabilities of what follows token i",
        "第 i 行：词元 i 之后各词元的概率",
    )
    beams: int = setting(2, "unfinished texts kept", "保留的未完成文本数", ge=1, le=8)
    alpha: float = setting(0.0, "of the length penalty; 0: none", "长度惩罚的指数；0 表示不用", ge=0)
    limit: int = setting(3, "most tokens", "最多词元数", ge=1, le=6)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        size = len(self.tokens)
        require(len(self.first) == size, f"first must have {size} entries", f"first 须有 {size} 项")
        require_shape("following", self.following, size, size)
        require_distribution("first", self.first)
        for row in self.following:
            require_distribution("following", row)
        require(size <= 8, "at most eight tokens", "至多八个词元")
        return self


def beam_search() -> Topic[BeamSearchInputs]:
    """Beam search with a length penalty."""
    return Topic(
        name="beam-search",
        family="decoding",
        title=tr("Beam search", "束搜索"),
        idea=(
            tr(
                "The best next token need not begin the best text: greedy decoding cannot take a choice back.",
                "最佳的下一词元未必是最佳文本的开头：贪心解码无法反悔。",
            ),
            tr(
                "Keep a few most probable beginnings, not one; extend each by every token, and keep the best again.",
                "不只保留一个开头，而是保留最可能的几个；逐一扩展，再择优保留。",
            ),
            tr(
                "Since every token lowers the probability, a text's sum is divided by a growing penalty on length.",
                "每添一个词元概率必降，故将对数概率之和除以随长度增大的惩罚项。",
            ),
        ),
        formula=(
            r"\log p(y) = \sum_{t=1}^{|y|} \log p(y_t \mid y_1, \ldots, y_{t-1})",
            r"s(y) = \frac{\log p(y)}{l(|y|)}",
            r"l(n) = \left(\frac{5 + n}{6}\right)^{\alpha}",
        ),
        symbols={
            "y": tr("a text: its tokens, the end included", "文本：其词元，含结束符"),
            "s(y)": tr("what finished texts are compared by", "完成的文本据以比较的得分"),
            "l(n)": tr("length penalty of n tokens", "n 个词元的长度惩罚"),
            r"\alpha": tr("its strength; 0.6 to 1 is usual", "其强度；通常 0.6 到 1"),
        },
        inputs=BeamSearchInputs,
        example=_beam_search_example,
        picture=_beam_search_picture,
        pitfalls=(
            tr(
                "Stopping as soon as enough texts have ended misses longer ones whose penalised score is better.",
                "一有足够文本结束就停止，会错过惩罚后得分更高的较长文本。",
            ),
            tr(
                "A wider beam finds more probable texts, not better ones: beyond about ten, translations get worse.",
                "束越宽，文本概率越高，却未必更好：超过十左右，译文往往变差。",
            ),
            tr(
                "Open-ended writing wants sampling: the most probable story is dull and repeats itself.",
                "开放式写作宜用采样：概率最高的故事乏味而重复。",
            ),
        ),
        papers=(
            "Lowerre 1976, The Harpy speech recognition system",
            "Wu et al. 2016, Google's neural machine translation system, section 7 and equation 14",
        ),
        theory=(theory.beam_search, theory.length_penalty, theory.penalised),
        practice=("zhixing.generation.beam:beam_search",),
        related=("temperature", "top-k", "speculative-decoding"),
    )


def _model(inputs: BeamSearchInputs) -> Callable[[tuple[int, ...]], NDArray[np.float64]]:
    def next_log_probs(ids: tuple[int, ...]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return np.log(np.array(inputs.following[ids[-1]] if ids else inputs.first))

    return next_log_probs


def _greedy(inputs: BeamSearchInputs) -> theory.Hypothesis:
    ids: tuple[int, ...] = ()
    total = 0.0
    while len(ids) < inputs.limit and (not ids or ids[-1] != 0):
        row = _model(inputs)(ids)
        ids, total = (*ids, int(row.argmax())), total + float(row.max())
    return ids, total


def _beam_search_example(inputs: BeamSearchInputs) -> Iterator[Step]:
    def shown(hypothesis: theory.Hypothesis) -> str:
        return f"{_text(inputs, hypothesis[0])} ({np.exp(hypothesis[1]):.4g})"

    says = tr("greedy: always the best token; probability in brackets", "贪心：总取最佳词元；括号内为概率")
    yield Step(says, shown(_greedy(inputs)))
    for length in range(1, inputs.limit + 1):
        best = theory.beam_search(_model(inputs), inputs.beams, length, 0, inputs.alpha)
        says = tr(f"the best {inputs.beams} after {length} tokens", f"{length} 个词元后最佳的 {inputs.beams} 个")
        yield Step(says, " · ".join(map(shown, best)))
    found = theory.beam_search(_model(inputs), inputs.beams, inputs.limit, 0, inputs.alpha)
    names = [_text(inputs, ids) for ids, _ in found]
    penalties = np.array([theory.length_penalty(len(ids), inputs.alpha) for ids, _ in found])
    yield Step(tr("their length penalties", "各自的长度惩罚"), penalties, "l(|y|)", columns=names)
    scores = np.array([theory.penalised(hypothesis, inputs.alpha) for hypothesis in found])
    yield Step(
        tr("log-probability divided by it: the first wins", "对数概率除以它：首者胜出"), scores, "s(y)", columns=names
    )


def _text(inputs: BeamSearchInputs, ids: tuple[int, ...]) -> str:
    return " ".join(inputs.tokens[token] for token in ids)


def _beam_search_picture(inputs: BeamSearchInputs) -> Tree:
    """Every beginning of the texts that were best after some length."""
    kept: dict[tuple[int, ...], float] = {}
    for length in range(1, inputs.limit + 1):
        for ids, _ in theory.beam_search(_model(inputs), inputs.beams, length, 0, inputs.alpha):
            for end in range(1, len(ids) + 1):
                kept[ids[:end]] = sum(float(_model(inputs)(ids[:place])[ids[place]]) for place in range(end))

    def branch(ids: tuple[int, ...]) -> Tree:
        children = tuple(branch(other) for other in sorted(kept) if other[:-1] == ids)
        return Tree(f"{inputs.tokens[ids[-1]]} {np.exp(kept[ids]):.4g}" if ids else "·", children)

    return branch(())


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (beam_search,)
