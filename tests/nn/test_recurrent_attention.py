"""Attention of a recurrent decoder: weights over real tokens only, many queries at once, keys prepared once."""

from __future__ import annotations

import pytest
import torch

from zhixing.nn.recurrent_attention import AdditiveAttention, MultiplicativeAttention

BATCH, QUERIES, SOURCE, QUERY, KEY = 2, 3, 5, 4, 6
MASK = torch.tensor([[True] * 5, [True, True, False, False, False]])


@pytest.fixture(params=["additive", "multiplicative"])
def brick(request):
    torch.manual_seed(0)
    return AdditiveAttention(QUERY, KEY, 7) if request.param == "additive" else MultiplicativeAttention(QUERY, KEY)


@pytest.fixture
def source():
    torch.manual_seed(1)
    return torch.randn(BATCH, QUERIES, QUERY), torch.randn(BATCH, SOURCE, KEY)


def test_shapes_and_weights(brick, source):
    contexts, weights = brick(*source, MASK)
    assert contexts.shape == (BATCH, QUERIES, KEY) and weights.shape == (BATCH, QUERIES, SOURCE)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(BATCH, QUERIES))
    assert (weights[1, :, 2:] == 0).all() and (weights[0] > 0).all()


def test_padding_is_never_seen(brick, source):
    query, annotations = source
    other = torch.where(MASK[..., None], annotations, torch.tensor(50.0))
    shorter = brick(query[1:], annotations[1:, :2])[0]
    for at in (annotations, other):
        torch.testing.assert_close(brick(query, at, MASK)[0][1:], shorter)


def test_queries_do_not_see_each_other(brick, source):
    query, annotations = source
    together = brick(query, annotations, MASK)[0]
    for place in range(QUERIES):
        torch.testing.assert_close(brick(query[:, place : place + 1], annotations, MASK)[0][:, 0], together[:, place])


def test_prepared_keys_are_the_keys(brick, source):
    query, annotations = source
    prepared = brick.prepare(annotations)
    for ours, theirs in zip(brick(query, annotations, MASK, prepared), brick(query, annotations, MASK), strict=True):
        assert torch.equal(ours, theirs)


def test_it_learns_to_look_where_it_should(brick):
    """The token whose annotation answers the query, among five."""
    torch.manual_seed(2)
    optimizer = torch.optim.Adam(brick.parameters(), lr=0.05)
    for step in range(200):
        wanted = torch.randint(0, QUERY, (32,))
        query = torch.nn.functional.one_hot(wanted, QUERY).float()[:, None]
        annotations = torch.nn.functional.one_hot(torch.stack([torch.randperm(KEY)[:SOURCE] for _ in range(32)]), KEY)
        right = annotations[torch.arange(32), :, wanted].bool()
        there = right.any(dim=1)
        _, weights = brick(query, annotations.float())
        loss = -(weights[there, 0][right[there]]).log().mean()
        if step == 0:
            begin = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 < begin
