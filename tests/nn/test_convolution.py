"""Causal convolution: the same as torch's, whatever the row read before, and documents that do not mix."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from zhixing.nn.convolution import CausalConvolution, GatedConvolution, maximum_over_time, memory, windows

B, T, I, O = 3, 7, 5, 4  # noqa: E741
CLOSE = {"atol": 1e-6, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("kernel", [1, 2, 4, 9])
def test_it_is_torchs_convolution_of_a_padded_text(kernel):
    layer, x = CausalConvolution(I, (O,), kernel), torch.randn(B, T, I, requires_grad=True)
    weight = layer.weight.view(O, kernel, I).transpose(1, 2)
    expected = functional.conv1d(functional.pad(x.transpose(1, 2), (kernel - 1, 0)), weight, layer.bias)
    found, upstream = layer(x), torch.randn(B, T, O)
    torch.testing.assert_close(found, expected.transpose(1, 2), **CLOSE)
    inputs = [x, layer.weight, layer.bias]
    ours = torch.autograd.grad(found, inputs, upstream)
    theirs = torch.autograd.grad(expected.transpose(1, 2), inputs, upstream)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 4, 9])
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_a_text_in_two_pieces_is_the_text(kernel, cut):
    layer, x = GatedConvolution(I, O, kernel), torch.randn(B, T, I)
    empty = layer.new_memory(B)
    kept = memory(x[:, :cut], empty)
    assert kept.shape == (B, kernel - 1, I)
    pieces = torch.cat([layer(x[:, :cut], empty), layer(x[:, cut:], kept)], dim=1)
    torch.testing.assert_close(pieces, layer(x), **CLOSE)


@pytest.mark.parametrize("kernel", [1, 2, 4, 9])
def test_what_is_remembered_ends_where_each_row_ends(kernel):
    x, before, lengths = torch.randn(B, T, I), torch.randn(B, kernel - 1, I), torch.tensor([7, 1, 4])
    kept = memory(x, before, lengths)
    for row, length in enumerate(lengths):
        expected = memory(x[row : row + 1, :length], before[row : row + 1])
        assert torch.equal(kept[row : row + 1], expected)
    assert torch.equal(memory(x, before, torch.full((B,), T)), memory(x, before))


def test_memory_owns_its_numbers():
    """A view would keep the whole text alive, and change with it."""
    x, before = torch.randn(1, T, I), torch.zeros(1, 2, I)
    kept = memory(x, before)
    assert kept.untyped_storage().nbytes() == 2 * I * 4


def test_a_window_holds_nothing_of_another_document():
    x, before = torch.randn(1, 5, I), torch.randn(1, 2, I)
    seen = windows(x, before, torch.tensor([[0, 0, 1, 1, 2]]))
    zero = torch.zeros(I)
    expected = [
        [zero, zero, x[0, 0]],  # what stood before belongs to no document of this row
        [zero, x[0, 0], x[0, 1]],
        [zero, zero, x[0, 2]],
        [zero, x[0, 2], x[0, 3]],
        [zero, zero, x[0, 4]],
    ]
    assert torch.equal(seen[0], torch.stack([torch.cat(row) for row in expected]))


def test_a_gate_shut_lets_nothing_pass():
    layer, x = GatedConvolution(I, O, 3), torch.randn(B, T, I)
    with torch.no_grad():
        layer.weight[O:] = 0
        layer.bias[O:] = -100.0
    assert layer(x).abs().max() < 1e-6
    with torch.no_grad():
        layer.bias[O:] = 100.0
    torch.testing.assert_close(layer(x), CausalConvolution.forward(layer, x)[..., :O])


def test_the_largest_over_time_is_of_real_places():
    x = torch.tensor([[[1.0], [3.0], [9.0]], [[-5.0], [7.0], [8.0]]], requires_grad=True)
    found = maximum_over_time(x, torch.tensor([2, 1]))
    assert found.tolist() == [[3.0], [-5.0]]
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert gradient[..., 0].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert maximum_over_time(x).tolist() == [[9.0], [8.0]]
