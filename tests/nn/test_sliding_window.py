"""Sliding windows against the definition, read at once and through a rolling cache, rows of different lengths."""

import numpy as np
import pytest
import torch

from zhixing.nn.attention import attend, plan_reading
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.sliding_window import narrow, position_mask, positions_held, slots_needed, window_mask
from zhixing.theory import attention as theory

GROUPS, WIDTH = 2, 4


def ids(batch, length):
    return torch.zeros(batch, length, dtype=torch.int64)


def expected(query, key, value, window):
    """The formula, on one row's (H, T, E) and (G, T, E)."""
    length = key.shape[1]
    mask = theory.window_mask(length, length, window)
    arrays = (part.double().numpy() for part in (query, key, value))
    return torch.from_numpy(theory.grouped_query_attention(*arrays, mask)).float()


def draw(batch, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, heads, length, WIDTH, generator=generator) for heads in (4, GROUPS, GROUPS)]


@pytest.mark.parametrize("length, window", [(1, 2), (5, 2), (7, 3), (7, 7), (7, 30)])
def test_mask(length, window):
    np.testing.assert_array_equal(window_mask(length, window).numpy(), theory.window_mask(length, length, window))
    places = torch.arange(length)[None]
    np.testing.assert_array_equal(
        position_mask(places, places, window)[0, 0].numpy(), theory.window_mask(length, length, window)
    )


def test_a_text_within_the_window_is_read_as_without():
    plain = plan_reading(ids(2, 5))
    assert narrow(plain, 5, ids(2, 5)) is plain
    cache = KeyValueCache.empty(1, 2, GROUPS, WIDTH, torch.zeros(()), limits=(slots_needed(5),))
    reading = narrow(plan_reading(ids(2, 5), cache=cache), 5, ids(2, 5))
    assert reading.causal and reading.mask is None


def test_read_at_once():
    query, key, value = draw(2, 9)
    reading = narrow(plan_reading(ids(2, 9)), 3, ids(2, 9))
    found = attend(query, key, value, reading.mask, reading.causal)
    for row in range(2):
        torch.testing.assert_close(found[row], expected(query[row], key[row], value[row], 3), atol=1e-5, rtol=1e-5)


def test_documents_are_kept_apart():
    documents = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    mask = narrow(plan_reading(ids(1, 7), documents=documents), 3, ids(1, 7)).mask
    both = theory.document_mask(documents[0].numpy()) & theory.window_mask(7, 7, 3)
    np.testing.assert_array_equal(mask[0, 0].numpy(), both)


def test_the_positions_that_slots_hold():
    assert positions_held(torch.tensor([2, 5, -1]), 4, 4).tolist() == [[0, 1, 2, -1], [4, 5, 2, 3], [-4, -3, -2, -1]]


@pytest.mark.parametrize("seed", range(12))
def test_ragged_blocks_through_a_rolling_cache(seed):
    """Blocks of any length, rows of different lengths: every real token sees exactly its window."""
    rng = np.random.default_rng(seed)
    window, total, batch = int(rng.integers(2, 6)), 24, 3
    query, key, value = draw(batch, total, seed)
    cache = KeyValueCache.empty(1, batch, GROUPS, WIDTH, torch.zeros(()), capacity=1, limits=(slots_needed(window),))
    whole = [expected(query[row], key[row], value[row], window) for row in range(batch)]
    read = np.zeros(batch, np.int64)
    while (read < total).any():
        lengths = np.minimum(rng.integers(0 if read.any() else 1, rng.choice([2, 4, 12]), batch), total - read)
        length = max(int(lengths.max()), 1)
        block = [torch.full((batch, part.shape[1], length, WIDTH), 9.0) for part in (query, key, value)]
        for row, (start, count) in enumerate(zip(read, lengths, strict=True)):
            for target, source in zip(block, (query, key, value), strict=True):
                target[row, :, :count] = source[row, :, start : start + count]
        given = None if (lengths == length).all() else torch.from_numpy(lengths)
        reading = narrow(
            plan_reading(ids(batch, length), cache=cache, lengths=given), window, ids(batch, length), given
        )
        keys, values = reading.remember(0, block[1], block[2])
        found = attend(block[0], keys, values, reading.mask, reading.causal)
        assert found.isfinite().all(), "padding sees something too"
        for row, (start, count) in enumerate(zip(read, lengths, strict=True)):
            torch.testing.assert_close(
                found[row, :, :count], whole[row][:, start : start + count], atol=1e-5, rtol=1e-5
            )
        read += lengths
        assert cache.lengths.tolist() == read.tolist() and cache.keys[0].shape[2] <= window + 1


def test_the_cache_is_no_longer_than_the_window():
    """Of two layers only the one that sees everything grows; joining and keeping rows leave that so."""
    cache = KeyValueCache.empty(2, 1, GROUPS, WIDTH, torch.zeros(()), limits=(None, slots_needed(3)))
    cache.reserve(500)
    assert [keys.shape[2] for keys in cache.keys] == [500, 4] and cache.capacity == 500
    joined = KeyValueCache.join([cache, KeyValueCache.empty(2, 2, GROUPS, WIDTH, torch.zeros(()), 2, cache.limits)])
    kept = joined.keep_rows([2, 0])
    kept.reserve(800)
    assert [keys.shape[2] for keys in kept.keys] == [1000, 4] and kept.limits == cache.limits
