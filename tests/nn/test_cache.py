"""The cache as a store: what was written at a position is found there, in whatever company."""

import pytest
import torch

from zhixing.nn.cache import KeyValueCache

LAYERS, HEADS, WIDTH = 2, 3, 4


def _filled(lengths, seed=0, capacity=4):
    """Return a cache holding random tokens, and the same as lists of rows."""
    generator = torch.Generator().manual_seed(seed)
    cache = KeyValueCache.empty(LAYERS, len(lengths), HEADS, WIDTH, torch.zeros(()), capacity)
    cache.reserve(max(lengths) + 1)
    rows = [torch.randn(LAYERS, 2, HEADS, n, WIDTH, generator=generator) for n in lengths]
    longest = max(lengths)
    for layer in range(LAYERS):
        keys, values = torch.full((2, len(lengths), HEADS, longest, WIDTH), 99.0)
        for row, stored in enumerate(rows):
            keys[row, :, : lengths[row]], values[row, :, : lengths[row]] = stored[layer]
        slots = torch.minimum(torch.arange(longest)[None], torch.tensor(lengths)[:, None])
        cache.write(layer, keys, values, slots)
    cache.lengths = torch.tensor(lengths)
    return cache, rows


def _check(cache, rows):
    assert cache.lengths.tolist() == [row.shape[3] for row in rows]
    for layer in range(LAYERS):
        for index, row in enumerate(rows):
            length = row.shape[3]
            assert torch.equal(cache.keys[layer][index, :, :length], row[layer, 0])
            assert torch.equal(cache.values[layer][index, :, :length], row[layer, 1])


def test_padding_disturbs_nobody():
    """All padding of a row lands on one slot, the row's next; what is before and other rows are untouched."""
    _check(*_filled([3, 1, 5]))


def test_the_next_token_overwrites_padding():
    cache, rows = _filled([3, 1])
    new = torch.randn(LAYERS, 2, 2, HEADS, 1, WIDTH, generator=torch.Generator().manual_seed(9))
    for layer in range(LAYERS):
        keys, values = cache.write(layer, new[layer, 0], new[layer, 1], cache.lengths[:, None])
        assert keys.shape[2] == values.shape[2] == 4, "what is returned reaches to the longest row's new token"
    cache.lengths = cache.lengths + 1
    _check(cache, [torch.cat([row, new[:, :, index]], dim=3) for index, row in enumerate(rows)])


def test_growing_keeps_what_is_there():
    cache, rows = _filled([3, 1])
    cache.reserve(100)
    assert cache.capacity >= 100
    _check(cache, rows)


def test_growing_doubles_so_that_long_texts_copy_little():
    cache = KeyValueCache.empty(1, 1, 1, 2, torch.zeros(()), capacity=4)
    capacities = set()
    for length in range(1, 1000):
        cache.reserve(length)
        capacities.add(cache.capacity)
    assert len(capacities) <= 10 and cache.capacity < 2000


@pytest.mark.parametrize("chosen", [[0], [2, 0], [1, 1, 1], [2, 1, 0, 2]])
def test_keep_rows(chosen):
    cache, rows = _filled([3, 1, 5])
    kept = cache.keep_rows(chosen)
    _check(kept, [rows[row] for row in chosen])
    kept.keys[0].zero_()
    _check(cache, rows)


def test_repeated_rows_are_copies():
    cache, _ = _filled([3, 1])
    twice = cache.keep_rows([0, 0])
    twice.keys[0][0] = 7.0
    assert not (twice.keys[0][1] == 7.0).any()


@pytest.mark.parametrize("capacities", [(4, 4), (4, 300), (300, 4), (100, 130)])
def test_join(capacities):
    first, rows = _filled([3, 1], seed=1, capacity=capacities[0])
    second, more = _filled([2, 3, 1], seed=2, capacity=capacities[1])
    joined = KeyValueCache.join([first, second])
    _check(joined, rows + more)
    _check(first, rows)
    joined.keys[0].zero_()
    _check(first, rows)
    assert joined.capacity == max(first.capacity, second.capacity), "no room is added that nobody asked for"


def test_join_of_one():
    cache, rows = _filled([3, 1])
    joined = KeyValueCache.join([cache])
    _check(joined, rows)
    joined.lengths += 1
    joined.keys[0].zero_()
    _check(cache, rows)


def test_rows_that_come_and_go_do_not_make_it_grow():
    """A server joins new rows and drops old ones for days."""
    cache, rows = _filled([30, 10], capacity=100)
    for seed in range(50):
        fresh, new = _filled([20], seed=seed, capacity=64 + seed)
        cache = KeyValueCache.join([cache, fresh]).keep_rows([1, 2])
        rows = [rows[1], new[0]]
    _check(cache, rows)
    assert cache.capacity <= 64 + 50
