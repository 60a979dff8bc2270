"""The rows of word vectors agree, and broken loops and tables are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.agreement.families.word_vectors import ROWS
from zhixing.agreement.run import check
from zhixing.models import word_vector_kernels as kernels
from zhixing.models import word_vector_tables as tables
from zhixing.models import word_vectors

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_rows_agree(row, seed) -> None:
    result = check(row, CPU, torch.float32, seed)
    assert result.ok, result


def _labels_turned(source, outputs, near, far, rate, held, right=kernels.skip_gram_place):
    held.labels[:far] = 1 - held.labels[:far]
    right(source, outputs, near, far, rate, held)


def _undivided(source, outputs, near, far, rate, held, right=kernels.cbow_place):
    """Each neighbour gets the whole change, as in the authors' program."""
    before = source.copy()
    right(source, outputs, near, far, rate, held)
    source += (near - 1) * (source - before)


def _bits_turned(counts, right=tables.huffman_paths):
    found = right(counts)
    return found._replace(labels=1 - found.labels)


def _no_alias(probabilities, right=tables.noise_tables):
    found = right(probabilities)
    return found._replace(alias=np.arange(len(probabilities), dtype=np.int32))


def _one_sided(*given, right=tables.neighbours):
    yield from list(right(*given))[::2]


def _half(*given, right=kernels.learn_counts):
    """The two of the square's derivative dropped."""
    weights = given[4]
    before = weights.copy()
    loss = right(*given)
    weights += (before - weights) / 2
    return loss


def _unsigned(gram, buckets):
    value = 2166136261
    for byte in gram.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value % buckets


BROKEN = {
    "labels turned": ("skip_gram", kernels, "skip_gram_place", _labels_turned),
    "tree: labels turned": ("hierarchical_softmax", kernels, "skip_gram_place", _labels_turned),
    "mean's share dropped": ("cbow", kernels, "cbow_place", _undivided),
    "tree: bits turned": ("huffman", tables, "huffman_paths", _bits_turned),
    "tree: bits turned, learned": ("hierarchical_softmax", tables, "huffman_paths", _bits_turned),
    "power dropped": ("noise", tables, "noise_probabilities", lambda counts, power: counts / counts.sum()),
    "alias dropped": ("noise", tables, "noise_tables", _no_alias),
    "root dropped": (
        "thinning", tables, "keep_probabilities", lambda counts, t: np.minimum(1, t * counts.sum() / counts)
    ),
    "one side only": ("window_pairs", tables, "neighbours", _one_sided),
    "one side counted": ("co_occurrence", tables, "neighbours", _one_sided),
    "a factor of two": ("glove", kernels, "learn_counts", _half),
    "bytes without sign": ("subwords", tables, "gram_bucket", _unsigned),
    "n-grams without their marks": ("subwords", tables, "word_grams", lambda word, a, b: [word[:a]]),
    "a sum for the mean": (
        "compose", word_vectors, "mean_of_grams",
        lambda grams, vectors, right=word_vectors.mean_of_grams: len(grams) * right(grams, vectors),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, module, attribute, wrong = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == f"word_vectors.{name}")
    monkeypatch.setattr(module, attribute, wrong)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert 10 * result.bound < result.error, result
