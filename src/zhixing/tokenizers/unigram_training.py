"""Learning a unigram vocabulary (Kudo 2018, section 3.2): far too many pieces, expectation-maximisation, pruning.

What is our own: the pieces are runs of whole characters over the 256 bytes, which always stay, so that nothing is
unknown; and the losses are those of the likelihood itself, not of the best cutting alone as in SentencePiece.
"""

from __future__ import annotations

import numpy as np

from zhixing.language import tr
from zhixing.progress import progress
from zhixing.tokenizers.unigram_lattice import BYTES, Floats, Lattice
from zhixing.tokenizers.unigram_seeds import seed_lattice
from zhixing.tokenizers.words import Words

SEEDS = 1_000_000
"""Runs to begin with, at most (as in SentencePiece)."""

_SHRINK, _SHRINK_FAR = 0.75, 0.5
"""Share of the pieces that stay at each pruning, and while there are far too many."""
_FAR = 8
"""Times the number wanted."""
_PASSES = 2
"""Passes of expectation-maximisation between prunings."""
_FLOOR = 1e-3
"""Expected count that a byte has at least: later it may be needed."""
_DECIMALS = 9
"""Of the log-probabilities that are written: every reader of JSON gives back a number of so few digits exactly."""


def em_step(lattice: Lattice, log_probability: Floats, floor: float = 0.0) -> tuple[Floats, float]:
    """Return log p(piece) = log(expected count / their sum), and the log-likelihood before the step, in nats.

    Without ``floor`` (the least count of a byte) the likelihood never falls. Equations (tokenization.13) to
    (tokenization.15).
    """
    counts, log_likelihood = lattice.expected_counts(log_probability)
    counts[:BYTES] = np.maximum(counts[:BYTES], floor)
    return log_shares(counts), log_likelihood


def log_shares(counts: Floats) -> Floats:
    """Return the logarithm of each count's share of their sum; for 0 that of the smallest number there is."""
    return np.log(np.maximum(counts, np.finfo(np.float64).smallest_subnormal)) - np.log(counts.sum())


def pruned(lattice: Lattice, log_probability: Floats, number: int) -> tuple[Lattice, Floats]:
    """Return the bytes and the ``number`` other pieces with the largest losses, and log p of them, renormalised.

    Equations (tokenization.17) and (tokenization.18).
    """
    losses = lattice.losses(log_probability)
    kept = np.zeros(len(losses), dtype=bool)
    kept[np.argsort(-losses, kind="stable")[: BYTES + number]] = True
    return lattice.keep(kept), log_shares(np.exp(log_probability[kept]))


def learn_unigram(words: Words, number: int, longest: int, min_frequency: int) -> list[tuple[bytes, float]]:
    """Return the 256 bytes in order, then at most ``number`` pieces by falling probability, each with its log p.

    Args:
        words: what is learned from.
        number: pieces beside the bytes.
        longest: bytes in a piece, at most.
        min_frequency: occurrences that a run of characters needs to be looked at.
    """
    lattice, counts = seed_lattice(words, longest, min_frequency, SEEDS)
    log_probability = log_shares(np.maximum(counts, _FLOOR))
    with progress(tr("learning the unigram vocabulary", "学习 unigram 词表")) as bar:
        while True:
            for _ in range(_PASSES):
                log_probability, _ = em_step(lattice, log_probability, _FLOOR)
            bar.advance(1)
            if len(lattice.pieces) - BYTES <= number:
                break
            size = len(lattice.pieces) - BYTES
            size = max(number, int(size * (_SHRINK_FAR if size > _FAR * number else _SHRINK)))
            lattice, log_probability = pruned(lattice, log_probability, size)
    order = np.argsort(-log_probability[BYTES:], kind="stable") + BYTES
    rounded = np.round(log_probability, _DECIMALS).tolist()
    return [(lattice.pieces[i], rounded[i]) for i in [*range(BYTES), *order.tolist()]]
