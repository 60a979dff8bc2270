"""The formulas against their own claims, and production filters and draws against the formulas."""

import doctest
from collections import Counter

import numpy as np
import pytest

from zhixing.generation import filters
from zhixing.generation.sampling import Draw
from zhixing.theory import decoding as theory

RANDOM = np.random.default_rng(7)
ROWS = [RANDOM.normal(0, spread, size) for spread in (0.1, 1.0, 4.0) for size in (2, 17, 400)]


@pytest.fixture(params=range(len(ROWS)))
def row(request):
    return np.log(theory.softmax(ROWS[request.param]))


def test_examples():
    assert doctest.testmod(theory).failed == 0


def test_temperature(row):
    np.testing.assert_allclose(theory.softmax(filters.temperature(row, 0.7)), theory.softmax(row, 0.7), atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 10])
def test_top_k(row, k):
    k = min(k, row.size)
    np.testing.assert_allclose(theory.softmax(filters.top_k(row, k)), theory.top_k(np.exp(row), k), atol=1e-12)


@pytest.mark.parametrize("mass", [0.05, 0.5, 0.9, 0.999])
def test_top_p(row, mass):
    np.testing.assert_allclose(theory.softmax(filters.top_p(row, mass)), theory.top_p(np.exp(row), mass), atol=1e-12)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 1.0])
def test_min_p(row, fraction):
    np.testing.assert_allclose(
        theory.softmax(filters.min_p(row, fraction)), theory.min_p(np.exp(row), fraction), atol=1e-12
    )


def test_penalties(row):
    generated = RANDOM.integers(0, row.size, 9)
    count = Counter(generated.tolist())
    ids, counts = np.array(list(count)), np.array(list(count.values()))
    shifted = row + 1.0  # some scores positive, some negative
    np.testing.assert_array_equal(
        filters.repetition(shifted, ids, 1.3), theory.repetition_penalty(shifted, generated, 1.3)
    )
    np.testing.assert_allclose(
        filters.presence_frequency(row, ids, counts, 0.4, 0.2),
        theory.count_penalties(row, generated, 0.4, 0.2),
        atol=1e-12,
    )


def test_race_and_draw_choose_the_same(row):
    draw, random = Draw(11), np.random.Generator(np.random.Philox(key=11))
    for _ in range(50):
        assert draw.choose(row) == theory.exponential_race(np.exp(row), random.standard_exponential(row.size))


def test_race_follows_the_distribution():
    p = theory.softmax([0.0, 1.0, 2.0, -1.0])
    random = np.random.default_rng(0)
    wins = Counter(theory.exponential_race(p, random.standard_exponential(4)) for _ in range(20_000))
    share = np.array([wins[i] for i in range(4)]) / 20_000
    np.testing.assert_allclose(share, p, atol=4 * np.sqrt(0.25 / 20_000))


def test_speculative_rule_leaves_the_models_distribution():
    p, q = theory.softmax(RANDOM.normal(size=30)), theory.softmax(RANDOM.normal(size=30))
    kept = q * theory.speculative_acceptance(p, q)
    refused = 1.0 - kept.sum()
    np.testing.assert_allclose(kept + refused * theory.speculative_residual(p, q), p, atol=1e-12)
