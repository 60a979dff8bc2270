"""Measures and paired tests against ``zhixing.evaluation`` (NumPy, float64)."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.evaluation import perplexity, significance
from zhixing.theory import measures as theory

DOCUMENTS, RESAMPLES = 40, 10_000
"""So few documents that production draws all its resamples in one portion, which the formula can draw
again."""


def _scores(losses: Any, tokens: Any, text_bytes: Any) -> perplexity.Scores:
    return perplexity.Scores(losses=losses, tokens=tokens, text_bytes=text_bytes)


def _one_document(measure: str) -> Any:
    def practice(log_probs: Any, text_bytes: int) -> float:
        scores = _scores(np.array([-log_probs.sum()]), np.array([len(log_probs)]), np.array([text_bytes]))
        return float(getattr(scores, measure))

    return practice


def _pairs(rng: np.random.Generator) -> dict[str, Any]:
    size = rng.integers(20, 200, size=DOCUMENTS)
    first = size * rng.uniform(0.8, 1.6, size=DOCUMENTS)
    return {
        "first": first,
        "second": first + 0.1 * size * (rng.normal(size=DOCUMENTS) + 0.3),
        "size": size,
        "seed": 5,
    }


def _compare(first: Any, second: Any, size: Any, seed: int) -> Any:
    both = [_scores(losses, size, size) for losses in (first, second)]
    found = significance.compare("first", both[0], "second", both[1], seed=seed)
    return [found.difference, found.low, found.high, found.p_value]


def _compare_theory(first: Any, second: Any, size: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    resamples = rng.integers(0, DOCUMENTS, (RESAMPLES, DOCUMENTS))
    signs = rng.integers(0, 2, (RESAMPLES, DOCUMENTS), dtype=np.int8) * 2.0 - 1.0
    first, second = first / np.log(2), second / np.log(2)
    interval = theory.paired_bootstrap(first, second, size, resamples)
    return [*interval, theory.permutation_p(first, second, signs)]


def _mcnemar_theory(right_a: Any, right_b: Any) -> Any:
    return theory.mcnemar(int((right_a & ~right_b).sum()), int((~right_a & right_b).sum()))


ROWS: tuple[Row, ...] = (
    Row(
        name="measures.perplexity",
        family="measures",
        states=(theory.perplexity,),
        theory=lambda log_probs, text_bytes: theory.perplexity(log_probs),
        practice=_one_document("perplexity"),
        inputs=draw(log_probs=lambda rng: -rng.exponential(size=60), text_bytes=200),
        tolerance=64.0,
        reason="a mean of 60 numbers inside an exponential",
        takes="arrays",
    ),
    Row(
        name="measures.bits_per_byte",
        family="measures",
        states=(theory.bits_per_byte,),
        theory=theory.bits_per_byte,
        practice=_one_document("bits_per_byte"),
        inputs=draw(log_probs=lambda rng: -rng.exponential(size=60), text_bytes=200),
        tolerance=64.0,
        reason="a sum of 60 numbers",
        takes="arrays",
    ),
    Row(
        name="measures.paired_tests",
        family="measures",
        states=(theory.paired_bootstrap, theory.permutation_p),
        theory=_compare_theory,
        practice=_compare,
        inputs=_pairs,
        tolerance=256.0,
        reason="sums of 40 losses and a quantile between two of 10,000 such sums",
        takes="arrays",
    ),
    Row(
        name="measures.mcnemar",
        family="measures",
        states=(theory.mcnemar,),
        theory=_mcnemar_theory,
        practice=lambda right_a, right_b: significance.mcnemar(right_a, right_b),
        inputs=lambda rng: {
            "right_a": rng.random(90) < 0.6,
            "right_b": rng.random(90) < 0.5,
        },
        tolerance=1e4,
        reason="production sums exponentials of differences of log-gammas of up to 200",
        takes="arrays",
    ),
)
