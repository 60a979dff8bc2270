"""A product shared by the steps of a loop is the product, and its gradient is automatic differentiation's."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from zhixing.nn.shared_matrix import SharedMatrix

SHAPES = {"one matrix": ((3, 4), (4, 5)), "columns": ((3, 1, 4), (4, 5)), "one for each row": ((3, 1, 4), (3, 4, 5))}


def loop(product, first, outward):
    """Five steps, each of which depends on the one before."""
    x, found = first, []
    for _ in range(5):
        found.append(product(x))
        x = torch.tanh(found[-1] @ outward)
    return torch.stack(found)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", SHAPES)
def test_gradients_are_those_of_the_plain_product(kind, bias):
    torch.manual_seed(0)
    given, shape = SHAPES[kind]
    tensors = [torch.randn(*each).double().requires_grad_() for each in (given, shape, (5, 4), (5,))]
    results = []
    for shared in (True, False):
        first, matrix, outward, offset = tensors
        if shared:
            product = SharedMatrix(matrix, offset if bias else None)
        else:
            product = lambda x, m=matrix, o=offset: x @ m + o if bias else x @ m  # noqa: E731
        value = loop(product, first, outward)
        (value * torch.arange(value.numel()).view_as(value)).sum().backward()
        results.append([value.detach(), *(each.grad for each in tensors if each.grad is not None)])
        for each in tensors:
            each.grad = None
    assert len(results[0]) == len(results[1]) == (5 if bias else 4)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_second_backward_pass_counts_nothing_twice():
    matrix, x = torch.randn(4, 5).requires_grad_(), torch.randn(3, 4)
    value = SharedMatrix(matrix)(x).sum()
    (first,) = torch.autograd.grad(value, matrix, retain_graph=True)
    (again,) = torch.autograd.grad(value, matrix)
    torch.testing.assert_close(first, again)


def test_what_needs_no_gradient_gets_none():
    matrix, x = torch.randn(4, 5), torch.randn(3, 4).requires_grad_()
    SharedMatrix(matrix)(x).sum().backward()
    torch.testing.assert_close(x.grad, matrix.sum(1).expand(3, -1))
    with torch.inference_mode():
        assert torch.equal(SharedMatrix(matrix)(x), x @ matrix)


def test_a_loop_that_was_not_walked_back_is_forgotten():
    matrix = torch.randn(4, 5).requires_grad_()
    shared = SharedMatrix(matrix)
    value = shared(torch.randn(3, 4))
    held = weakref.ref(shared._uses)
    del shared, value
    gc.collect()
    assert held() is None
