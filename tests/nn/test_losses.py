"""The chunked head and loss is the plain one, in value and gradients, however it is cut."""

import numpy as np
import pytest
import torch

from zhixing.nn.losses import (
    cross_entropy_sum,
    factorisation_mask,
    linear_cross_entropy_sum,
    masked_lm_sum,
    permutation_lm_sum,
)
from zhixing.theory import losses as theory

N, D, V = 37, 12, 29


def _inputs(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(N, D, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(V, D, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, V, (N,), generator=generator)
    weights = torch.rand(N, generator=generator)
    weights[::5] = 0
    return hidden, weight, targets, weights


@pytest.mark.parametrize("weighted", [False, True])
def test_plain_is_the_formula(weighted):
    hidden, weight, targets, weights = _inputs()
    logits = (hidden @ weight.T).detach()
    rows = [theory.cross_entropy(logits[i : i + 1].double().numpy(), targets[i : i + 1].numpy()) for i in range(N)]
    expected = float(np.dot(rows, weights.numpy() if weighted else np.ones(N)))
    assert cross_entropy_sum(logits, targets, weights if weighted else None).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 36, 37, 38, 512])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunked_is_plain(rows, weighted):
    hidden, weight, targets, weights = _inputs(rows)
    given = weights if weighted else None
    plain = cross_entropy_sum(hidden @ weight.T, targets, given)
    expected = torch.autograd.grad(plain / 3, [hidden, weight])
    chunked = linear_cross_entropy_sum(hidden, weight, targets, given, rows)
    found = torch.autograd.grad(chunked / 3, [hidden, weight])
    torch.testing.assert_close(chunked, plain, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        silent = linear_cross_entropy_sum(hidden, weight, targets, given, rows)
    torch.testing.assert_close(silent, plain.detach(), rtol=1e-5, atol=1e-4)


def test_a_target_of_weight_zero_changes_nothing():
    hidden, weight, targets, weights = _inputs()
    changed = torch.where(weights == 0, (targets + 1) % V, targets)
    first, second = (
        torch.autograd.grad(linear_cross_entropy_sum(hidden, weight, t, weights, 8), [hidden, weight])
        for t in (targets, changed)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert (first[0][weights == 0] == 0).all()


def test_huge_logits_do_not_overflow():
    hidden, weight, targets, _ = _inputs()
    big = (hidden.detach() * 1e3).requires_grad_()
    loss = linear_cross_entropy_sum(big, weight, targets, rows=10)
    gradients = torch.autograd.grad(loss, [big, weight])
    assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in gradients)
    torch.testing.assert_close(loss, cross_entropy_sum(big @ weight.T, targets))


@pytest.mark.parametrize("layout", ["transposed", "sliced"])
def test_hidden_states_that_are_not_contiguous(layout):
    _, weight, targets, _ = _inputs()
    base = torch.randn(D, N) if layout == "transposed" else torch.randn(N, 2 * D)
    base.requires_grad_()
    part = base.T if layout == "transposed" else base[:, ::2]
    expected = torch.autograd.grad(cross_entropy_sum(part @ weight.T, targets), [base, weight])
    found = torch.autograd.grad(linear_cross_entropy_sum(part, weight, targets, rows=7), [base, weight])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_weight_that_is_frozen_or_shared():
    hidden, weight, targets, _ = _inputs()
    frozen = weight.detach()
    (found,) = torch.autograd.grad(linear_cross_entropy_sum(hidden, frozen, targets), [hidden])
    (expected,) = torch.autograd.grad(cross_entropy_sum(hidden @ frozen.T, targets), [hidden])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    embedded = weight[targets]  # a tied embedding receives gradients from both ends
    shared = torch.autograd.grad(linear_cross_entropy_sum(embedded, weight, targets), weight)
    plain = torch.autograd.grad(cross_entropy_sum(weight[targets] @ weight.T, targets), weight)
    torch.testing.assert_close(shared, plain, rtol=1e-4, atol=1e-4)


def test_low_precision_sums_in_float32():
    hidden, weight, targets, _ = _inputs(dtype=torch.bfloat16)
    loss = linear_cross_entropy_sum(hidden, weight, targets, rows=4)
    assert loss.dtype == torch.float32
    exact = cross_entropy_sum((hidden.double() @ weight.double().T), targets)
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    loss.backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.bfloat16


def test_masked_lm_reads_only_masked_places() -> None:
    torch.manual_seed(0)
    logits, ids = torch.randn(2, 5, 7), torch.randint(7, (2, 5))
    masked = torch.tensor([[True, False, False, True, False], [False, False, True, False, False]])
    before = masked_lm_sum(logits, ids, masked)
    logits[~masked] += 9 * torch.randn(7, 7)
    assert masked_lm_sum(logits, ids, masked) == before


def test_the_natural_order_is_causal_language_modelling() -> None:
    torch.manual_seed(0)
    order = torch.arange(4).expand(2, 4)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    assert torch.equal(factorisation_mask(order, content=True)[1, 0], causal)
    assert torch.equal(factorisation_mask(order, content=False)[1, 0], causal.tril(-1))
    logits, ids = torch.randn(2, 4, 7), torch.randint(7, (2, 4))
    expected = cross_entropy_sum(logits.flatten(0, 1), ids.flatten())
    torch.testing.assert_close(permutation_lm_sum(logits, ids, order, predicted=4), expected)


def test_nothing_sees_what_it_predicts() -> None:
    """Along any chain of layers: whatever reaches place i through content streams comes before i in the order."""
    order = torch.tensor([[3, 1, 4, 0, 2]])
    query = factorisation_mask(order, content=False)[0, 0].float()
    content = factorisation_mask(order, content=True)[0, 0].float()
    reach = query @ content @ content @ content > 0
    assert torch.equal(reach, query > 0)
    assert not reach.diagonal().any()
