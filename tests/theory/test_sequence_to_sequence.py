"""Attention before the Transformer: every gradient is the slope; weights are a distribution over real tokens."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.theory import sequence_to_sequence as theory
from zhixing.theory.recurrent import Weights
from zhixing.theory.sequence_to_sequence import Alignment

ROWS, SOURCE, QUERY, KEY, ALIGN = 2, 4, 3, 5, 6
MASK = np.array([[True, True, True, True], [True, True, False, False]])


@pytest.fixture
def query(rng):
    return rng.normal(size=(ROWS, QUERY))


@pytest.fixture
def annotations(rng):
    return rng.normal(size=(ROWS, SOURCE, KEY))


@pytest.fixture
def alignment(rng):
    return Alignment(rng.normal(size=(QUERY, ALIGN)), rng.normal(size=(KEY, ALIGN)), rng.normal(size=ALIGN))


@pytest.mark.parametrize("mask", [None, MASK])
def test_additive_gradient(mask, query, annotations, alignment, rng, differences):
    upstream = rng.normal(size=(ROWS, KEY))

    def context(q, h, a):
        return theory.additive_attention(q, h, a, mask)[0]

    d_query, d_annotations, d_alignment = theory.additive_attention_gradient(
        query, annotations, alignment, mask, upstream
    )
    np.testing.assert_allclose(
        d_query, differences(lambda v: context(v, annotations, alignment), query, upstream), atol=1e-9
    )
    np.testing.assert_allclose(
        d_annotations, differences(lambda v: context(query, v, alignment), annotations, upstream), atol=1e-9
    )
    for part, found in d_alignment._asdict().items():
        expected = differences(
            lambda v, part=part: context(query, annotations, alignment._replace(**{part: v})),
            getattr(alignment, part),
            upstream,
        )
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("mask", [None, MASK])
def test_multiplicative_gradient(mask, query, annotations, rng, differences):
    weight, upstream = rng.normal(size=(QUERY, KEY)), rng.normal(size=(ROWS, KEY))

    def context(q, h, w):
        return theory.multiplicative_attention(q, h, w, mask)[0]

    found = theory.multiplicative_attention_gradient(query, annotations, weight, mask, upstream)
    expected = (
        differences(lambda v: context(v, annotations, weight), query, upstream),
        differences(lambda v: context(query, v, weight), annotations, upstream),
        differences(lambda v: context(query, annotations, v), weight, upstream),
    )
    for ours, slope in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, slope, atol=1e-9)


def test_weights_are_a_distribution_over_real_tokens(query, annotations, alignment, rng):
    weight = rng.normal(size=(QUERY, KEY))
    for _, looked in (
        theory.additive_attention(query, annotations, alignment, MASK),
        theory.multiplicative_attention(query, annotations, weight, MASK),
    ):
        np.testing.assert_allclose(looked.sum(axis=1), 1.0)
        assert (looked[~MASK] == 0).all()
        assert (looked[MASK] > 0).all()


def test_what_is_masked_does_not_matter(query, annotations, alignment):
    other = np.where(MASK[..., None], annotations, 77.0)
    for at in (annotations, other):
        shorter = theory.additive_attention(query[1:], at[1:, :2], alignment)[0]
        np.testing.assert_allclose(theory.additive_attention(query, at, alignment, MASK)[0][1:], shorter)


def test_order_of_the_source_is_seen_only_through_the_annotations(query, annotations, alignment):
    """Attention itself has no positions: the encoder's recurrence puts order into the annotations."""
    turned = annotations[:, ::-1]
    here, there = (theory.additive_attention(query, at, alignment) for at in (annotations, turned))
    np.testing.assert_allclose(here[0], there[0])
    np.testing.assert_allclose(here[1], there[1][:, ::-1])


def test_dot_is_general_with_the_identity(annotations, rng):
    query = rng.normal(size=(ROWS, KEY))
    scores = theory.multiplicative_scores(query, annotations, np.eye(KEY))
    np.testing.assert_allclose(scores, theory.dot_scores(query, annotations))


def test_concat_is_additive_with_its_matrix_cut_in_two(query, annotations, alignment):
    weight = np.concatenate([alignment.query, alignment.key])
    scores = theory.concat_scores(query, annotations, weight, alignment.score)
    np.testing.assert_allclose(scores, theory.additive_scores(query, annotations, alignment))


def test_an_additive_step_looks_from_where_it_was(query, annotations, alignment, rng):
    token, width = rng.normal(size=(ROWS, 2)), 3 * QUERY
    weights = Weights(
        rng.normal(size=(2 + KEY, width)), rng.normal(size=(QUERY, width)), rng.normal(size=width), np.zeros(width)
    )
    state, looked = theory.additive_decoder_step(token, query, annotations, alignment, weights, MASK)
    np.testing.assert_array_equal(looked, theory.additive_attention(query, annotations, alignment, MASK)[1])
    assert state.shape == query.shape
    other, same_look = theory.additive_decoder_step(token + 1, query, annotations, alignment, weights, MASK)
    np.testing.assert_array_equal(same_look, looked)
    assert np.abs(other - state).max() > 1e-3


def test_a_multiplicative_step_keeps_state_and_context_apart(query, annotations, rng):
    weight, combine = rng.normal(size=(QUERY, KEY)), rng.normal(size=(KEY + QUERY, QUERY))
    attentional, _ = theory.multiplicative_decoder_step(query, annotations, weight, combine)
    context, _ = theory.multiplicative_attention(query, annotations, weight)
    np.testing.assert_allclose(attentional, np.tanh(context @ combine[:KEY] + query @ combine[KEY:]))


@pytest.mark.parametrize("spans", [1, 2, 5])
def test_source_and_target_of_a_gap_are_the_text(rng, spans):
    kept, dropped = rng.integers(1, 6, (2, spans))
    ids, sentinels = rng.integers(0, 50, int(kept.sum() + dropped.sum())), np.arange(100, 100 + spans + 1)
    source, target = theory.corrupt_spans(ids, kept, dropped, sentinels)
    assert len(source) == kept.sum() + spans and len(target) == dropped.sum() + spans + 1
    assert target[-1] == sentinels[-1] not in source
    np.testing.assert_array_equal(theory.fill_spans(source, target, sentinels), ids)


@pytest.mark.parametrize(("tokens", "expected"), [(2, (1, 1)), (3, (1, 1)), (568, (85, 28))])
def test_how_much_is_dropped(tokens, expected):
    assert theory.span_counts(tokens, 0.15, 3.0) == expected


def test_spans_never_outnumber_what_lies_between_them():
    assert theory.span_counts(10, 0.9, 1.0) == (9, 1)
