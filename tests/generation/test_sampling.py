"""Draws: right distribution, own random numbers, and hardly moved by a model's rounding."""

import numpy as np

from zhixing.generation.sampling import Draw, Greedy, derived_seed, fresh_seed
from zhixing.theory.decoding import softmax


def test_distribution():
    p = softmax(np.random.default_rng(1).normal(0, 1.5, 12))
    draw, trials = Draw(5), 40_000
    counts = np.bincount([draw.choose(np.log(p)) for _ in range(trials)], minlength=12)
    chi_square = ((counts - trials * p) ** 2 / (trials * p)).sum()
    assert chi_square < 35.0, "11 degrees of freedom: above 35 once in 4,000"


def test_scores_need_not_be_normalised():
    row = np.random.default_rng(2).normal(size=50)
    one, other = Draw(3), Draw(3)
    assert [one.choose(row) for _ in range(50)] == [other.choose(row - 4.0) for _ in range(50)]


def test_removed_tokens_are_never_drawn_and_do_not_shift_the_others():
    row = np.zeros(20)
    cut = np.where(np.arange(20) < 10, row, -np.inf)
    whole, part = Draw(9), Draw(9)
    for _ in range(500):
        free, bound = whole.choose(row), part.choose(cut)
        assert bound < 10
        if free < 10:
            assert bound == free


def test_last_bits_of_the_model_hardly_matter():
    """An inverted cumulative sum is changed far more often."""
    random = np.random.default_rng(0)
    row = np.log(softmax(random.normal(0, 3, 50_257)))
    noisy = row + random.normal(0, 2e-5, row.size)
    one, other = Draw(1), Draw(1)
    assert all(one.choose(row) == other.choose(noisy) for _ in range(150))
    sums, noisy_sums, uniform = np.exp(row).cumsum(), np.exp(noisy).cumsum(), random.random(20_000)
    assert (sums.searchsorted(uniform) != noisy_sums.searchsorted(uniform)).sum() > 10


def test_greedy_takes_the_lowest_of_ties():
    assert Greedy().choose(np.array([-2.0, -1.0, -1.0, -np.inf])) == 1


def test_derived_seeds():
    seeds = [derived_seed(42, index) for index in range(128)]
    assert seeds[0] == 42
    assert len(set(seeds)) == 128
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert not set(seeds) & {derived_seed(43, index) for index in range(128)}


def test_negative_and_fresh_seeds():
    assert Draw(-1).choose(np.zeros(100)) == Draw(-1).choose(np.zeros(100))
    assert len({fresh_seed() for _ in range(20)}) == 20
