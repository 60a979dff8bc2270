"""Forward, backward and Viterbi passes of a hidden Markov model over many texts at once.

Time is the only loop: at each step the states of all texts of a block are one matrix, and the step is a product of
matrices. Texts are the rows of a matrix of ids, padded on the right with the id ``V``, which every state emits with
certainty: padding then changes neither the likelihood nor what is expected before it, and its own counts are thrown
away. What differs from Rabiner (1989): nothing; ``zhixing.theory.hmm`` states the same for one text.

Legend: B texts, T ids of each, S states, V vocabulary. All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.language import tr
from zhixing.models.ngram_tables import check_ids, run_threads
from zhixing.models.protocol import Ids

Floats = NDArray[np.float64]
Windows = NDArray[np.int32]

_BLOCK_NUMBERS = 1 << 20
"""Probabilities of one block (B T S), of which three arrays are alive: enough rows to make a step worth its call."""
_ARRIVING_NUMBERS = 1 << 17
"""Scores of one Viterbi step (S S B), which should stay in the processor's cache."""
_PARTS = 8
"""Threads that share the work at most; fixed, so that sums are in the same order on every machine."""


@dataclass(frozen=True)
class Parameters:
    """``start`` (S,), ``transition`` (S, S) and ``emission`` (S, V); rows sum to one.

    ``start`` and ``transition`` are above zero everywhere; a column of ``emission`` is above zero everywhere or, for
    an id that never comes, zero.
    """

    start: Floats
    transition: Floats
    emission: Floats


@dataclass(frozen=True)
class Counts:
    """How often each start (S,), transition (S, S) and emission (S, V) is expected; ``nats``: log-likelihood."""

    start: Floats
    transition: Floats
    emission: Floats
    nats: float


def cut_windows(sequences: Iterable[NDArray[Any]], length: int, vocab_size: int) -> Windows:
    """Cut every sequence into rows of ``length`` ids (N, length); what is left over is padded with ``vocab_size``.

    Raises:
        DataError: an id outside the vocabulary.
    """
    rows = []
    for number, sequence in enumerate(sequences):
        check_ids(sequence, vocab_size, tr(f"sequence {number}", f"序列 {number}"))
        padded = np.full(-(-len(sequence) // length) * length, vocab_size, np.int32)
        padded[: len(sequence)] = sequence
        rows.append(padded.reshape(-1, length))
    found = np.concatenate(rows) if rows else np.zeros((0, length), np.int32)
    longest = int((found != vocab_size).sum(axis=1).max(initial=1))
    return found[:, :longest]


def emission_rows(emission: Floats) -> Floats:
    """Return (V + 1, S): what each id says about the state. Padding, and an id that never comes, say nothing."""
    rows = np.ones((emission.shape[1] + 1, len(emission)))
    rows[:-1] = np.where(emission.any(axis=0), emission, 1.0).T
    return rows


def filter_states(
    parameters: Parameters, emitted: Floats, expected: Floats, ids: NDArray[Any]
) -> tuple[Floats, Floats, Floats]:
    """Read ``ids`` (B, T) from states ``expected`` (B, S).

    Returns:
        The emissions looked up (T, B, S), the states' probabilities after each id (T, B, S), and the probability of
        each id after those before it (T, B).
    """
    seen = emitted.take(ids.T, axis=0)
    alpha, scale = np.empty_like(seen), np.empty((*seen.shape[:2], 1))
    ones = np.ones((seen.shape[2], 1))
    for t in range(len(seen)):
        np.multiply(expected, seen[t], out=alpha[t])
        np.matmul(alpha[t], ones, out=scale[t])
        alpha[t] /= scale[t]
        expected = alpha[t] @ parameters.transition
    return seen, alpha, scale[..., 0]


def expected_counts(parameters: Parameters, windows: NDArray[Any]) -> Counts:
    """Return the expected counts of all rows of ``windows`` (N, T), and their log-likelihood."""
    emitted = emission_rows(parameters.emission)

    def count(part: NDArray[Any]) -> list[Any]:
        sums: list[Any] = [np.zeros(len(emitted[0])), np.zeros_like(parameters.transition), np.zeros(emitted.size), 0.0]
        for block in _blocks(part, len(parameters.start)):
            for index, found in enumerate(_count_block(parameters, emitted, block)):
                sums[index] += found
        return sums

    parts = run_threads(count, np.array_split(windows, _PARTS))
    start, transition, emission, nats = (sum(found[1:], found[0]) for found in zip(*parts, strict=True))
    return Counts(start, transition, emission.reshape(emitted.shape)[:-1].T, float(nats))


def _count_block(parameters: Parameters, emitted: Floats, ids: NDArray[Any]) -> tuple[Floats, Floats, Floats, float]:
    states = len(parameters.start)
    expected = np.broadcast_to(parameters.start, (len(ids), states))
    seen, alpha, scale = filter_states(parameters, emitted, expected, ids)
    posterior = np.empty_like(alpha)
    posterior[-1] = alpha[-1]
    backward, inverse = np.ascontiguousarray(parameters.transition.T), (1 / scale)[..., None]
    beta = np.ones(alpha.shape[1:])
    for t in range(len(seen) - 2, -1, -1):
        ahead = seen[t + 1]  # becomes b(x) beta / c, which the transitions need too
        ahead *= beta
        ahead *= inverse[t + 1]
        beta = ahead @ backward
        np.multiply(alpha[t], beta, out=posterior[t])
    seen[np.equal(ids.T, len(emitted) - 1)] = 0.0  # nothing moves into padding
    transition = parameters.transition * (alpha[:-1].reshape(-1, states).T @ seen[1:].reshape(-1, states))
    places = ids.T[..., None].astype(np.int64) * states + np.arange(states)
    emission = np.asarray(np.bincount(places.ravel(), posterior.ravel(), emitted.size), np.float64)
    return posterior[0].sum(axis=0), transition, emission, float(np.log(scale).sum())


def best_paths(parameters: Parameters, ids: NDArray[Any]) -> Ids:
    """Return the most probable states (B, T) of every row of ``ids`` (B, T), padding included."""
    with np.errstate(divide="ignore"):
        emitted = np.log(emission_rows(parameters.emission))
    rows = max(1, _ARRIVING_NUMBERS // len(parameters.start) ** 2)
    blocks = np.array_split(ids, max(1, -(-len(ids) // rows)))
    return np.concatenate(run_threads(lambda block: _best_paths(parameters, emitted, block), blocks))


def _best_paths(parameters: Parameters, emitted: Floats, ids: NDArray[Any]) -> Ids:
    """Only the scores are kept on the way out; on the way back each step asks one state where it came from."""
    transition = np.log(parameters.transition)
    states, (batch, length) = len(transition), ids.shape
    seen = emitted.T[:, ids.T]
    scores = np.empty((length, states, batch))  # states before texts: the maximum runs along memory
    scores[0] = np.log(parameters.start)[:, None] + seen[:, 0]
    arriving = np.empty((states, states, batch))
    for t in range(1, length):
        np.add(scores[t - 1][:, None], transition[:, :, None], out=arriving)
        np.maximum.reduce(arriving, axis=0, out=scores[t])
        scores[t] += seen[:, t]
    paths = np.empty((length, batch), np.int64)
    paths[-1] = scores[-1].argmax(axis=0)
    for t in range(length - 1, 0, -1):
        came = transition[:, paths[t]]
        came += scores[t - 1]
        came.argmax(axis=0, out=paths[t - 1])
    return paths.T


def _blocks(rows: NDArray[Any], states: int) -> Iterator[NDArray[Any]]:
    size = max(1, _BLOCK_NUMBERS // (states * rows.shape[1]))
    return (rows[begin : begin + size] for begin in range(0, len(rows), size))
