"""The bigram start's formulas: distributions whatever was counted, and a loss that the table itself bounds."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from zhixing.theory import warm_start
from zhixing.theory.warm_start import bigram_fit_loss, bigram_table


def test_rows_are_distributions_and_nothing_is_impossible(rng):
    counts = rng.poisson(0.3, (12, 12)).astype(float)
    counts[3], counts[:, 5] = 0, 0  # an id that nothing follows, one that follows nothing
    table = bigram_table(counts, 0.75)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-14)
    assert table.min() > 0


def test_without_counts_a_row_is_the_lower_order_and_all_rows_are_equal():
    table = bigram_table(np.zeros((4, 4)), 0.75)
    np.testing.assert_allclose(table, 0.25)
    counts = np.array([[0.0, 9, 0], [5, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(bigram_table(counts, 0.75)[2], np.array([2, 3, 1]) / 6)  # contexts, plus one each


def test_many_counts_make_the_discount_vanish(rng):
    wanted = rng.dirichlet(np.ones(6), 6)
    gaps = [np.abs(bigram_table(wanted * size, 0.75) - wanted).max() for size in (1e2, 1e4, 1e6)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5


def test_the_loss_is_bounded_by_the_tables_entropy_and_reaches_it(rng):
    table, share = rng.dirichlet(np.ones(4), 4), rng.dirichlet(np.ones(4))
    entropy = -(share * (table * np.log(table)).sum(axis=1)).sum()
    for _ in range(20):
        assert bigram_fit_loss(rng.normal(size=(4, 4)), rng.normal(size=(4, 4)), table, share, 0.0) > entropy
    # unit contexts times their length under the norm, and a head that holds the logarithms
    head = np.log(table).T / 2.0
    assert bigram_fit_loss(np.eye(4), head, table, share, 0.0) == pytest.approx(entropy, abs=1e-12)


def test_the_length_of_an_embedding_means_nothing(rng):
    embedding, head, table = rng.normal(size=(5, 8)), rng.normal(size=(6, 8)), rng.dirichlet(np.ones(6), 5)
    share = np.full(5, 0.2)
    plain = bigram_fit_loss(embedding, head, table, share, 0.0)
    assert bigram_fit_loss(7 * embedding, head, table, share, 0.0) == pytest.approx(plain, rel=1e-13)
    assert bigram_fit_loss(embedding, 7 * head, table, share, 0.0) != pytest.approx(plain, rel=1e-3)


def test_worked_examples():
    results = doctest.testmod(warm_start)
    assert results.failed == 0
    assert results.attempted >= 4
