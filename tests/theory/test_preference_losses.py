from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import preference_losses as theory


def test_dpo_gradient(differences, rng):
    chosen, rejected, ref_chosen, ref_rejected = rng.normal(size=(4, 5), scale=3.0)
    better, worse = theory.dpo_loss_gradient(chosen, rejected, ref_chosen, ref_rejected, 0.4)
    np.testing.assert_allclose(
        better, differences(lambda v: theory.dpo_loss(v, rejected, ref_chosen, ref_rejected, 0.4), chosen), atol=1e-9
    )
    np.testing.assert_allclose(
        worse, differences(lambda v: theory.dpo_loss(chosen, v, ref_chosen, ref_rejected, 0.4), rejected), atol=1e-9
    )


def test_dpo_begins_at_log_two(rng):
    answers = rng.normal(size=(2, 5))
    assert theory.dpo_loss(*answers, *answers, beta=0.7) == pytest.approx(np.log(2))


def _answers(rng):
    old = -rng.exponential(size=(4, 6))
    counted = np.arange(6) < np.array([[6], [3], [5], [1]])
    return old + 0.4 * rng.normal(size=(4, 6)), old, old + 0.4 * rng.normal(size=(4, 6)), rng.normal(size=4), counted


def test_grpo_gradient(differences, rng):
    log_probs, *rest = _answers(rng)
    ratio = np.exp(log_probs - rest[0])
    assert (ratio > 1.2).any() and (ratio < 0.8).any() and (abs(ratio - 1) < 0.2).any()
    for beta in (0.0, 0.1):
        np.testing.assert_allclose(
            theory.grpo_loss_gradient(log_probs, *rest, 0.2, beta),
            differences(lambda v, beta=beta: theory.grpo_loss(v, *rest, 0.2, beta), log_probs, width=1e-4),
            atol=1e-8,
        )


def test_grpo_at_the_old_policy_is_reinforce_with_a_baseline(rng):
    """One step from where the answers were drawn, the gradient is -A / (G |o|) on every token."""
    log_probs, _, _, advantages, counted = _answers(rng)
    gradient = theory.grpo_loss_gradient(log_probs, log_probs, log_probs, advantages, counted, 0.2, 0.1)
    expected = -advantages[:, None] * counted / counted.sum(-1, keepdims=True) / 4
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


def test_kl_estimate_has_the_divergence_as_its_mean(rng):
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    assert (p * theory.kl_estimate(np.log(p), np.log(q))).sum() == pytest.approx((p * np.log(p / q)).sum())
    assert (theory.kl_estimate(np.log(p), np.log(q)) >= 0).all()


def test_advantages_do_not_depend_on_the_scale_of_rewards(rng):
    rewards = rng.normal(size=(3, 8))
    shifted = theory.group_advantages(1000 * rewards + 5)
    np.testing.assert_allclose(shifted, theory.group_advantages(rewards), atol=1e-3)
    np.testing.assert_allclose(shifted.std(axis=-1), 1.0, atol=1e-3)
