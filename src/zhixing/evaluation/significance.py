"""Is the difference between two models real? Paired tests over the documents that both have read.

Documents differ in difficulty far more than models do, so the pairs are kept together: a paired bootstrap
gives the interval of the difference and a paired randomisation test its p-value (formulas and papers:
``zhixing.theory.measures``). The word "better" is printed only when both agree; on few documents the
randomisation test is the stricter one. On fewer than six it can never find 95 % confidence, however far apart the
models are: of two documents each sign comes up half the time. Then nothing is said of the models, but that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.evaluation.perplexity import Scores
from zhixing.language import tr

_RESAMPLES = 10_000
_MOST_DRAWS = 50_000_000
_DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """``difference``: bits per byte of ``a`` minus that of ``b`` (below zero: ``a`` is better)."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p_value: float
    documents: int
    resamples: int
    seed: int
    confidence: float

    @property
    def too_few(self) -> bool:
        """Whether no difference whatever could be found: n documents have 2ⁿ signs, two of which are as extreme."""
        return 2.0 ** (1 - self.documents) > 1 - self.confidence

    @property
    def better(self) -> str | None:
        """Name of the better model; None if they are not distinguishable."""
        separate = self.low > 0 or self.high < 0
        if not separate or self.p_value > 1 - self.confidence:
            return None
        return self.a if self.difference < 0 else self.b

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        if self.too_few:
            return tr("too few documents to tell", "文档太少，无从判断")
        if self.better is None:
            return tr("not distinguishable", "无法区分")
        return tr(f"{self.better} is better", f"{self.better} 更好")

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**self.__dict__, "better": self.better, "too_few": self.too_few, "verdict": self.verdict}


def compare(name_a: str, a: Scores, name_b: str, b: Scores, *, confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Compare two models on the same documents, by bits per byte.

    10,000 resamples, fewer (but at least 1,000) above 5,000 documents. The same seed gives the same answer.

    Raises:
        DataError: the two were not scored on the same documents.
    """
    if a.documents != b.documents or not np.array_equal(a.text_bytes, b.text_bytes):
        raise DataError(
            tr(
                f"{name_a} and {name_b} were scored on different documents; score both on the same ones",
                f"{name_a} 与 {name_b} 的评分文档不同；请在相同文档上评分",
            )
        )
    gap = (a.losses - b.losses) / math.log(2)
    resamples = int(np.clip(_MOST_DRAWS // a.documents, 1000, _RESAMPLES))
    rng = np.random.default_rng(seed)
    low, high = _bootstrap_interval(gap, a.text_bytes, resamples, confidence, rng)
    p_value = _randomisation_p(gap, resamples, rng)
    difference = float(gap.sum() / a.total_bytes)
    return Comparison(name_a, name_b, difference, low, high, p_value, a.documents, resamples, seed, confidence)


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float:
    """Return the exact two-sided p of McNemar's test; (N,) each: was the answer to the question right?"""
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(~right_a & right_b))
    n, fewer = only_a + only_b, min(only_a, only_b)
    log_half = n * math.log(2)
    terms = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_half for k in range(fewer + 1))
    return min(1.0, 2 * sum(math.exp(term) for term in terms))


def _bootstrap_interval(
    gap: NDArray[np.float64],
    size: NDArray[np.int64],
    resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    items = np.stack([gap, size.astype(np.float64)])
    found = []
    for rows in _portions(resamples, len(gap)):
        total_gap, total_size = items[:, rng.integers(0, len(gap), (rows, len(gap)))].sum(axis=2)
        found.append(total_gap / np.maximum(total_size, 1.0))
    low, high = np.quantile(np.concatenate(found), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _randomisation_p(gap: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> float:
    observed, slack = abs(gap.sum()), 1e-9 * float(np.abs(gap).sum())
    as_large = 0
    for rows in _portions(resamples, len(gap)):
        signs = rng.integers(0, 2, (rows, len(gap)), dtype=np.int8) * 2.0 - 1.0
        as_large += int(np.sum(np.abs(signs @ gap) >= observed - slack))
    return (as_large + 1) / (resamples + 1)


def _portions(resamples: int, items: int) -> Iterator[int]:
    """Split the resamples so that one portion's draws fit in a few megabytes."""
    rows = max(1, _DRAWS_AT_ONCE // items)
    for start in range(0, resamples, rows):
        yield min(rows, resamples - start)
