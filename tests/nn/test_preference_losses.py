"""Losses of preferences: what padding, equal rewards and far-off policies must not break."""

import math

import pytest
import torch

from zhixing.nn.preference_losses import dpo_sum, group_advantages, grpo_sum


def test_dpo_at_the_reference_is_log_two():
    log_probs = torch.tensor([-30.0, -2.0])
    assert dpo_sum(log_probs, log_probs - 5, log_probs, log_probs - 5, 0.1).item() == pytest.approx(2 * math.log(2))


def test_dpo_stays_finite_far_away():
    far = torch.tensor([-5000.0], requires_grad=True)
    near = torch.tensor([0.0])
    loss = dpo_sum(far, near, near, near, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(5000.0)
    assert far.grad.item() == pytest.approx(-1.0)


def test_equal_rewards_teach_nothing():
    advantages = group_advantages(torch.tensor([[0.1, 0.1, 0.1], [0.0, 1.0, 2.0]]))
    assert advantages[0].abs().max() < 1e-3
    assert advantages[1].tolist() == pytest.approx([-1.2245, 0.0, 1.2245], abs=1e-3)
    assert group_advantages(torch.tensor([[3.0]])).tolist() == [[0.0]]


def test_padding_is_neither_read_nor_moved():
    """Log-probabilities at padding may be anything, also infinite."""
    log_probs = torch.tensor([[-1.0, -2.0, 0.0]])
    counted = torch.tensor([[True, True, False]])
    results = []
    for rubbish in (0.0, 200.0, -math.inf):
        given = torch.where(counted, log_probs, rubbish).requires_grad_()
        loss = grpo_sum(given, log_probs - 0.1, log_probs, torch.tensor([1.0]), counted)
        loss.backward()
        assert given.grad[0, 2] == 0
        results.append([loss.item(), *given.grad[0, :2].tolist()])
    assert results[0] == results[1] == results[2]
    assert all(map(math.isfinite, results[0]))


def test_a_step_along_the_gradient_makes_the_better_answer_likelier():
    log_probs = torch.tensor([[-1.0, -1.0], [-1.0, -1.0]], requires_grad=True)
    fixed = log_probs.detach()
    advantages = group_advantages(torch.tensor([[1.0, 0.0]]))[0]
    grpo_sum(log_probs, fixed, fixed, advantages, torch.ones(2, 2, dtype=torch.bool)).backward()
    assert (log_probs.grad[0] < 0).all() and (log_probs.grad[1] > 0).all()
