import doctest

import numpy as np
import pytest

from zhixing.theory import mixture
from zhixing.theory.mixture import em_step, interpolate, table_em_step


def _likelihood(p, w):
    return np.log(interpolate(p, w)).sum()


def test_mixture_of_distributions_is_a_distribution():
    members = np.random.default_rng(0).dirichlet(np.ones(20), 3).T  # (20, 3)
    assert interpolate(members, [0.2, 0.3, 0.5]).sum() == pytest.approx(1)


def test_em_never_lowers_the_likelihood_and_finds_its_maximum():
    rng = np.random.default_rng(1)
    p, w = rng.uniform(0.01, 1, (500, 2)), np.array([0.9, 0.1])
    before = _likelihood(p, w)
    for _ in range(300):
        w = em_step(p, w)
        after = _likelihood(p, w)
        assert after >= before - 1e-10
        before = after
    grid = [_likelihood(p, [x, 1 - x]) for x in np.linspace(0.001, 0.999, 999)]
    assert before >= max(grid) - 1e-6
    assert w.sum() == pytest.approx(1)


def test_strength_draws_the_weights_to_the_prior():
    p, prior = np.array([[0.9, 0.1]]), np.array([0.3, 0.7])
    gaps = [abs(em_step(p, prior, prior, s)[0] - 0.3) for s in (0.0, 1.0, 10.0, 1e6)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-5


def test_soft_table_never_lowers_the_posterior():
    rng = np.random.default_rng(2)
    p, prior = rng.uniform(0.01, 1, (300, 3)), np.array([0.2, 0.3, 0.5])
    phi, table = rng.dirichlet(np.ones(4), 300), rng.dirichlet(np.ones(3), 4)
    posteriors = []
    for _ in range(50):
        likelihood = np.log(np.einsum("nk,km,nm->n", phi, table, p)).sum()
        posteriors.append(likelihood + 5 * (prior * np.log(table)).sum())
        table = table_em_step(p, phi, table, prior, 5.0)
    assert (np.diff(posteriors) >= -1e-9).all()
    assert posteriors[-1] > posteriors[0]


def test_worked_examples():
    assert doctest.testmod(mixture).failed == 0
    assert doctest.testmod(mixture).attempted >= 3
