"""Topic of hidden Markov models: learning without tags."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zhixing.config import setting
from zhixing.explain.pictures import Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.hmm_inputs import PASSES, RABINER, HmmInputs, symbols
from zhixing.language import tr
from zhixing.theory import hmm as theory


class BaumWelchInputs(HmmInputs):
    """A model to be improved, and how often."""

    passes: int = setting(10, "passes of Baum-Welch", "Baum-Welch 迭代次数", ge=1, le=100)


def baum_welch() -> Topic[BaumWelchInputs]:
    """Learning without tags: count what is expected."""
    return Topic(
        name="baum-welch",
        family="hmm",
        title=tr("Baum–Welch", "Baum–Welch 算法"),
        idea=(
            tr(
                "How can the tables be learned from text whose states nobody wrote down?",
                "无人标注状态时，怎样从文本学得这些概率表？",
            ),
            tr(
                "Ask the present model how probable each state and move is, count with those fractions, and divide.",
                "先由现有模型给出各状态、各转移的概率，以此为份额计数，再归一化。",
            ),
            tr(
                "Each pass makes the text more likely, or leaves it where it was: expectation-maximisation.",
                "每一遍都使文本的概率上升或不变：此即期望最大化（EM）。",
            ),
        ),
        formula=(
            r"\gamma_t(i) = \hat\alpha_t(i) \hat\beta_t(i)",
            r"\xi_t(i,j) = \frac{\hat\alpha_t(i) a_{ij} b_j(x_{t+1}) \hat\beta_{t+1}(j)}{c_{t+1}}",
            r"a_{ij} \leftarrow \frac{\sum_t \xi_t(i,j)}{\sum_t \sum_k \xi_t(i,k)}",
            r"b_j(v) \leftarrow \frac{\sum_{t: x_t = v} \gamma_t(j)}{\sum_t \gamma_t(j)}",
        ),
        symbols=symbols(
            (r"\gamma_t(i)", tr("p(state i at t | the whole text); (T, S)", "已知全文时 t 处为状态 i 的概率；(T, S)")),
            (
                r"\xi_t(i,j)",
                tr(
                    "p(i at t, j at t+1 | the whole text); (T-1, S, S)",
                    "已知全文时 t 处为 i、t+1 处为 j 的概率；(T-1, S, S)",
                ),
            ),
            (r"\hat\alpha, \hat\beta, c", tr("forward, backward and their scales", "前向、后向概率及其缩放因子")),
        ),
        inputs=BaumWelchInputs,
        example=_baum_welch_example,
        picture=_baum_welch_picture,
        pitfalls=_baum_welch_pitfalls(),
        papers=(
            f"{RABINER}, section III.C",
            "Baum, Petrie, Soules & Weiss 1970, A maximization technique occurring in the statistical analysis of "
            "probabilistic functions of Markov chains",
        ),
        theory=(theory.baum_welch_step, theory.expected_counts, theory.transition_posteriors, theory.normalise),
        practice=("zhixing.models.hmm:HmmModel.fit", f"{PASSES}expected_counts"),
        related=("hidden-markov-model", "forward-algorithm"),
    )


def _baum_welch_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "States that start equal stay equal for ever: begin with random tables, not uniform ones.",
            "起点相同的状态将永远相同：应以随机而非均匀的概率表开始。",
        ),
        tr(
            "It climbs to the nearest top, not the highest: try several starts and keep the most likely.",
            "它只爬到附近的峰顶，未必最高：应多试几个起点，取似然最大者。",
        ),
        tr(
            "A probability that is 0 stays 0, so tables without smoothing never learn a word they excluded.",
            "为 0 的概率永远为 0：未平滑的概率表永远学不会曾被排除的词。",
        ),
        tr(
            "The last position has a state but no move: leave it out of the denominator of a.",
            "末位有状态而无转移：计算 a 的分母时须排除之。",
        ),
    )


def _baum_welch_example(inputs: BaumWelchInputs) -> Iterator[Step]:
    model, ids = inputs.model(), inputs.ids()
    gamma = theory.state_posteriors(model, ids)
    yield Step(
        tr("each state's share of each time", "各时刻各状态的份额"),
        gamma,
        r"\gamma_t(i)",
        rows=inputs.times(),
        columns=inputs.states,
    )
    _, moves, shown = theory.expected_counts(model, [ids])
    yield Step(
        tr("moves expected", "期望转移次数"), moves, r"\sum_t \xi_t(i,j)", rows=inputs.states, columns=inputs.states
    )
    yield Step(
        tr("symbols expected", "期望发射次数"),
        shown,
        r"\sum_{t: x_t = v} \gamma_t(j)",
        rows=inputs.states,
        columns=inputs.symbols,
    )
    better = theory.baum_welch_step(model, [ids])
    yield Step(
        tr("divide: the new moves", "归一化得新的转移概率"),
        better.transition,
        "a_{ij}",
        rows=inputs.states,
        columns=inputs.states,
    )
    yield Step(
        tr("and the new symbols", "以及新的发射概率"),
        better.emission,
        "b_j(v)",
        rows=inputs.states,
        columns=inputs.symbols,
    )
    yield Step(tr("log-likelihood before", "更新前的对数似然"), theory.log_likelihood(model, ids), r"\log p(x)")
    yield Step(tr("and after", "更新后"), theory.log_likelihood(better, ids), r"\log p(x)")


def _baum_welch_picture(inputs: BaumWelchInputs) -> Lines:
    model, values = inputs.model(), []
    for _ in range(inputs.passes + 1):
        values.append(theory.log_likelihood(model, inputs.ids()))
        model = theory.baum_welch_step(model, [inputs.ids()])
    title = tr("the log-likelihood never falls", "对数似然从不下降")
    x = np.arange(inputs.passes + 1, dtype=float)
    return Lines(title, x, {"log p(x)": np.array(values)}, tr("passes", "迭代次数"), tr("nats", "奈特"))
