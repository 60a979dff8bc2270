"""What the inner loops of word vectors look up: noise, Huffman paths, n-grams of letters, co-occurrences.

The formulas are in ``zhixing.theory.word_vectors``; here they are arrays for a whole vocabulary.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.models.word_vector_kernels import Grams, Noise, Paths

_PAIRS_AT_ONCE = 4_000_000
"""Co-occurrences sorted together: about 100 MB."""


def noise_probabilities(counts: NDArray[Any], power: float) -> NDArray[np.float64]:
    """Return (V,) how likely each word is drawn as noise: its count to the ``power``."""
    raised = np.asarray(counts, np.float64) ** power
    return np.asarray(raised / raised.sum())


def keep_probabilities(counts: NDArray[Any], threshold: float) -> NDArray[np.float64]:
    """Return (V,) how often each word is kept; ``threshold`` 0: always."""
    if threshold == 0:
        return np.ones(len(counts))
    shares = np.asarray(counts, np.float64) / np.sum(counts)
    return np.minimum(1.0, np.sqrt(threshold / shares))


def noise_tables(probabilities: NDArray[np.float64]) -> Noise:
    """Return alias tables (Walker 1977; Vose 1991): word w is kept with ``kept[w]``, else its alias is taken."""
    scaled = probabilities * len(probabilities)
    kept, alias = np.ones(len(scaled)), np.arange(len(scaled), dtype=np.int32)
    small, large = list(np.flatnonzero(scaled < 1)), list(np.flatnonzero(scaled >= 1))
    while small and large:
        poor, rich = small.pop(), large.pop()
        kept[poor], alias[poor] = scaled[poor], rich
        scaled[rich] -= 1 - scaled[poor]
        (small if scaled[rich] < 1 else large).append(rich)
    return Noise(kept, alias)


def no_noise() -> Noise:
    """Return the tables of hierarchical softmax, which needs none."""
    return Noise(np.zeros(0), np.zeros(0, np.int32))


def huffman_paths(counts: NDArray[Any]) -> Paths:
    """Return the path of every word down the Huffman tree of the counts, from the root (node V - 2)."""
    size = len(counts)
    queue = [(int(count), word) for word, count in enumerate(counts)]
    heapq.heapify(queue)
    parent, bit = np.zeros(2 * size - 1, np.int64), np.zeros(2 * size - 1, np.int8)
    for node in range(size, 2 * size - 1):
        (rare, first), (common, second) = heapq.heappop(queue), heapq.heappop(queue)
        parent[[first, second]], bit[second] = node, 1
        heapq.heappush(queue, (rare + common, node))
    nodes: list[int] = []
    labels: list[int] = []
    starts = [0]
    for word in range(size):
        path = []
        at = word
        while at != 2 * size - 2:
            path.append((int(parent[at]) - size, 1 - int(bit[at])))
            at = int(parent[at])
        nodes += [node for node, _ in reversed(path)]
        labels += [label for _, label in reversed(path)]
        starts.append(len(nodes))
    return Paths(np.array(starts, np.int64), np.array(nodes, np.int32), np.array(labels, np.float32))


def no_paths() -> Paths:
    """Return the tables of negative sampling, which needs none."""
    return Paths(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


def word_grams(word: str, shortest: int, longest: int) -> list[str]:
    """Return the n-grams of ``<word>`` as the authors' program lists them: the whole only if it is short enough."""
    marked = f"<{word}>"
    lengths = range(shortest, min(longest, len(marked)) + 1)
    return [marked[i : i + n] for i in range(len(marked)) for n in lengths if i + n <= len(marked)]


def gram_bucket(gram: str, buckets: int) -> int:
    """Return the shared row of an n-gram: FNV-1a over its bytes, which count as signed numbers."""
    value = 2166136261
    for byte in gram.encode("utf-8", "surrogatepass"):
        value = ((value ^ (byte | 0xFFFFFF00 if byte > 127 else byte)) * 16777619) & 0xFFFFFFFF
    return value % buckets


def gram_tables(words: Sequence[str], shortest: int, longest: int, buckets: int) -> Grams:
    """Return the rows of every word: its own, and V + bucket for each of its n-grams."""
    known: dict[str, int] = {}
    rows: list[int] = []
    starts = [0]
    for number, word in enumerate(words):
        rows.append(number)
        for gram in word_grams(word, shortest, longest):
            if gram not in known:
                known[gram] = len(words) + gram_bucket(gram, buckets)
            rows.append(known[gram])
        starts.append(len(rows))
    return Grams(np.array(starts, np.int64), np.array(rows, np.int32))


def no_grams() -> Grams:
    """Return the tables of models whose words are their own rows."""
    return Grams(np.zeros(0, np.int64), np.zeros(0, np.int32))


Counted = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


def co_occurrences(text: NDArray[np.int32], vocab_size: int, window: int) -> Counted:
    """Return who stands beside whom, on either side, and how often, each place weighed by one over its distance.

    Args:
        text: words, -1 between sentences.
        vocab_size: ``V``.
        window: words.

    Returns:
        Rows, columns, counts, in the order of the rows and then the columns.
    """
    keys: NDArray[np.int64] = np.zeros(0, np.int64)
    sums: NDArray[np.float64] = np.zeros(0)
    step = max(1, _PAIRS_AT_ONCE // (2 * window))
    for begin in range(0, len(text), step):
        found = list(neighbours(text, begin, min(begin + step, len(text)), vocab_size, window))
        new = np.concatenate([keys, *(k for k, _ in found)])
        weights = np.concatenate([sums, *(np.full(len(k), w) for k, w in found)])
        keys, places = np.unique(new, return_inverse=True)
        sums = np.bincount(places, weights, minlength=len(keys)).astype(np.float64)
    return (keys // vocab_size).astype(np.int32), (keys % vocab_size).astype(np.int32), sums.astype(np.float32)


def neighbours(
    text: NDArray[np.int32], begin: int, end: int, vocab_size: int, window: int
) -> Iterable[tuple[NDArray[np.int64], float]]:
    """Yield the pairs whose left word stands in [begin, end), by distance, in both orders."""
    breaks = np.cumsum(text[begin : end + window] < 0)
    for distance in range(1, window + 1):
        left = text[begin : min(end, len(text) - distance)].astype(np.int64)
        right = text[begin + distance : begin + distance + len(left)].astype(np.int64)
        whole = (left >= 0) & (right >= 0) & (breaks[: len(left)] == breaks[distance : distance + len(left)])
        left, right = left[whole], right[whole]
        yield left * vocab_size + right, 1 / distance
        yield right * vocab_size + left, 1 / distance
