"""How good predictions are, and whether a difference is real: the formulas.

Perplexity: Jelinek, Mercer, Bahl and Baker, "Perplexity: a measure of the difficulty of speech recognition
tasks" (1977). Bits per byte is the same quantity counted per byte of text, so it does not depend on the
tokenizer. Paired bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.
McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12
(1947); here the exact form.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def perplexity(log_probs: ArrayLike) -> float:
    r"""``exp(-1/T sum_t ln p(x_t | x_<t))`` of natural log-probabilities (T,). Equation (measures.1).

    >>> perplexity(np.log([0.5, 0.125]))  # as hard as a fair choice among four
    4.0
    """
    return float(np.exp(-np.mean(np.asarray(log_probs, np.float64))))


def bits_per_byte(log_probs: ArrayLike, text_bytes: int) -> float:
    r"""``-1/(ln 2 * bytes) sum_t ln p(x_t | x_<t)``: log-probabilities (T,) over the text's UTF-8 bytes.
    Equation (measures.2).

    >>> bits_per_byte(np.log([0.5, 0.125]), text_bytes=8)  # 1 + 3 bits for 8 bytes
    0.5
    """
    return float(-np.sum(np.asarray(log_probs, np.float64)) / (math.log(2) * text_bytes))


def accuracy(predicted: ArrayLike, target: ArrayLike) -> float:
    """Share of equal entries of two (N,) arrays. Equation (measures.3).

    >>> accuracy([1, 2, 3, 4], [1, 2, 3, 0])
    0.75
    """
    return float(np.mean(np.asarray(predicted) == np.asarray(target)))


def paired_bootstrap(
    loss_a: ArrayLike, loss_b: ArrayLike, size: ArrayLike, resamples: ArrayLike, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Difference ``sum(a - b) / sum(size)`` and its percentile interval over resamples of the N items.

    ``loss_a``, ``loss_b`` and ``size`` are (N,): what two models lost on the same items, and the items'
    sizes. ``resamples`` is (R, N): the item numbers drawn for each of R resamples. Equation (measures.4).

    >>> paired_bootstrap([4, 6], [2, 2], [1, 1], resamples=[[0, 0], [0, 1], [1, 0], [1, 1]], confidence=1.0)
    (3.0, 2.0, 4.0)
    """
    gap = np.asarray(loss_a, np.float64) - np.asarray(loss_b, np.float64)
    size, drawn = np.asarray(size, np.float64), np.asarray(resamples)
    differences = gap[drawn].sum(axis=1) / size[drawn].sum(axis=1)
    low, high = np.quantile(differences, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(gap.sum() / size.sum()), float(low), float(high)


def permutation_p(loss_a: ArrayLike, loss_b: ArrayLike, signs: ArrayLike) -> float:
    """Two-sided p of the randomisation test: how often do random signs (R, N) make so large a total?

    Under the hypothesis of no difference the two models' names may be swapped on any item (Fisher, 1935).
    Equation (measures.5).

    >>> permutation_p([2, 2], [1, 1], signs=[[1, 1], [1, -1], [-1, 1], [-1, -1]])  # (2 + 1) / (4 + 1)
    0.6
    """
    gap = np.asarray(loss_a, np.float64) - np.asarray(loss_b, np.float64)
    totals = np.asarray(signs) @ gap
    as_large = np.sum(np.abs(totals) >= abs(gap.sum()) - 1e-9 * np.abs(gap).sum())
    return float((as_large + 1) / (len(totals) + 1))


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p of McNemar's test: ``only_a`` items right for A alone, ``only_b`` for B alone.

    Without a difference each such item is a fair coin: ``p = 2 * P(Binomial(n, 1/2) <= min)``, at most 1.
    Equation (measures.6).

    >>> mcnemar(0, 5)
    0.0625
    """
    n, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, sum(math.comb(n, k) for k in range(fewer + 1)) / 2.0 ** (n - 1))
