"""Attention by distance and its two streams: what the formulas promise."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import relative_attention as theory
from zhixing.theory.losses import factorisation_mask
from zhixing.theory.positions import sinusoidal

LENGTH, HEADS, WIDTH = 6, 2, 8


@pytest.fixture
def weights(rng):
    maps = [0.3 * rng.normal(size=(WIDTH, WIDTH)) for _ in range(5)]  # scores stay where softmax is soft
    biases = [0.3 * rng.normal(size=WIDTH) for _ in range(3)]
    return theory.RelativeWeights(*maps, *biases, rng.normal(size=(2, WIDTH)))


def test_waves_are_sinusoids_in_another_order():
    waves, interleaved = theory.distance_waves(np.arange(5), WIDTH), sinusoidal(np.arange(5), WIDTH)
    np.testing.assert_allclose(waves[:, : WIDTH // 2], interleaved[:, ::2], atol=1e-15)
    np.testing.assert_allclose(waves[:, WIDTH // 2 :], interleaved[:, 1::2], atol=1e-15)


def test_before_and_behind_differ_by_the_sign_of_the_sines():
    before, behind = theory.distance_waves(np.array([3, -3]), WIDTH)
    np.testing.assert_allclose(before, behind * np.repeat([-1, 1], WIDTH // 2))


def test_scores_have_the_four_terms_of_the_paper(rng):
    """(a) to (d), one pair at a time, as they are printed."""
    q, k, r = (rng.normal(size=(LENGTH, 3)) for _ in range(3))
    u, v = rng.normal(size=(2, 3))
    apart = np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH))
    found = theory.relative_scores(q, k, r, apart, u, v)
    for i in range(LENGTH):
        for j in range(LENGTH):
            terms = [q[i] @ k[j], q[i] @ r[abs(i - j)], u @ k[j], v @ r[abs(i - j)]]
            assert found[i, j] == pytest.approx(sum(terms))


@pytest.mark.parametrize("rows, keys", [(1, 1), (1, 4), (3, 3), (3, 7), (5, 5)])
def test_the_shift_finds_every_distance(rows, keys):
    """Queries at the end of the keys: the score of distance d is d itself."""
    first = keys - rows
    columns = first + rows - np.arange(rows + keys)
    shifted = theory.relative_shift(np.tile(columns, (rows, 1)), keys)
    np.testing.assert_array_equal(shifted, first + np.arange(rows)[:, None] - np.arange(keys))


def test_segments_tell_whether_and_not_which(rng):
    query, bias, segment = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(2, 3))
    segments, renamed = np.array([0, 0, 1, 2]), np.array([7, 7, 3, 5])
    scores = [theory.segment_scores(query, bias, segment, each[:, None] != each) for each in (segments, renamed)]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_allclose(scores[0][0], (query[0] + bias) @ segment[[0, 0, 1, 1]].T)


def test_one_segment_says_nothing(rng, weights):
    x, everything = rng.normal(size=(LENGTH, WIDTH)), np.ones((LENGTH, LENGTH), bool)
    places, same = np.arange(LENGTH), np.zeros((LENGTH, LENGTH), bool)
    without = weights._replace(segment=np.zeros_like(weights.segment))
    found = [theory.relative_attention(x, x, places, w, HEADS, everything, same) for w in (weights, without)]
    np.testing.assert_allclose(*found)


def test_only_distances_count(rng, weights):
    """The same keys and queries, moved together in the text: keys before them that nobody sees change nothing."""
    x = rng.normal(size=(LENGTH, WIDTH))
    moved = np.concatenate([rng.normal(size=(3, WIDTH)), x])
    mask = np.tril(np.ones((LENGTH, LENGTH), bool))
    later = np.concatenate([np.zeros((LENGTH, 3), bool), mask], axis=1)
    here = theory.relative_attention(x, x, np.arange(LENGTH), weights, HEADS, mask, np.zeros(1, bool))
    there = theory.relative_attention(x, moved, np.arange(3, 3 + LENGTH), weights, HEADS, later, np.zeros(1, bool))
    np.testing.assert_allclose(here, there)


def test_who_sees_nothing_gets_nothing(rng):
    value = rng.normal(size=(LENGTH, 4))
    mask = rng.random((LENGTH, LENGTH)) < 0.5
    mask[2] = False
    mixed = theory.mix(rng.normal(size=(LENGTH, LENGTH)), value, mask)
    assert (mixed[2] == 0).all() and np.isfinite(mixed).all()
    np.testing.assert_allclose(theory.mix(np.zeros((1, LENGTH)), np.ones((LENGTH, 4)), mask[:1]), 1)


def test_masks_of_a_whole_order_are_those_of_the_objective(rng):
    """With all of it predicted, ranks are those of the order."""
    order = np.stack([rng.permutation(LENGTH) for _ in range(3)])
    rank = theory.given_rank(order, LENGTH)
    np.testing.assert_array_equal(theory.content_mask(rank), factorisation_mask(order, content=True))
    np.testing.assert_array_equal(theory.query_mask(rank, rank), factorisation_mask(order, content=False))


def test_given_places_see_each_other_and_nothing_that_is_predicted(rng):
    order = np.stack([rng.permutation(LENGTH) for _ in range(3)])
    rank = theory.given_rank(order, 2)
    sees = theory.content_mask(rank)
    for row, places in enumerate(order):
        given, asked = places[:-2], places[-2:]
        assert sees[row][np.ix_(given, given)].all() and not sees[row][np.ix_(given, asked)].any()
        assert (rank[row, asked] == [1, 2]).all()


def test_no_query_knows_its_own_content(rng, weights):
    """Two layers: nor by way of the contents that it sees. In any order, for every place."""
    content, query = rng.normal(size=(LENGTH, WIDTH)), np.tile(rng.normal(size=WIDTH), (LENGTH, 1))
    order = rng.permutation(LENGTH)
    rank, places = theory.given_rank(order[None], LENGTH)[0], np.arange(LENGTH)

    def predictions(h):
        g = query
        for _ in range(2):
            h, g = theory.two_streams(h, g, places, weights, HEADS, rank, rank)
        return g

    before = predictions(content)
    for place in range(LENGTH):
        changed = content.copy()
        changed[place] += 1.0
        moved = np.abs(predictions(changed) - before).max(axis=1)
        assert (moved[rank <= rank[place]] < 1e-12).all()
        assert (moved[rank > rank[place]] > 1e-6).all()


def test_from_left_to_right_is_a_decoder(rng, weights):
    """The query behind the text sees what the last content sees."""
    content, places = rng.normal(size=(LENGTH, WIDTH)), np.arange(LENGTH)
    own, asked = theory.two_streams(content, content, places, weights, HEADS, places, places + 1)
    np.testing.assert_allclose(own, asked)
