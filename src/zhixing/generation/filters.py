"""Logit filters: small functions that reshape one row of next-token scores before a token is chosen.

Every filter takes the (V,) float64 scores of one text and returns new ones; a removed token has score -inf.
Rows are filtered one at a time, never as a batch, because each text of a batch may have its own settings
and because a row's result must not depend on its neighbours.

The order is that of Hugging Face transformers: bias, repetition, presence and frequency (transformers lacks
these two), forbidden ids, temperature, top-k, top-p, min-p. One difference: the waist hands out
log-probabilities, so that an n-gram can have a repetition penalty too; transformers penalises raw logits,
whose zero point is arbitrary, so the same penalty bites differently there. On log-probabilities both are
equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from zhixing.generation.settings import GenerationSettings

Scores = NDArray[np.float64]
Ids = NDArray[np.int64]


class History:
    """The ids of one text that the penalties look at: all that were seen, and a count of those generated."""

    def __init__(self, prompt_ids: Iterable[int]) -> None:
        self.seen = set(prompt_ids)
        self.generated: Counter[int] = Counter()

    def append(self, token_id: int) -> None:
        """Note one more generated id."""
        self.seen.add(token_id)
        self.generated[token_id] += 1


Filter = Callable[[Scores, History], Scores]


def temperature(scores: Scores, value: float) -> Scores:
    """Divide by the temperature (> 0): below 1 sharper, above 1 flatter. ``theory.decoding.softmax``.

    The best score becomes 0, so that a temperature near 0 can make the others -inf but never all of them.
    """
    with np.errstate(over="ignore"):
        return np.asarray((scores - scores.max()) / value)


def top_k(scores: Scores, k: int) -> Scores:
    """Keep the k best and whatever ties with the k-th. ``theory.decoding.top_k``."""
    if k >= scores.size:
        return scores
    threshold = np.partition(scores, -k)[-k]
    return np.where(scores < threshold, -np.inf, scores)


def top_p(scores: Scores, mass: float) -> Scores:
    """Keep the fewest best tokens that reach the given probability. ``theory.decoding.top_p``.

    Only candidates are sorted: tokens rarer than (1 - mass) / V sum to less than 1 - mass, so none can be
    needed.
    """
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    candidates = np.flatnonzero(probabilities >= (1.0 - mass) / scores.size)
    order = candidates[np.argsort(-probabilities[candidates], kind="stable")]
    before = np.cumsum(probabilities[order]) - probabilities[order]
    kept = order[before < mass]
    return _only(scores, kept)


def min_p(scores: Scores, fraction: float) -> Scores:
    """Keep tokens at least ``fraction`` times as probable as the best. ``theory.decoding.min_p``."""
    return np.where(scores < scores.max() + np.log(fraction), -np.inf, scores)


def repetition(scores: Scores, seen: Ids, penalty: float) -> Scores:
    """Make ids already in the text less likely. ``theory.decoding.repetition_penalty``."""
    result = scores.copy()
    result[seen] = np.where(scores[seen] < 0, scores[seen] * penalty, scores[seen] / penalty)
    return result


def presence_frequency(scores: Scores, ids: Ids, counts: Ids, presence: float, frequency: float) -> Scores:
    """Subtract from ids generated before, once and per time. ``theory.decoding.count_penalties``."""
    result = scores.copy()
    result[ids] -= presence + frequency * counts
    return result


def bias(scores: Scores, ids: Ids, amounts: Scores) -> Scores:
    """Add an amount to some ids."""
    result = scores.copy()
    result[ids] += amounts
    return result


def forbid(scores: Scores, ids: Ids) -> Scores:
    """Remove ids: special ones that text never holds, and rows of the vocabulary that no token uses."""
    result = scores.copy()
    result[ids] = -np.inf
    return result


def build_filters(settings: GenerationSettings, forbidden: Sequence[int]) -> list[Filter]:
    """Return the filters that these settings switch on, in order; none: the row stays as it is."""
    return [*_penalties(settings), *_removals(forbidden), *_warpers(settings)]


def _penalties(settings: GenerationSettings) -> list[Filter]:
    chosen: list[Filter] = []
    if settings.logit_bias:
        ids = np.array([token_id for token_id, _ in settings.logit_bias], dtype=np.int64)
        amounts = np.array([amount for _, amount in settings.logit_bias], dtype=np.float64)
        chosen.append(lambda scores, _: bias(scores, ids, amounts))
    if settings.repetition_penalty != 1.0:
        penalty = settings.repetition_penalty
        chosen.append(lambda scores, history: repetition(scores, _array(history.seen), penalty))
    if settings.presence_penalty or settings.frequency_penalty:
        presence, frequency = settings.presence_penalty, settings.frequency_penalty
        chosen.append(
            lambda scores, history: presence_frequency(
                scores, _array(history.generated), _array(history.generated.values()), presence, frequency
            )
        )
    return chosen


def _removals(forbidden: Sequence[int]) -> list[Filter]:
    if not forbidden:
        return []
    ids = np.array(sorted(forbidden), dtype=np.int64)
    return [lambda scores, _: forbid(scores, ids)]


def _warpers(settings: GenerationSettings) -> list[Filter]:
    """Return what reshapes the distribution; greedy choice needs none: the best token stays the best."""
    chosen: list[Filter] = []
    if settings.greedy:
        return chosen
    if settings.temperature != 1.0:
        chosen.append(lambda scores, _: temperature(scores, settings.temperature))
    if settings.top_k:
        chosen.append(lambda scores, _: top_k(scores, settings.top_k))
    if settings.top_p < 1.0:
        chosen.append(lambda scores, _: top_p(scores, settings.top_p))
    if settings.min_p > 0.0:
        chosen.append(lambda scores, _: min_p(scores, settings.min_p))
    return chosen


def _array(ids: Iterable[int]) -> Ids:
    return np.fromiter(ids, dtype=np.int64)


def _only(scores: Scores, kept: Ids) -> Scores:
    result = np.full_like(scores, -np.inf)
    result[kept] = scores[kept]
    return result
