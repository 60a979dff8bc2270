"""Attention of a recurrent decoder: weights over real tokens only, many queries at once, keys prepared once."""

from __future__ import annotations

import pytest
import torch

from zhixing.nn.recurrent_attention import (
    AdditiveAttention,
    DotAttention,
    LookThenMove,
    MoveThenLook,
    MultiplicativeAttention,
    Source,
    additive_scores,
)

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


def test_scores_of_one_width_need_no_matrix(source):
    annotations = source[1]
    contexts, weights = DotAttention()(annotations, annotations, MASK)
    expected = (annotations @ annotations.transpose(1, 2)).masked_fill(~MASK[:, None], -torch.inf).softmax(-1)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(contexts, expected @ annotations)


def test_each_kind_of_luong_has_its_own_weights():
    counts = {
        name: len(list(MoveThenLook(KEY, KEY, name).parameters())) for name in ("dot", "multiplicative", "concat")
    }
    assert counts == {"dot": 1, "multiplicative": 2, "concat": 4}


@pytest.mark.parametrize("queries", [1, 3])
def test_the_gradient_of_additive_scores_is_the_slope(queries):
    torch.manual_seed(3)
    given = [torch.randn(*shape).double().requires_grad_() for shape in ((2, queries, 4), (2, 5, 4), (4,))]
    assert torch.autograd.gradcheck(additive_scores, given)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("prepared", [True, False])
def test_a_target_read_at_once_is_read_step_by_step(cell, prepared):
    """Against the paper's order in plain words: look, put together, let the layer move; and so are the gradients."""
    torch.manual_seed(4)
    brick, annotations = LookThenMove(cell, 3, KEY, QUERY), torch.randn(BATCH, SOURCE, KEY)
    tokens, state = torch.randn(BATCH, 7, 3), brick.layer.new_state(BATCH)
    torch.nn.init.normal_(brick.layer.recurrent.bias)

    def plainly():
        now, found = state, []
        for token in tokens.unbind(1):
            context, _ = brick.attention(now[0][:, None], annotations, MASK)
            _, now = brick.layer(torch.cat([token[:, None], context], dim=-1), now)
            found.append(torch.cat([context[:, 0], *now], dim=-1))
        return torch.stack(found)

    def at_once():
        keys = brick.attention.prepare(annotations) if prepared else None
        contexts, states = brick.read(tokens, state, Source(annotations, keys, MASK))
        return torch.stack([torch.cat([contexts[:, t], *each], dim=-1) for t, each in enumerate(states)])

    results = []
    for run in (plainly, at_once):
        brick.zero_grad()
        value = run()
        (value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum().backward()
        results.append([value.detach(), *(weights.grad.clone() for weights in brick.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


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
