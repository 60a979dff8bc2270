"""The recursions against sums over every path, and what Baum-Welch promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zhixing.theory import hmm

STATES, SYMBOLS = 3, 4


@pytest.fixture
def model(rng):
    return hmm.HiddenMarkovModel(
        rng.dirichlet(np.ones(STATES)),
        rng.dirichlet(np.ones(STATES), STATES),
        rng.dirichlet(np.ones(SYMBOLS), STATES),
    )


@pytest.fixture
def observed(rng):
    return rng.integers(SYMBOLS, size=5)


def every_path(model, observed):
    """All paths (S ** T, T) and the joint probability of each with what is observed."""
    paths = np.array(list(itertools.product(range(len(model.start)), repeat=len(observed))))
    joint = model.start[paths[:, 0]] * model.transition[paths[:, :-1], paths[:, 1:]].prod(axis=1)
    return paths, joint * model.emission[paths, observed].prod(axis=1)


def test_likelihood_is_the_sum_over_every_path(model, observed):
    _, joint = every_path(model, observed)
    assert hmm.log_likelihood(model, observed) == pytest.approx(np.log(joint.sum()), abs=1e-12)


def test_forward_is_the_filtered_state(model, observed):
    alpha, _ = hmm.forward(model, observed)
    for t in range(1, len(observed) + 1):
        paths, joint = every_path(model, observed[:t])
        by_state = np.bincount(paths[:, -1], joint, STATES)
        np.testing.assert_allclose(alpha[t - 1], by_state / joint.sum(), atol=1e-12)


def test_posteriors_are_sums_over_paths(model, observed):
    paths, joint = every_path(model, observed)
    share = joint / joint.sum()
    states, moves = hmm.state_posteriors(model, observed), hmm.transition_posteriors(model, observed)
    for t in range(len(observed)):
        np.testing.assert_allclose(states[t], np.bincount(paths[:, t], share, STATES), atol=1e-12)
    for t in range(len(observed) - 1):
        pair = np.bincount(paths[:, t] * STATES + paths[:, t + 1], share, STATES**2)
        np.testing.assert_allclose(moves[t].ravel(), pair, atol=1e-12)


def test_scaled_backward_and_forward_make_one_distribution_everywhere(model, observed):
    np.testing.assert_allclose(hmm.state_posteriors(model, observed).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(
        hmm.transition_posteriors(model, observed).sum(axis=2), hmm.state_posteriors(model, observed)[:-1], atol=1e-12
    )


def test_next_symbol_is_a_ratio_of_likelihoods(model, observed):
    longer = [hmm.log_likelihood(model, np.append(observed, k)) for k in range(SYMBOLS)]
    expected = np.exp(np.array(longer) - hmm.log_likelihood(model, observed))
    np.testing.assert_allclose(hmm.next_symbol(model, observed), expected, atol=1e-12)


def test_viterbi_finds_the_best_of_every_path(rng):
    for _ in range(20):
        model = hmm.HiddenMarkovModel(
            rng.dirichlet(np.ones(STATES)), rng.dirichlet(np.ones(STATES), STATES), rng.dirichlet(np.ones(4), STATES)
        )
        observed = rng.integers(4, size=6)
        paths, joint = every_path(model, observed)
        np.testing.assert_array_equal(hmm.viterbi(model, observed), paths[joint.argmax()])
        assert hmm.viterbi_scores(model, observed)[0][-1].max() == pytest.approx(np.log(joint.max()))


def test_viterbi_takes_no_step_that_cannot_be():
    model = hmm.HiddenMarkovModel(np.array([1.0, 0.0]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.full((2, 2), 0.5))
    np.testing.assert_array_equal(hmm.viterbi(model, np.zeros(5, np.int64)), [0, 1, 0, 1, 0])


def test_a_long_text_does_not_underflow(model, rng):
    assert np.isfinite(hmm.log_likelihood(model, rng.integers(SYMBOLS, size=5000)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_objective_never_falls(model, rng, smoothing):
    texts = [rng.integers(SYMBOLS, size=length) for length in (1, 7, 20)]

    def objective(m):
        prior = sum(np.log(p).sum() for p in (m.start, m.transition, m.emission)) if smoothing else 0.0
        return sum(hmm.log_likelihood(m, text) for text in texts) + smoothing * prior

    values = [objective(model)]
    for _ in range(15):
        model = hmm.baum_welch_step(model, texts, smoothing)
        values.append(objective(model))
    assert min(np.diff(values)) > -1e-9
    assert values[-1] > values[0] + 1


def test_expected_counts_count_every_observation_once(model, rng):
    texts = [rng.integers(SYMBOLS, size=length) for length in (4, 9)]
    starts, transitions, emissions = hmm.expected_counts(model, texts)
    assert starts.sum() == pytest.approx(2)
    assert transitions.sum() == pytest.approx(3 + 8)
    np.testing.assert_allclose(emissions.sum(axis=0), np.bincount(np.concatenate(texts), minlength=SYMBOLS))


def test_counting_recovers_the_model_that_made_the_text(model, rng):
    states, symbols = [], []
    for _ in range(300):
        path = [rng.choice(STATES, p=model.start)]
        for _ in range(19):
            path.append(rng.choice(STATES, p=model.transition[path[-1]]))
        states.append(np.array(path))
        symbols.append(np.array([rng.choice(SYMBOLS, p=model.emission[z]) for z in path]))
    counted = hmm.count_tagged(states, symbols, STATES, SYMBOLS)
    np.testing.assert_allclose(counted.transition, model.transition, atol=0.06)
    np.testing.assert_allclose(counted.emission, model.emission, atol=0.06)


def test_counting_is_a_step_with_certain_states(rng):
    """Where each symbol betrays its state, the expected counts are the counts."""
    states = [rng.integers(STATES, size=12)]
    certain = hmm.HiddenMarkovModel(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), np.eye(3))
    step, counted = hmm.baum_welch_step(certain, states), hmm.count_tagged(states, states, STATES, STATES)
    np.testing.assert_allclose(step.transition, counted.transition, atol=1e-12)
    np.testing.assert_allclose(step.start, counted.start, atol=1e-12)
