"""Attention against float64, and the plan of a forward pass in every situation."""

import math

import numpy as np
import pytest
import torch

from zhixing.nn.attention import attend, cache_mask, document_mask, plan_reading, visible_mask
from zhixing.nn.cache import KeyValueCache
from zhixing.theory import attention as theory


def _softmax_attention(query, key, value, mask):
    """The definition in float64, key-value heads repeated."""
    repeat = query.shape[1] // key.shape[1]
    query = query.double()
    key, value = (t.double().repeat_interleave(repeat, dim=1) for t in (key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1) @ value


def _draw(heads, groups, queries, keys, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, heads, queries, 8), (2, groups, keys, 8), (2, groups, keys, 8))
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("heads, groups", [(4, 4), (4, 2), (6, 1)])
@pytest.mark.parametrize("length", [1, 7, 33])
def test_causal(heads, groups, length):
    query, key, value = _draw(heads, groups, length, length)
    mask = torch.from_numpy(theory.causal_mask(length, length))
    expected = _softmax_attention(query, key, value, mask)
    torch.testing.assert_close(attend(query, key, value, causal=True).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("heads, groups", [(4, 4), (4, 2), (6, 1)])
def test_any_mask(heads, groups):
    query, key, value = _draw(heads, groups, 5, 9)
    mask = torch.rand(2, 1, 5, 9, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[..., 0] = True
    expected = _softmax_attention(query, key, value, mask)
    torch.testing.assert_close(attend(query, key, value, mask).double(), expected, atol=1e-5, rtol=1e-4)
    everything = _softmax_attention(query, key, value, torch.ones(5, 9, dtype=torch.bool))
    torch.testing.assert_close(attend(query, key, value).double(), everything, atol=1e-5, rtol=1e-4)


def test_inputs_that_are_not_contiguous():
    """Heads are views into one packed product."""
    packed = torch.randn(2, 6, 12, 8, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    query, key, value = packed.split([8, 2, 2], dim=1)
    plain = attend(query.contiguous(), key.contiguous(), value.contiguous(), causal=True)
    torch.testing.assert_close(attend(query, key, value, causal=True), plain)


def test_document_mask_is_the_formula():
    documents = torch.tensor([[0, 0, 1, 1, 1, 2], [3, 3, 3, 3, 3, 3], [0, 1, 2, 3, 4, 5]], dtype=torch.int32)
    for row, mask in zip(documents, document_mask(documents)[:, 0], strict=True):
        np.testing.assert_array_equal(mask.numpy(), theory.document_mask(row.numpy()))


def test_cache_mask():
    mask = cache_mask(torch.tensor([[0, 1], [2, 3]]), 4)
    assert mask.int().tolist() == [[[[1, 0, 0, 0], [1, 1, 0, 0]]], [[[1, 1, 1, 0], [1, 1, 1, 1]]]]


def _cache(batch=2, lengths=None, capacity=4):
    cache = KeyValueCache.empty(1, batch, 2, 3, torch.zeros(()), capacity)
    if lengths is not None:
        cache.lengths = torch.tensor(lengths)
    return cache


def test_windows_need_no_mask():
    reading = plan_reading(torch.zeros(2, 5, dtype=torch.int64))
    assert reading.causal and reading.mask is None and reading.positions is None


def test_an_empty_cache_is_read_into_by_the_fused_kernel():
    cache = _cache()
    reading = plan_reading(torch.zeros(2, 3, dtype=torch.int64), cache=cache, lengths=torch.tensor([3, 1]))
    assert reading.causal and reading.mask is None
    assert reading.slots.tolist() == [[0, 1, 2], [0, 1, 1]], "padding goes where the next token will be"
    assert cache.lengths.tolist() == [3, 1]


def test_one_row_empty_and_one_not_is_not_fresh():
    cache = _cache(lengths=[0, 2])
    reading = plan_reading(torch.zeros(2, 2, dtype=torch.int64), cache=cache)
    assert not reading.causal
    assert reading.positions.tolist() == [[0, 1], [2, 3]]
    assert reading.mask[:, 0].int().tolist() == [[[1, 0, 0, 0], [1, 1, 0, 0]], [[1, 1, 1, 0], [1, 1, 1, 1]]]


def test_single_steps_of_equal_rows_need_no_mask():
    cache = _cache(lengths=[2, 2])
    assert plan_reading(torch.zeros(2, 1, dtype=torch.int64), cache=cache).mask is None
    cache.lengths = torch.tensor([3, 2])
    assert plan_reading(torch.zeros(2, 1, dtype=torch.int64), cache=cache).mask is not None


def test_room_is_made_before_it_is_needed():
    cache = _cache(capacity=4)
    plan_reading(torch.zeros(2, 9, dtype=torch.int64), cache=cache)
    assert cache.capacity >= 9


@pytest.mark.parametrize("given", ["positions", "documents"])
def test_what_a_cache_cannot_honour_is_refused(given):
    ids = torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="cache"):
        plan_reading(ids, cache=_cache(), **{given: ids})


def test_an_encoder_sees_its_own_document_and_no_padding():
    ids = torch.zeros(2, 5, dtype=torch.int64)
    documents = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 2, 2]])
    assert visible_mask(ids, None, None) is None
    same = visible_mask(ids, documents, None)[:, 0]
    np.testing.assert_array_equal(same.numpy(), (documents[:, :, None] == documents[:, None, :]).numpy())
    lengths = torch.tensor([4, 3])
    real = visible_mask(ids, None, lengths)
    assert real.shape == (2, 1, 1, 5) and real[:, 0, 0].tolist() == [[True] * 4 + [False], [True] * 3 + [False] * 2]
    both = visible_mask(ids, documents, lengths)[:, 0]
    expected = same & real[:, 0] | torch.eye(5, dtype=torch.bool)  # whoever stands in padding sees itself
    assert torch.equal(both, expected) and both.any(dim=-1).all()
