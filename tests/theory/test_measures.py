import doctest
import math

import numpy as np
import pytest

from zhixing.theory import measures


def test_uniform_guess_has_perplexity_of_the_vocabulary():
    assert measures.perplexity(np.full(9, -math.log(50))) == pytest.approx(50)


def test_bits_per_byte_is_perplexity_in_other_units():
    log_probs = np.log(np.random.default_rng(0).uniform(0.01, 1, 40))
    by_hand = 40 * math.log2(measures.perplexity(log_probs)) / 123
    assert measures.bits_per_byte(log_probs, 123) == pytest.approx(by_hand)


def test_bootstrap_covers_the_true_difference():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        a, b = rng.normal(0.3, 1, 60), rng.normal(0, 1, 60)
        drawn = rng.integers(0, 60, (400, 60))
        _, low, high = measures.paired_bootstrap(a, b, np.ones(60), drawn)
        inside += low <= 0.3 <= high
    assert 0.88 <= inside / 200 <= 0.99


def test_permutation_p_is_rarely_small_without_a_difference():
    rng = np.random.default_rng(2)
    p = []
    for _ in range(200):
        signs = rng.integers(0, 2, (199, 30)) * 2 - 1
        p.append(measures.permutation_p(rng.normal(size=30), rng.normal(size=30), signs))
    assert np.mean(np.array(p) <= 0.05) < 0.11
    assert np.mean(p) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("only_a", "only_b", "p"), [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 22 / 1024), (10, 0, 2 / 1024)])
def test_mcnemar_is_the_two_sided_binomial_test(only_a, only_b, p):
    assert measures.mcnemar(only_a, only_b) == pytest.approx(p)


def test_worked_examples():
    assert doctest.testmod(measures).failed == 0
    assert doctest.testmod(measures).attempted >= 3
