from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.theory import attention


@pytest.mark.parametrize("masked", [False, True])
def test_gradient_by_hand(masked, differences, rng):
    values = [rng.normal(size=s) for s in ((3, 4), (5, 4), (5, 2))]
    mask = attention.causal_mask(3, 5) if masked else None
    upstream = rng.normal(size=(3, 2))
    for index, gradient in enumerate(attention.attention_gradient(*values, mask, upstream)):

        def function(v, index=index):
            return attention.attention(*values[:index], v, *values[index + 1 :], mask)

        np.testing.assert_allclose(gradient, differences(function, values[index], upstream), atol=1e-8)


def test_forbidden_places_do_not_matter(rng):
    query, key, value = (rng.normal(size=(4, 3)) for _ in range(3))
    before = attention.attention(query, key, value, attention.causal_mask(4, 4))
    key[2:] += 5.0
    value[2:] -= 5.0
    after = attention.attention(query, key, value, attention.causal_mask(4, 4))
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (before[2:] != after[2:]).all()


def test_documents_packed_together_are_as_if_alone(rng):
    query, key, value = (rng.normal(size=(7, 4)) for _ in range(3))
    packed = attention.attention(query, key, value, attention.document_mask(np.array([0, 0, 0, 1, 1, 1, 1])))
    for part in (slice(0, 3), slice(3, 7)):
        length = part.stop - part.start
        alone = attention.attention(query[part], key[part], value[part], attention.causal_mask(length, length))
        np.testing.assert_allclose(packed[part], alone)


def test_cached_queries_see_what_they_saw(rng):
    query, key, value = (rng.normal(size=(6, 4)) for _ in range(3))
    whole = attention.attention(query, key, value, attention.causal_mask(6, 6))
    tail = attention.attention(query[4:], key, value, attention.causal_mask(2, 6))
    np.testing.assert_allclose(whole[4:], tail)


def test_windows_reach_further_with_every_layer():
    """Two layers of a window of three reach 2(W - 1) = 4 places back, and no further."""
    step = attention.window_mask(9, 9, 3).astype(int)
    reached = (step @ step > 0)[8]
    np.testing.assert_array_equal(np.flatnonzero(reached), [4, 5, 6, 7, 8])
    np.testing.assert_array_equal(attention.window_mask(9, 9, 9), attention.causal_mask(9, 9))
    np.testing.assert_array_equal(attention.window_mask(2, 9, 3), attention.window_mask(9, 9, 3)[7:])


def test_splitting_and_joining_heads_are_inverse(rng):
    x = rng.normal(size=(2, 5, 12))
    np.testing.assert_array_equal(attention.join_heads(attention.split_heads(x, 3)), x)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_queries_against_torch(groups, rng):
    query, key, value = (
        rng.normal(size=(4, 3, 8)),
        rng.normal(size=(groups, 5, 8)),
        rng.normal(size=(groups, 5, 8)),
    )
    oracle = torch.nn.functional.scaled_dot_product_attention(
        *(torch.tensor(part)[None] for part in (query, key, value)), enable_gqa=True
    )[0]
    np.testing.assert_allclose(attention.grouped_query_attention(query, key, value), oracle.numpy())


def test_cross_attention_against_torch(rng):
    x, memory = rng.normal(size=(3, 8)), rng.normal(size=(5, 8))
    weights = attention.Projections(*(rng.normal(size=(8, 8)) for _ in range(4)))
    layer = torch.nn.MultiheadAttention(8, 2, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.tensor(np.concatenate([w.T for w in weights[:3]])))
        layer.out_proj.weight.copy_(torch.tensor(weights.output.T))
        oracle, _ = layer(torch.tensor(x)[None], torch.tensor(memory)[None], torch.tensor(memory)[None])
    np.testing.assert_allclose(attention.multi_head_attention(x, memory, weights, 2), oracle[0].numpy())
