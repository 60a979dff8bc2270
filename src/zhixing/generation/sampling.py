"""Choosing one token from filtered scores: the best one, or a draw.

The draw is an exponential race (``theory.decoding.exponential_race``, the Gumbel-max trick), not the
textbook's inverted cumulative sum. Both follow the distribution exactly, but a neural network's
log-probabilities differ in the last bits with the size of the batch, and a cumulative sum carries every
such difference to all later tokens: with noise of 2e-6 and 50,000 tokens one draw in 750 then picks another
token. In a race only a near-tie of the two first arrivals can change the winner, which is about a thousand
times rarer.

Every text owns its counter-based generator (Philox, Salmon et al. 2011), keyed by its seed alone, so a
text's draws do not depend on what else is in the batch.
"""

from __future__ import annotations

import secrets
from typing import Protocol

import numpy as np

from zhixing.generation.filters import Scores

SEED_BITS = 63


class Sampler(Protocol):
    """A way of choosing a token; it may hold the random state of its one text."""

    def choose(self, scores: Scores) -> int:
        """Return an id whose score is not -inf; scores (V,) need not be normalised."""


class Greedy:
    """The best token; the lowest id of those that tie."""

    def choose(self, scores: Scores) -> int:
        """Return the id with the highest score."""
        return int(np.argmax(scores))


class Draw:
    """A random token in proportion to exp(score).

    One exponential number is drawn for every id of the vocabulary, also for removed ones: what a filter
    removes does not shift the numbers of the others.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.Generator(np.random.Philox(key=seed % 2**64))

    def choose(self, scores: Scores) -> int:
        """Return the id that arrives first: argmax of score - log(e), e ~ Exp(1)."""
        arrivals = np.maximum(self._random.standard_exponential(scores.size), np.finfo(np.float64).tiny)
        alive = np.flatnonzero(scores > -np.inf)
        return int(alive[np.argmax(scores[alive] - np.log(arrivals[alive]))])


def fresh_seed() -> int:
    """Return a seed from the operating system's entropy."""
    return secrets.randbits(SEED_BITS)


def derived_seed(seed: int, index: int) -> int:
    """Return the seed of the index-th text of one prompt; the first keeps the seed itself.

    Given alone, a derived seed repeats that one text.
    """
    if index == 0:
        return seed
    state = np.random.SeedSequence([seed % 2**64, index]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(64 - SEED_BITS))
