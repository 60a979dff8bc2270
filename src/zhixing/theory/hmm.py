r"""The hidden Markov model: a chain of states nobody sees, each of which emits a symbol that is seen.

Rabiner 1989, "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition". Legend: S
states, V symbols, T observations. The three problems of the tutorial: how likely are the symbols (``forward``),
which states best explain them (``viterbi``), which parameters make them likely (``baum_welch_step``).

Products of many probabilities underflow, so each forward vector is divided by its sum $c_t$ (Rabiner, section V.A);
$c_t$ is $p(x_t \mid x_{<t})$, and the same numbers scale the backward vectors.

Two kinds of weather, seen only through what a friend does: walk (0), shop (1) or clean (2).

>>> weather = HiddenMarkovModel(
...     start=np.array([0.6, 0.4]),
...     transition=np.array([[0.7, 0.3], [0.4, 0.6]]),
...     emission=np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]),
... )
>>> round(log_likelihood(weather, np.array([0, 1, 2])), 4)
-3.3929
>>> viterbi(weather, np.array([0, 1, 2]))
array([1, 0, 0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class HiddenMarkovModel:
    r"""$\lambda = (\pi, A, B)$: Rabiner, section II.C. Every row sums to one.

    ``start`` (S,) is $\pi_i = p(z_1 = i)$, ``transition`` (S, S) is $a_{ij} = p(z_{t+1} = j \mid z_t = i)$,
    ``emission`` (S, V) is $b_i(k) = p(x_t = k \mid z_t = i)$.
    """

    start: Array
    transition: Array
    emission: Array


def forward(model: HiddenMarkovModel, observed: Ids) -> tuple[Array, Array]:
    r"""$\hat\alpha_t(j) = \frac{1}{c_t} \big[\sum_i \hat\alpha_{t-1}(i)\, a_{ij}\big] b_j(x_t)$; equations 19, 20, 91.

    Returns $\hat\alpha$ (T, S), which is $p(z_t \mid x_{\le t})$, and the scales $c$ (T,). Equation (hmm.1).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> alpha, scale = forward(model, np.array([0, 0]))
    >>> alpha.round(4), scale.round(4)
    (array([[0.75, 0.25],
           [0.9 , 0.1 ]]), array([0.6 , 0.75]))
    """
    alpha, scale = np.empty((len(observed), len(model.start))), np.empty(len(observed))
    expected = model.start
    for t, symbol in enumerate(observed):
        joint = expected * model.emission[:, symbol]
        scale[t] = joint.sum()
        alpha[t] = joint / scale[t]
        expected = alpha[t] @ model.transition
    return alpha, scale


def log_likelihood(model: HiddenMarkovModel, observed: Ids) -> float:
    r"""$\log p(x_1 \ldots x_T) = \sum_t \log c_t$, in nats; equation 103. Equation (hmm.2).

    >>> model = HiddenMarkovModel(np.array([1.0]), np.array([[1.0]]), np.array([[0.25, 0.75]]))
    >>> round(float(np.exp(log_likelihood(model, np.array([0, 1])))), 4)
    0.1875
    """
    return float(np.log(forward(model, observed)[1]).sum())


def next_symbol(model: HiddenMarkovModel, observed: Ids) -> Array:
    r"""$p(x_{T+1} = k \mid x_{\le T}) = \sum_j \big[\sum_i \hat\alpha_T(i)\, a_{ij}\big] b_j(k)$; (V,).

    This makes a language model of it: all that is remembered of the text is a distribution over S states.
    Equation (hmm.3).

    >>> model = HiddenMarkovModel(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.eye(2))
    >>> next_symbol(model, np.array([0, 1, 0]))
    array([0., 1.])
    """
    return forward(model, observed)[0][-1] @ model.transition @ model.emission


def backward(model: HiddenMarkovModel, observed: Ids, scale: Array) -> Array:
    r"""$\hat\beta_t(i) = \frac{1}{c_{t+1}} \sum_j a_{ij}\, b_j(x_{t+1})\, \hat\beta_{t+1}(j)$ and
    $\hat\beta_T(i) = 1$; (T, S). Equations 24, 25, with the scales of ``forward``. Equation (hmm.4).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> backward(model, np.array([0, 0]), np.array([0.6, 0.75])).round(4)
    array([[1.2, 0.4],
           [1. , 1. ]])
    """
    beta = np.ones((len(observed), len(model.start)))
    for t in range(len(observed) - 2, -1, -1):
        beta[t] = model.transition @ (model.emission[:, observed[t + 1]] * beta[t + 1]) / scale[t + 1]
    return beta


def state_posteriors(model: HiddenMarkovModel, observed: Ids) -> Array:
    r"""$\gamma_t(i) = p(z_t = i \mid x_1 \ldots x_T) = \hat\alpha_t(i)\, \hat\beta_t(i)$; (T, S). Equation 27.
    Equation (hmm.5).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> state_posteriors(model, np.array([0, 0])).round(4)
    array([[0.9, 0.1],
           [0.9, 0.1]])
    """
    alpha, scale = forward(model, observed)
    return alpha * backward(model, observed, scale)


def transition_posteriors(model: HiddenMarkovModel, observed: Ids) -> Array:
    r"""$\xi_t(i,j) = p(z_t = i, z_{t+1} = j \mid x) =
    \hat\alpha_t(i)\, a_{ij}\, b_j(x_{t+1})\, \hat\beta_{t+1}(j) / c_{t+1}$; (T-1, S, S). Equation 37. Equation (hmm.6).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> transition_posteriors(model, np.array([0, 0])).round(4)
    array([[[0.9, 0. ],
            [0. , 0.1]]])
    """
    alpha, scale = forward(model, observed)
    ahead = model.emission[:, observed[1:]].T * backward(model, observed, scale)[1:] / scale[1:, None]
    return alpha[:-1, :, None] * model.transition * ahead[:, None, :]


def viterbi_scores(model: HiddenMarkovModel, observed: Ids) -> tuple[Array, Ids]:
    r"""$\delta_t(j) = \max_i [\delta_{t-1}(i) + \log a_{ij}] + \log b_j(x_t)$ and the $i$ that wins; equations 32, 33.

    Returns $\delta$ (T, S), the log-probability of the best path that ends in each state, and where it came from
    (T, S), -1 in the first row. Of equals the first wins. Equation (hmm.7).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> score, came_from = viterbi_scores(model, np.array([0, 0]))
    >>> np.exp(score).round(4), came_from
    (array([[0.45 , 0.15 ],
           [0.405, 0.045]]), array([[-1, -1],
           [ 0,  1]]))
    """
    with np.errstate(divide="ignore"):  # log 0 is minus infinity: a step that cannot be taken
        start, transition, emission = np.log(model.start), np.log(model.transition), np.log(model.emission)
    score, came_from = np.empty((len(observed), len(start))), np.full((len(observed), len(start)), -1)
    score[0] = start + emission[:, observed[0]]
    for t in range(1, len(observed)):
        arriving = score[t - 1][:, None] + transition  # (from, to)
        came_from[t] = arriving.argmax(axis=0)
        score[t] = arriving.max(axis=0) + emission[:, observed[t]]
    return score, came_from


def viterbi(model: HiddenMarkovModel, observed: Ids) -> Ids:
    r"""$\arg\max_{z_1 \ldots z_T} p(z, x)$: the one best path, (T,). Rabiner, section III.B, step 4. Equation (hmm.8).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> viterbi(model, np.array([0, 1, 1]))
    array([1, 1, 1])
    """
    score, came_from = viterbi_scores(model, observed)
    path = [int(score[-1].argmax())]
    for t in range(len(observed) - 1, 0, -1):
        path.append(int(came_from[t, path[-1]]))
    return np.array(path[::-1])


def expected_counts(model: HiddenMarkovModel, sequences: Sequence[Ids]) -> tuple[Array, Array, Array]:
    r"""How often each start, transition and emission is taken, on average over the paths that may have made x.

    $\sum \gamma_1(i)$ (S,), $\sum_t \xi_t(i,j)$ (S, S), $\sum_{t: x_t = k} \gamma_t(i)$ (S, V): the sums of
    equations 40a-c, over all sequences (section V.B). Equation (hmm.9).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> expected_counts(model, [np.array([0, 0])])[2].round(4)
    array([[1.8, 0. ],
           [0.2, 0. ]])
    """
    starts, transitions, emissions = (np.zeros_like(a) for a in (model.start, model.transition, model.emission))
    for observed in sequences:
        posteriors = state_posteriors(model, observed)
        starts += posteriors[0]
        transitions += transition_posteriors(model, observed).sum(axis=0)
        np.add.at(emissions.T, observed, posteriors)
    return starts, transitions, emissions


def normalise(counts: Array, smoothing: float = 0.0) -> Array:
    r"""$(n_{ij} + \varepsilon) / \sum_j (n_{ij} + \varepsilon)$: counts become probabilities; a row of zeros, uniform.
    Equation (hmm.10).

    >>> normalise(np.array([[3.0, 1.0], [0.0, 0.0]]))
    array([[0.75, 0.25],
           [0.5 , 0.5 ]])
    >>> normalise(np.array([3.0, 0.0]), smoothing=1.0)
    array([0.8, 0.2])
    """
    total = (counts + smoothing).sum(axis=-1, keepdims=True)
    return np.where(total > 0, (counts + smoothing) / np.where(total > 0, total, 1.0), 1.0 / counts.shape[-1])


def baum_welch_step(model: HiddenMarkovModel, sequences: Sequence[Ids], smoothing: float = 0.0) -> HiddenMarkovModel:
    r"""One step of expectation-maximisation: count what is expected, divide. Equations 40a-c, 109, 110.

    $p(x \mid \lambda)$ never falls (Baum et al. 1970). ``smoothing`` is added to every count; then it is $\log p(x)$
    plus that many times the logarithm of every parameter which never falls. Equation (hmm.11).

    >>> model = HiddenMarkovModel(np.array([0.5, 0.5]), np.eye(2), np.array([[0.9, 0.1], [0.3, 0.7]]))
    >>> better = baum_welch_step(model, [np.array([0, 0]), np.array([1, 1])])
    >>> better.emission.round(4)
    array([[0.9783, 0.0217],
           [0.0926, 0.9074]])
    """
    starts, transitions, emissions = expected_counts(model, sequences)
    return HiddenMarkovModel(
        normalise(starts, smoothing), normalise(transitions, smoothing), normalise(emissions, smoothing)
    )


def count_tagged(
    states: Sequence[Ids], sequences: Sequence[Ids], number_of_states: int, symbols: int, smoothing: float = 0.0
) -> HiddenMarkovModel:
    r"""$a_{ij} = n(i \to j) / n(i)$, $b_i(k) = n(i, k) / n(i)$: where the states are known, counting is enough.

    The maximum-likelihood tagger of Merialdo (1994), section 3. Equation (hmm.12).

    >>> model = count_tagged([np.array([0, 1, 0])], [np.array([2, 0, 1])], number_of_states=2, symbols=3)
    >>> model.emission
    array([[0. , 0.5, 0.5],
           [1. , 0. , 0. ]])
    """
    starts, transitions = np.zeros(number_of_states), np.zeros((number_of_states, number_of_states))
    emissions = np.zeros((number_of_states, symbols))
    for path, observed in zip(states, sequences, strict=True):
        starts[path[0]] += 1
        np.add.at(transitions, (path[:-1], path[1:]), 1)
        np.add.at(emissions, (path, observed), 1)
    return HiddenMarkovModel(
        normalise(starts, smoothing), normalise(transitions, smoothing), normalise(emissions, smoothing)
    )
