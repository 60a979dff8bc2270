"""Targets written for sources: padding, rows that come and go, greedy and beam search, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tests.models.contract import random_decoder
from tests.models.test_encoder_decoder import SETTINGS, V, texts

from zhixing.errors import ContextLengthError
from zhixing.models.translator import Translator

START = 3
LENGTHS = np.array([4, 7, 1])


@pytest.fixture(params=SETTINGS)
def model(request):
    return Translator(random_decoder(SETTINGS[request.param]), START)


def test_steps_are_the_score_of_the_target(model):
    sources, targets = texts(3, 7), texts(3, 9, seed=1)
    scores = model.score_targets(sources, targets, LENGTHS)
    said, state = model.next_log_probs(sources, model.initial_state(3), LENGTHS)
    rows = np.arange(3)
    for place in range(9):
        np.testing.assert_allclose(said[rows, targets[:, place]], scores[:, place], rtol=1e-4, atol=2e-5)
        said, state = model.next_log_probs(targets[:, place : place + 1], state)
    assert said.shape == (3, V) and model.context_length is None


def test_padding_of_sources_is_never_seen(model):
    sources, targets = texts(3, 7), texts(3, 4, seed=1)
    padded = np.where(np.arange(7) < LENGTHS[:, None], sources, 0)
    expected = model.score_targets(sources, targets, LENGTHS)
    np.testing.assert_allclose(model.score_targets(padded, targets, LENGTHS), expected, rtol=1e-4, atol=2e-5)
    for row, length in enumerate(LENGTHS):
        one = model.score_targets(sources[row : row + 1, :length], targets[row : row + 1])
        np.testing.assert_allclose(one[0], expected[row], rtol=1e-4, atol=2e-5)


def test_rows_come_and_go(model):
    sources, targets = texts(3, 7), texts(3, 5, seed=1)
    scores = model.score_targets(sources, targets)
    _, first = model.next_log_probs(sources[:2], model.initial_state(2))
    _, first = model.next_log_probs(targets[:2, :2], first)
    _, second = model.next_log_probs(sources[2:], model.initial_state(1))
    state = model.join_states([model.keep_rows(first, [1, 0]), second])
    block = np.array([[targets[1, 2], 0], [targets[0, 2], 0], [targets[2, 0], targets[2, 1]]])
    said, state = model.next_log_probs(block, state, np.array([1, 1, 2]))
    expected = [scores[1, 3], scores[0, 3], scores[2, 2]]
    found = said[np.arange(3), [targets[1, 3], targets[0, 3], targets[2, 2]]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)
    with pytest.raises(ValueError, match="has not"):
        model.join_states([state, model.initial_state(1)])


def test_a_text_is_scored_with_its_first_id_as_the_source(model):
    ids = texts(2, 6)
    expected = model.score_targets(ids[:, :1], ids[:, 1:])
    np.testing.assert_array_equal(model.score(ids), expected)
    assert (model.score(ids, np.array([3, 6]))[0, 2:] == 0).all()


def test_a_source_that_is_too_long_is_refused(model):
    length = 14
    with pytest.raises(ContextLengthError) as caught:
        model.next_log_probs(texts(1, length), model.initial_state(1))
    assert caught.value.ids == length and caught.value.limit < length
