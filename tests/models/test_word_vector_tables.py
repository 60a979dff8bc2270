"""The look-up tables of word vectors, beside brute force."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.models import word_vector_tables as tables
from zhixing.theory.word_vectors import co_occurrence


def test_huffman_paths_end_at_every_word_and_are_short_for_the_frequent() -> None:
    counts = np.array([500, 100, 40, 8, 5, 1])
    paths = tables.huffman_paths(counts)
    lengths = np.diff(paths.starts)
    assert lengths[0] == 1 and list(lengths) == sorted(lengths)
    assert np.isclose((0.5**lengths).sum(), 1)
    assert all(paths.nodes[start] == len(counts) - 2 for start in paths.starts[:-1])


def test_co_occurrences_do_not_cross_breaks_nor_depend_on_the_cutting(monkeypatch) -> None:
    sentences = [[0, 1, 2, 0, 1], [2, 2, 3], [1]]
    text = np.array([n for s in sentences for n in [*s, -1]], np.int32)
    expected = sum(co_occurrence(s, 4, 3) for s in sentences)
    for at_once in (10**6, 12):
        monkeypatch.setattr(tables, "_PAIRS_AT_ONCE", at_once)
        rows, columns, counts = tables.co_occurrences(text, 4, 3)
        found = np.zeros((4, 4))
        found[rows, columns] = counts
        assert np.allclose(found, expected)
        assert (counts > 0).all()


def test_grams_of_a_word_and_their_rows() -> None:
    assert tables.word_grams("of", 3, 6) == ["<of", "<of>", "of>"]
    assert "<where>" not in tables.word_grams("where", 3, 6)
    found = tables.gram_tables(["of", "off"], 3, 6, 100)
    assert found.rows[0] == 0 and found.rows[found.starts[1]] == 1
    assert found.rows[1] == found.rows[found.starts[1] + 1] == 2 + tables.gram_bucket("<of", 100)
    assert (found.rows[[1, 2, 3]] >= 2).all()


def test_alias_tables_draw_the_distribution() -> None:
    kernels = pytest.importorskip("zhixing.models.word_vector_kernels")
    wanted = tables.noise_probabilities(np.array([60, 30, 9, 1]), 0.75)
    noise, state = tables.noise_tables(wanted), np.array([5], np.uint64)
    with np.errstate(over="ignore"):
        drawn = np.bincount([kernels.draw_noise(state, noise.kept, noise.alias) for _ in range(40_000)], minlength=4)
    assert np.abs(drawn / 40_000 - wanted).max() < 0.01


def test_keep_probability_zero_threshold_keeps_all() -> None:
    assert (tables.keep_probabilities(np.array([10**6, 1]), 0.0) == 1).all()
