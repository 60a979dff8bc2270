"""Decoding: how a distribution over the next token is reshaped, how one token is drawn from it, and how the most
probable text is searched for.

``x`` is a vector of scores and ``p`` a vector of probabilities, both (V,). Each rule is one function;
production applies them in the order temperature, top-k, top-p, min-p (penalties before all of them).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]
Hypothesis = tuple[tuple[int, ...], float]
"""The tokens so far and the sum of their log-probabilities."""


def softmax(x: ArrayLike, temperature: float = 1.0) -> Vector:
    """p_i = exp(x_i / T) / sum_j exp(x_j / T) (Ackley, Hinton & Sejnowski 1985). Equation (decoding.1).

    >>> softmax([0.0, np.log(3.0)]).round(4)
    array([0.25, 0.75])
    >>> softmax([0.0, np.log(3.0)], temperature=0.5).round(4)
    array([0.1, 0.9])
    """
    y = np.asarray(x, dtype=np.float64) / temperature
    exponential = np.exp(y - y.max())
    return np.asarray(exponential / exponential.sum())


def renormalise(p: ArrayLike, kept: ArrayLike) -> Vector:
    """p restricted to the kept tokens, divided by their sum. Equation (decoding.2).

    >>> renormalise([0.5, 0.3, 0.2], [True, True, False])
    array([0.625, 0.375, 0.   ])
    """
    restricted = np.where(kept, np.asarray(p, dtype=np.float64), 0.0)
    return np.asarray(restricted / restricted.sum())


def top_k(p: ArrayLike, k: int) -> Vector:
    """Keep the k most probable tokens, and whatever ties with the k-th (Fan, Lewis & Dauphin 2018).
    Equation (decoding.3).

    >>> top_k([0.5, 0.3, 0.2], 2)
    array([0.625, 0.375, 0.   ])
    """
    p = np.asarray(p, dtype=np.float64)
    return renormalise(p, p >= np.sort(p)[-k])


def top_p(p: ArrayLike, mass: float) -> Vector:
    """Keep the smallest set of most probable tokens whose sum reaches ``mass`` (Holtzman et al. 2020).

    A token stays if those before it, most probable first, sum to less than ``mass``; the first always stays.
    Equation (decoding.4).

    >>> top_p([0.5, 0.3, 0.2], 0.6)
    array([0.625, 0.375, 0.   ])
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    kept = np.empty(len(p), dtype=bool)
    kept[order] = before < mass
    return renormalise(p, kept)


def min_p(p: ArrayLike, fraction: float) -> Vector:
    """Keep the tokens at least ``fraction`` times as probable as the best one (Nguyen et al. 2024).
    Equation (decoding.5).

    >>> min_p([0.5, 0.3, 0.2], 0.5)
    array([0.625, 0.375, 0.   ])
    """
    p = np.asarray(p, dtype=np.float64)
    return renormalise(p, p >= fraction * p.max())


def repetition_penalty(x: ArrayLike, seen: ArrayLike, penalty: float) -> Vector:
    """Scores of tokens already in the text: x * penalty where negative, x / penalty where positive.

    Keskar et al. 2019 (CTRL), section 4.1, with the sign rule that every later program uses. It is not
    invariant to a shift of the scores; on log-probabilities, all negative, it is p ** penalty. Equation (decoding.6).

    >>> repetition_penalty([2.0, -2.0, -2.0], [0, 1], 2.0)
    array([ 1., -4., -2.])
    """
    y = np.array(x, dtype=np.float64)
    for i in set(np.asarray(seen, dtype=np.int64).tolist()):
        y[i] = y[i] * penalty if y[i] < 0 else y[i] / penalty
    return y


def count_penalties(x: ArrayLike, generated: ArrayLike, presence: float, frequency: float) -> Vector:
    """x_i - presence * [c_i > 0] - frequency * c_i, c_i times token i was generated (OpenAI's rule).
    Equation (decoding.7).

    >>> count_penalties([0.0, 0.0, 0.0], [0, 1, 1], presence=0.5, frequency=0.25)
    array([-0.75, -1.  ,  0.  ])
    """
    x = np.asarray(x, dtype=np.float64)
    count = np.bincount(np.asarray(generated, dtype=np.int64), minlength=len(x))
    return np.asarray(x - presence * (count > 0) - frequency * count)


def exponential_race(p: ArrayLike, e: ArrayLike) -> int:
    """The token i of least arrival time e_i / p_i, e_i ~ Exp(1): token i wins with probability p_i.

    The same as the Gumbel-max trick (Gumbel 1954; Maddison, Tarlow & Minka 2014), g_i = -log e_i. Unlike
    inverting the cumulative sum, a change of p in the last bit changes the winner only if two tokens arrive
    at the same moment. Equation (decoding.8).

    >>> exponential_race([0.5, 0.3, 0.2], [1.0, 0.3, 0.5])
    1
    """
    with np.errstate(divide="ignore"):
        return int(np.argmin(np.asarray(e, dtype=np.float64) / np.asarray(p, dtype=np.float64)))


def speculative_acceptance(p: ArrayLike, q: ArrayLike) -> Vector:
    """Probability of keeping a token drafted from q when the model says p: min(1, p_i / q_i).

    Leviathan, Kalman & Matias 2023, algorithm 1; Chen et al. 2023. Equation (decoding.12).

    >>> speculative_acceptance([0.5, 0.5], [0.8, 0.2])
    array([0.625, 1.   ])
    """
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return np.asarray(np.minimum(1.0, np.divide(p, q, out=np.ones_like(p), where=q > 0)))


def speculative_residual(p: ArrayLike, q: ArrayLike) -> Vector:
    """What a refused draft is replaced from: max(0, p - q), normalised; the result is then distributed as p.
    Equation (decoding.13).

    >>> speculative_residual([0.5, 0.5], [0.8, 0.2])
    array([0., 1.])
    """
    excess = np.maximum(0.0, np.asarray(p, dtype=np.float64) - np.asarray(q, dtype=np.float64))
    return np.asarray(excess / excess.sum())


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6) ** alpha, which a text's log-probability is divided by (Wu et al. 2016, equation 14).

    Every token makes a text less probable; undivided (alpha 0), the search would prefer short texts.
    Equation (decoding.9).

    >>> length_penalty(1, 0.6), length_penalty(7, 1.0)
    (1.0, 2.0)
    """
    return float(((5.0 + length) / 6.0) ** alpha)


def penalised(hypothesis: Hypothesis, alpha: float) -> float:
    """log p(text) / length_penalty; the end token counts as one of the text's. Equation (decoding.10).

    >>> penalised(((3, 1, 4, 1, 5, 9, 0), -4.0), alpha=1.0)
    -2.0
    """
    return hypothesis[1] / length_penalty(len(hypothesis[0]), alpha)


def beam_search(
    next_log_probs: Callable[[tuple[int, ...]], ArrayLike], beams: int, limit: int, end: int, alpha: float
) -> list[Hypothesis]:
    """The best ``beams`` texts found by keeping, after every token, only the best ``beams`` unfinished ones.

    ``next_log_probs`` maps the tokens so far to (V,). A text is finished by ``end``; those still unfinished after
    ``limit`` tokens compete as they are. One beam and alpha 0 is not greedy decoding: an end seen on the way may
    still win. Lowerre (1976); Sutskever, Vinyals & Le (2014), section 3.2; Wu et al. (2016), section 7.

    Greedy takes token 1 (0.6) and then cannot do better than 0.6 * 0.5; two beams find 2, 0 with 0.4 * 0.9:
    Equation (decoding.11).

    >>> after = {(): [0.0, 0.6, 0.4], (1,): [0.5, 0.25, 0.25], (2,): [0.9, 0.1, 0.0]}
    >>> ids, total = beam_search(lambda ids: np.log(np.add(after[ids], 1e-9)), beams=2, limit=2, end=0, alpha=0.0)[0]
    >>> ids, round(float(np.exp(total)), 4)
    ((2, 0), 0.36)
    """
    alive: list[Hypothesis] = [((), 0.0)]
    finished: list[Hypothesis] = []
    for _ in range(limit):
        rows = [(ids, total, enumerate(np.asarray(next_log_probs(ids)).tolist())) for ids, total in alive]
        grown = [((*ids, token), total + score) for ids, total, row in rows for token, score in row]
        finished += [hypothesis for hypothesis in grown if hypothesis[0][-1] == end]
        unfinished = [hypothesis for hypothesis in grown if hypothesis[0][-1] != end]
        alive = sorted(unfinished, key=lambda hypothesis: -hypothesis[1])[:beams]
    return sorted(finished + alive, key=lambda hypothesis: -penalised(hypothesis, alpha))[:beams]
