"""Measures of labels and of rankings: precision, recall and F1, micro and macro; nDCG.

Formulas and papers: ``zhixing.theory.text_measures``.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zhixing.errors import DataError
from zhixing.language import tr

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelScores:
    """Precision, recall and F1 of a label, or of several averaged. ``support``: how many items truly have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class LabelReport:
    """Every label's scores, and their averages.

    ``micro`` adds the counts up before dividing (over all labels it is the accuracy), ``macro`` is the plain mean of
    the labels' scores. ``undefined``: labels that were never predicted or never true, so that a score of theirs is 0
    for want of anything to divide by.
    """

    labels: dict[Hashable, LabelScores]
    micro: LabelScores
    macro: LabelScores
    undefined: tuple[Hashable, ...]


def label_report(predicted: Sequence[Any], target: Sequence[Any], labels: Sequence[Any] | None = None) -> LabelReport:
    """Compare predicted with true labels, one for each item.

    Args:
        predicted, target: (N,) labels: texts or integers.
        labels: those to report and average; None: all that occur, sorted.

    Raises:
        DataError: no items, or not as many predictions as targets.
    """
    if len(predicted) != len(target) or not len(target):
        raise DataError(
            tr(
                f"{len(predicted)} predictions but {len(target)} true labels; give one for each, and at least one",
                f"预测 {len(predicted)} 个，真实标签 {len(target)} 个；须一一对应，且至少有一个",
            )
        )
    names = sorted(set(predicted) | set(target)) if labels is None else list(labels)
    right, said, true = _counts(predicted, target, names)
    each = {name: _scores(*map(int, counts)) for name, *counts in zip(names, right, said, true, strict=True)}
    undefined = tuple(name for name, s, t in zip(names, said, true, strict=True) if not s or not t)
    if undefined:
        shown = ", ".join(map(str, undefined))
        logger.warning(
            tr(
                f"never predicted or never true, so scored 0 where undefined: {shown}",
                f"从未被预测或从未出现，无定义处计为 0：{shown}",
            )
        )
    rows = [(scores.precision, scores.recall, scores.f1) for scores in each.values()]
    precision, recall, f1 = np.mean(rows, axis=0).tolist()
    micro = _scores(int(right.sum()), int(said.sum()), int(true.sum()))
    return LabelReport(each, micro, LabelScores(precision, recall, f1, int(true.sum())), undefined)


def ndcg(relevances: ArrayLike, k: int | None = None) -> float:
    """Return the mean normalised discounted cumulative gain of rankings, 0 to 1.

    Args:
        relevances: (Q, N) or (N,) gains (0 or more) of each query's results in the order returned, best first; pad
            shorter lists with 0. All that is relevant must stand in the list, also what was ranked below ``k``.
        k: how many results count; None: all.

    Raises:
        DataError: a negative or non-finite gain, or nothing to rank.
    """
    gains = np.atleast_2d(np.asarray(relevances, np.float64))
    if not gains.size or not np.isfinite(gains).all() or (gains < 0).any():
        raise DataError(
            tr(
                "relevances must be finite and not negative, and there must be some; check the gains",
                "相关度必须为有限的非负数且不能为空；请检查",
            )
        )
    k = gains.shape[1] if k is None else k
    discount = 1.0 / np.log2(np.arange(2, gains.shape[1] + 2))
    discount[k:] = 0.0
    found, best = gains @ discount, -np.sort(-gains, axis=1) @ discount
    return float(np.divide(found, best, out=np.zeros_like(found), where=best > 0).mean())


def _counts(predicted: Sequence[Any], target: Sequence[Any], names: Sequence[Any]) -> tuple[NDArray[Any], ...]:
    """For every label: how often rightly predicted, predicted, true; one pass, whatever the number of labels."""
    number = {name: index for index, name in enumerate(names)}
    outside = len(names)
    said, true = (np.array([number.get(label, outside) for label in each]) for each in (predicted, target))
    bins = outside + 1
    counts = (np.bincount(each, minlength=bins)[:outside] for each in (true[said == true], said, true))
    return tuple(counts)


def _scores(right: int, said: int, true: int) -> LabelScores:
    precision, recall = right / said if said else 0.0, right / true if true else 0.0
    return LabelScores(precision, recall, 2 * right / (said + true) if right else 0.0, true)
