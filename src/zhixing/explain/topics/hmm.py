"""Topics of hidden Markov models: the model, how likely a text is, its best states, and learning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.explain.pictures import HeatMap, Lattice
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.hmm_inputs import PASSES, RABINER, HmmInputs, symbols
from zhixing.explain.topics.hmm_learning import baum_welch
from zhixing.language import tr
from zhixing.theory import hmm as theory


def hidden_markov_model() -> Topic[HmmInputs]:
    """What the model says about states and symbols together."""
    return Topic(
        name="hidden-markov-model",
        family="hmm",
        title=tr("Hidden Markov model", "隐马尔可夫模型"),
        idea=(
            tr(
                "Words follow one another by rules about things that are not written down, such as parts of speech.",
                "词与词的衔接遵循某些并未写出的规律，例如词性。",
            ),
            tr(
                "Let a hidden state move from place to place at random, and show one symbol at each.",
                "设想一个隐状态随机转移，每到一处便发射一个符号。",
            ),
            tr(
                "Three tables then say everything, and all that must be remembered of the past is one state.",
                "于是三张概率表便说明了一切，而对过去只需记住一个状态。",
            ),
        ),
        formula=(
            r"p(x, z) = \pi_{z_1} b_{z_1}(x_1) \prod_{t=2}^{T} a_{z_{t-1} z_t} b_{z_t}(x_t)",
            r"p(x) = \sum_{z} p(x, z)",
        ),
        symbols=symbols(("S, V, T", tr("states, symbols, length of the text", "状态数、符号数、文本长度"))),
        inputs=HmmInputs,
        example=_model_example,
        picture=lambda inputs: HeatMap(
            tr("which state shows which symbol", "各状态发射各符号的概率"),
            np.array(inputs.emission),
            inputs.states,
            inputs.symbols,
            tr("state", "状态"),
            tr("symbol", "符号"),
        ),
        pitfalls=(
            tr(
                "Symbols are independent given their states: two words agree with each other only through the states.",
                "给定状态后各符号相互独立：词与词只能借状态间接呼应。",
            ),
            tr(
                "States learned without tags are not parts of speech; the names are ours, not the model's.",
                "未经标注而学得的状态并不就是词性；名称是人给的，不是模型的。",
            ),
            tr(
                "At most log S nats of the past bear on the future; a bigram, which keeps a word, has up to log V.",
                "历史对未来的影响至多 log S 奈特；二元模型记住一个词，可达 log V 奈特。",
            ),
        ),
        papers=(
            f"{RABINER}, section II",
            "Baum & Petrie 1966, Statistical inference for probabilistic functions of finite state Markov chains",
        ),
        theory=(theory.log_likelihood, theory.next_symbol, theory.count_tagged),
        practice=("zhixing.models.hmm:HmmModel", "zhixing.models.hmm:HmmModel.fit_tagged"),
        related=("forward-algorithm", "viterbi", "baum-welch"),
    )


def _model_example(inputs: HmmInputs) -> Iterator[Step]:
    model, ids = inputs.model(), inputs.ids()
    path = theory.viterbi(model, ids)
    yield Step(
        tr("take one path of states, here the best", "取一条状态路径，此处取最佳者"),
        " ".join(inputs.states[i] for i in path),
        "z",
    )
    moves = np.array([model.start[path[0]], *model.transition[path[:-1], path[1:]]])
    yield Step(
        tr("probability of each move", "各步转移的概率"), moves, r"\pi_{z_1},\ a_{z_{t-1} z_t}", columns=inputs.times()
    )
    shown = model.emission[path, ids]
    yield Step(tr("probability of each symbol", "各符号的发射概率"), shown, "b_{z_t}(x_t)", columns=inputs.times())
    yield Step(tr("their product", "相乘"), float(moves.prod() * shown.prod()), "p(x, z)")
    total = float(np.exp(theory.log_likelihood(model, ids)))
    yield Step(tr("the same, summed over all paths", "对所有路径求和"), total, "p(x)")
    yield Step(
        tr("what comes next, after this text", "此文本之后出现各符号的概率"),
        theory.next_symbol(model, ids),
        r"p(x_{T+1} \mid x_1 \ldots x_T)",
        columns=inputs.symbols,
    )


def forward_algorithm() -> Topic[HmmInputs]:
    """Summing over all paths in T S² steps, scaled."""
    return Topic(
        name="forward-algorithm",
        family="hmm",
        title=tr("Forward algorithm", "前向算法"),
        idea=(
            tr("How likely is a text, when its states are unknown?", "状态未知时，一段文本的概率是多少？"),
            tr(
                "Paths that meet in a state share their future, so their probabilities can be added up on the way.",
                "汇于同一状态的路径有着相同的未来，故其概率可边走边加。",
            ),
            tr(
                "The sum over S to the power T paths takes only T times S squared products.",
                "于是对 S 的 T 次方条路径求和，只需 T 乘 S 平方次乘法。",
            ),
        ),
        formula=(
            r"\hat\alpha_t(j) = \frac{1}{c_t} \Big( \sum_{i=1}^{S} \hat\alpha_{t-1}(i) a_{ij} \Big) b_j(x_t)",
            r"\log p(x) = \sum_{t=1}^{T} \log c_t",
        ),
        symbols=symbols(
            (r"\hat\alpha_t(j)", tr("p(state j | symbols so far); (T, S)", "已知此前符号时处于状态 j 的概率；(T, S)")),
            (
                "c_t",
                tr(
                    "p(symbol t | symbols before); makes the row sum to one",
                    "已知之前符号时第 t 个符号的概率；使该行和为一",
                ),
            ),
        ),
        inputs=HmmInputs,
        example=_forward_example,
        picture=lambda inputs: HeatMap(
            tr("how probable each state is, given the text so far", "已知此前文本时各状态的概率"),
            theory.forward(inputs.model(), inputs.ids())[0].T,
            inputs.states,
            inputs.times(),
            tr("state", "状态"),
            tr("time", "时刻"),
        ),
        pitfalls=(
            tr(
                "Without the division by c, the numbers fall below the smallest float after some hundred symbols.",
                "若不除以 c，几百个符号之后数值便会下溢。",
            ),
            tr(
                "Forward probabilities know only the past; what the whole text says of a state needs backward too.",
                "前向概率只依据过去；要利用整段文本判断某处状态，须前向后向并用。",
            ),
            tr(
                "Sum, not maximum: the most probable state at each time need not lie on the most probable path.",
                "此处求和而非取最大：各时刻最可能的状态未必在最可能的路径上。",
            ),
        ),
        papers=(f"{RABINER}, sections III.A and V.A",),
        theory=(theory.forward, theory.log_likelihood, theory.backward, theory.state_posteriors),
        practice=(f"{PASSES}filter_states", "zhixing.models.hmm:HmmModel.score"),
        related=("hidden-markov-model", "viterbi", "baum-welch"),
    )


def _forward_example(inputs: HmmInputs) -> Iterator[Step]:
    model, ids = inputs.model(), inputs.ids()
    alpha, scale = theory.forward(model, ids)
    first = model.start * model.emission[:, ids[0]]
    yield Step(
        tr("the first state and its symbol", "首个状态及其符号"), first, r"\pi_j b_j(x_1)", columns=inputs.states
    )
    yield Step(tr("divide by the sum", "除以其和"), alpha[0], r"\hat\alpha_1(j)", columns=inputs.states)
    expected = alpha[0] @ model.transition
    yield Step(tr("move on", "转移一步"), expected, r"\sum_i \hat\alpha_1(i) a_{ij}", columns=inputs.states)
    joint = expected * model.emission[:, ids[1]]
    yield Step(tr("see the next symbol", "看到下一个符号"), joint, r"(\ldots) b_j(x_2)", columns=inputs.states)
    yield Step(
        tr("to the end, each row divided by its sum", "如此至末尾，每行除以其和"),
        alpha,
        r"\hat\alpha_t(j)",
        rows=inputs.times(),
        columns=inputs.states,
    )
    yield Step(tr("the sums", "各行之和"), scale, "c_t", columns=inputs.times())
    yield Step(tr("their product", "相乘"), float(scale.prod()), "p(x)")
    yield Step(
        tr("the same from every single path", "逐条路径相加，结果相同"), _sum_over_paths(model, ids), r"\sum_z p(x, z)"
    )


def _sum_over_paths(model: theory.HiddenMarkovModel, ids: NDArray[np.int64]) -> float:
    """Of at most 8 symbols: up to 5 ** 8 paths, all at once."""
    paths = np.array(list(itertools.product(range(len(model.start)), repeat=len(ids))))
    moves = model.start[paths[:, 0]] * model.transition[paths[:, :-1], paths[:, 1:]].prod(axis=1)
    return float((moves * model.emission[paths, ids].prod(axis=1)).sum())


def viterbi() -> Topic[HmmInputs]:
    """The best path through the lattice."""
    return Topic(
        name="viterbi",
        family="hmm",
        title=tr("Viterbi's algorithm", "维特比算法"),
        idea=(
            tr("Which states best explain a text?", "哪一串状态最能解释一段文本？"),
            tr(
                "The best path to a state goes through the best path to the state before it: keep only one per state.",
                "到某状态的最佳路径，必经前一状态的最佳路径：故每个状态只须留一条。",
            ),
            tr(
                "At the end, follow the notes about where each came from back to the beginning.",
                "到达末尾后，循着各处记下的来路回溯到开头。",
            ),
        ),
        formula=(
            r"\delta_t(j) = \max_{i} \big( \delta_{t-1}(i) + \log a_{ij} \big) + \log b_j(x_t)",
            r"\psi_t(j) = \operatorname{argmax}_{i} \big( \delta_{t-1}(i) + \log a_{ij} \big)",
        ),
        symbols=symbols(
            (
                r"\delta_t(j)",
                tr("log-probability of the best path that ends in j; (T, S)", "止于 j 的最佳路径的对数概率；(T, S)"),
            ),
            (r"\psi_t(j)", tr("the state that path came from; (T, S)", "该路径的来路；(T, S)")),
        ),
        inputs=HmmInputs,
        example=_viterbi_example,
        picture=_viterbi_picture,
        pitfalls=(
            tr(
                "The best path is not the row of states that are best one by one; such a row may even be impossible.",
                "最佳路径不等于逐处取最佳状态；后者甚至可能根本走不通。",
            ),
            tr(
                "Add logarithms: hundreds of factors below 1 underflow. The logarithm of 0 is minus infinity.",
                "应将对数相加：几百个概率相乘会下溢。概率 0 则成为负无穷。",
            ),
            tr(
                "A word never seen in training has probability 0 in every state, and then no path at all: smooth.",
                "训练中未见的词在各状态的概率均为 0，路径便不复存在：须做平滑。",
            ),
        ),
        papers=(
            f"{RABINER}, section III.B",
            "Viterbi 1967, Error bounds for convolutional codes and an asymptotically optimum decoding algorithm",
        ),
        theory=(theory.viterbi, theory.viterbi_scores),
        practice=("zhixing.models.hmm:HmmModel.tag", f"{PASSES}best_paths"),
        related=("hidden-markov-model", "forward-algorithm"),
    )


def _viterbi_example(inputs: HmmInputs) -> Iterator[Step]:
    model, ids = inputs.model(), inputs.ids()
    score, came_from = theory.viterbi_scores(model, ids)
    yield Step(tr("the first column", "第一列"), score[0], r"\log \pi_j + \log b_j(x_1)", columns=inputs.states)
    with np.errstate(divide="ignore"):
        arriving = score[0][:, None] + np.log(model.transition)
    yield Step(
        tr("from each state (row) to each (column)", "由各状态（行）到各状态（列）"),
        arriving,
        r"\delta_1(i) + \log a_{ij}",
        rows=inputs.states,
        columns=inputs.states,
    )
    yield Step(
        tr("the best of each column, and its symbol", "每列取最大，再加上符号"),
        score[1],
        r"\delta_2(j)",
        columns=inputs.states,
    )
    yield Step(tr("to the end", "如此至末尾"), score, r"\delta_t(j)", rows=inputs.times(), columns=inputs.states)
    names = np.array([*inputs.states, "–"])[came_from[1:]]
    yield Step(
        tr("where each came from", "各处的来路"), names, r"\psi_t(j)", rows=inputs.times()[1:], columns=inputs.states
    )
    path = theory.viterbi(model, ids)
    yield Step(
        tr("back from the best of the last row", "由末行最大者回溯"), " → ".join(inputs.states[i] for i in path), "z"
    )
    share = float(np.exp(score[-1].max() - theory.log_likelihood(model, ids)))
    yield Step(tr("its share of all paths", "该路径占全部路径的比重"), share, r"p(z \mid x)")


def _viterbi_picture(inputs: HmmInputs) -> Lattice:
    score, came_from = theory.viterbi_scores(inputs.model(), inputs.ids())
    path = theory.viterbi(inputs.model(), inputs.ids()).tolist()
    title = tr("best log-probability of each state at each time", "各时刻各状态的最佳对数概率")
    return Lattice(title, inputs.states, inputs.times(), score.T, path, came_from.T)


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (hidden_markov_model, forward_algorithm, viterbi, baum_welch)
