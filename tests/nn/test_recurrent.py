"""Recurrent layers: both ways of computing the steps, ragged rows, low precision; and their state as a cache."""

from __future__ import annotations

import pytest
import torch

from zhixing.nn.cache import RecurrentState
from zhixing.nn.compiled import compiled
from zhixing.nn.recurrent import GATES, RecurrentLayer

BATCH, STEPS, INPUT, WIDTH = 4, 7, 5, 6


@pytest.fixture(params=list(GATES))
def layer(request):
    torch.manual_seed(0)
    layer = RecurrentLayer(request.param, INPUT, WIDTH)
    with torch.no_grad():
        for weights in layer.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.3)
    return layer


def given(layer, dtype=torch.float32):
    torch.manual_seed(1)
    state = tuple(torch.randn(BATCH, WIDTH, dtype=dtype) for _ in layer.new_state(BATCH))
    return torch.randn(BATCH, STEPS, INPUT, dtype=dtype), state


def gradients(layer, compute):
    """Of a loss that looks at every output and at the final state."""
    x, state = given(layer)
    inputs = [x.requires_grad_(), *(each.requires_grad_() for each in state)]
    outputs, end = compute(x, state)
    torch.manual_seed(2)
    loss = sum((each * torch.randn(each.shape)).sum() for each in (outputs, *end))
    return torch.autograd.grad(loss, [*inputs, *layer.parameters()])


@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 1, 4, 6])])
def test_learning_and_reading_compute_the_same(layer, lengths):
    x, state = given(layer)
    learning, end = layer(x, state, lengths)
    with torch.no_grad():
        reading, other_end = layer(x, state, lengths)
    kept = torch.ones(BATCH, STEPS, 1) if lengths is None else (torch.arange(STEPS) < lengths[:, None])[..., None]
    torch.testing.assert_close(learning * kept, reading * kept, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(end, other_end, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 1, 4, 6])])
def test_gradients_by_hand_are_the_kernels(layer, lengths):
    """torch's own kernels, differentiated by torch."""
    weights = [layer.input.weight, layer.recurrent.weight, layer.input.bias, layer.recurrent.bias]

    def kernel(x, state):
        outputs, end = layer._fused(x, state, lengths, weights)
        return outputs, end

    def ours(x, state):
        outputs, end = layer(x, state, lengths)
        if lengths is not None:  # a kernel leaves zeros behind a row's end
            outputs = outputs * (torch.arange(STEPS) < lengths[:, None])[..., None]
        return outputs, end

    for by_hand, by_torch in zip(gradients(layer, ours), gradients(layer, kernel), strict=True):
        torch.testing.assert_close(by_hand, by_torch, atol=2e-5, rtol=1e-4)


def test_rows_of_several_lengths_end_where_they_end(layer):
    x, state = given(layer)
    lengths = torch.tensor([7, 1, 4, 6])
    outputs, end = layer(x, state, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, last = layer(x[row : row + 1, :length], tuple(each[row : row + 1] for each in state))
        torch.testing.assert_close(outputs[row, :length], alone[0], atol=1e-6, rtol=1e-5)
        for ours, theirs in zip(end, last, strict=True):
            torch.testing.assert_close(ours[row], theirs[0], atol=1e-6, rtol=1e-5)


def test_reading_in_two_parts(layer):
    x, state = given(layer)
    whole, end = layer(x, state)
    first, between = layer(x[:, :3], state)
    rest, last = layer(x[:, 3:], between)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(last, end, atol=1e-6, rtol=1e-5)


def test_a_second_backward_finds_nothing_changed(layer):
    first = gradients(layer, layer)
    assert all(torch.equal(a, b) for a, b in zip(first, gradients(layer, layer), strict=True))


@pytest.mark.parametrize("lengths", [None, torch.tensor([7, 1, 4, 6])])
def test_low_precision_and_autocast(layer, lengths):
    x, state = given(layer)
    expected, _ = layer(x, state, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed, _ = layer(x.bfloat16().requires_grad_(), state, lengths)
        mixed.float().sum().backward()
    kept = torch.ones(BATCH, STEPS, 1) if lengths is None else (torch.arange(STEPS) < lengths[:, None])[..., None]
    torch.testing.assert_close(mixed.float() * kept, expected * kept, atol=0.05, rtol=0.05)
    low = layer.bfloat16()
    outputs, end = low(x.bfloat16(), tuple(each.bfloat16() for each in state), lengths)
    assert outputs.dtype == end[0].dtype == torch.bfloat16
    torch.testing.assert_close(outputs.float() * kept, expected * kept, atol=0.05, rtol=0.05)


def test_the_compiler_leaves_the_loop_over_time_alone():
    """Otherwise compiling would take minutes: every step would become code."""
    torch.manual_seed(0)
    layer = RecurrentLayer("gru", INPUT, WIDTH)
    x, state = given(layer)
    compiled(layer)
    explained = torch._dynamo.explain(layer)(x, state)
    assert explained.op_count == 0


def test_a_forget_gate_begins_open():
    layer = RecurrentLayer("lstm", INPUT, WIDTH)
    blocks = dict(zip(GATES["lstm"], torch.split(layer.input.bias.detach(), WIDTH), strict=True))
    assert {name: set(block.tolist()) for name, block in blocks.items()} == {
        "input": {0.0}, "forget": {1.0}, "candidate": {0.0}, "output": {0.0},
    }  # fmt: skip


# ---------------------------------------------------------------- the state as a cache


def state_of(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(2, 2, len(lengths), WIDTH, generator=generator)
    return RecurrentState([(layer[0], layer[1]) for layer in parts], torch.tensor(lengths))


def test_keep_rows_takes_copies_in_the_given_order():
    state = state_of([3, 1, 5])
    kept = state.keep_rows([2, 0, 0])
    assert kept.lengths.tolist() == [5, 3, 3]
    for ours, theirs in zip(kept.layers, state.layers, strict=True):
        for mine, old in zip(ours, theirs, strict=True):
            assert torch.equal(mine, old[[2, 0, 0]])
            before = old.clone()
            mine.zero_()
            assert torch.equal(old, before)


def test_join_puts_rows_one_after_the_other():
    first, second = state_of([3, 1], seed=1), state_of([2], seed=2)
    joined = RecurrentState.join([first, second])
    assert joined.lengths.tolist() == [3, 1, 2]
    for layer, (h, memory) in enumerate(joined.layers):
        assert torch.equal(h, torch.cat([first.layers[layer][0], second.layers[layer][0]]))
        assert torch.equal(memory, torch.cat([first.layers[layer][1], second.layers[layer][1]]))
