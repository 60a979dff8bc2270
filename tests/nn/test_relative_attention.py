"""The brick of relative attention: its two ways to find a distance's score, and its precision at a distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.nn.relative_attention import (
    RelativeAttention,
    Sight,
    distance_waves,
    pick_distances,
    relative_shift,
    two_stream_masks,
)
from zhixing.theory import relative_attention as theory


@pytest.mark.parametrize("rows, keys", [(1, 1), (1, 6), (4, 4), (3, 8)])
def test_shifting_is_picking(rows, keys):
    """Rows at the end of the keys: by a view, or one by one."""
    first = keys - rows
    scores = torch.randn(2, 3, rows, rows + keys, dtype=torch.float64)
    places = (first + torch.arange(rows)).expand(2, -1)
    highest = first + rows
    picked = pick_distances(scores, highest - places, keys)
    assert torch.equal(relative_shift(scores, keys), picked)
    for t in range(rows):
        for s in range(keys):
            assert torch.equal(picked[:, :, t, s], scores[:, :, t, highest - (first + t - s)])


def test_a_shift_with_one_column_more_than_keys_serves_what_is_not_later():
    scores = torch.randn(1, 2, 5, 10)
    whole, short = relative_shift(scores, 5), relative_shift(scores[..., :6], 5)
    earlier = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.equal(whole[..., earlier], short[..., earlier])


def test_the_shift_is_a_view_until_it_is_used():
    scores = torch.randn(2, 2, 4, 8)
    assert relative_shift(scores, 4).untyped_storage().data_ptr() == scores.untyped_storage().data_ptr()


def test_waves_far_away_and_clamped():
    like = torch.zeros(1)
    found = distance_waves(700, -700, 16, like)
    np.testing.assert_allclose(found, theory.distance_waves(np.arange(700, -701, -1), 16), atol=1e-4)
    clamped = distance_waves(6, -6, 16, like, clamp=2)
    assert torch.equal(clamped[0], clamped[4]) and torch.equal(clamped[-1], clamped[-5])
    assert torch.equal(clamped[4:9], distance_waves(2, -2, 16, like))
    assert distance_waves(2, 0, 16, torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert distance_waves(1, 0, 7, like).shape == (2, 7)


def test_documents_do_not_see_each_other_in_either_stream():
    rank, asked = torch.tensor([[0, 1, 0, 2]]), torch.tensor([[1, 2]])
    documents, of_asked = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1]])
    content, query = two_stream_masks(rank, asked, documents, of_asked)
    assert content[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    assert query[0, 0].int().tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


def test_segments_need_their_weights():
    layer = RelativeAttention(8, 2)
    x, differs = torch.randn(1, 3, 8), torch.zeros(1, 3, 3, dtype=torch.bool)
    waves = layer.distances(distance_waves(3, -2, 8, x))
    with pytest.raises(ValueError, match="segment"):
        layer(x, *layer.keys_values(x), waves, Sight(differs=differs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_who_sees_nothing_gets_zero_and_passes_no_gradient(dtype):
    torch.manual_seed(0)
    layer = RelativeAttention(8, 2).to(dtype)
    x = torch.randn(2, 4, 8, dtype=dtype, requires_grad=True)
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    mask[:, :, 1] = False
    out = layer(x, *layer.keys_values(x), layer.distances(distance_waves(4, -3, 8, x)), Sight(mask))
    assert (out[:, 1] == 0).all() and out[:, 0].abs().min() > 0
    (gradient,) = torch.autograd.grad(out[:, 1].sum(), x)
    assert (gradient == 0).all()
