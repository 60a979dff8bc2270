"""Topics of relative attention and of two streams: their examples by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import two_streams


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_relative_scores_by_hand():
    content_query, content, position_query, by_distance, shifted, scores, weights = values(
        two_streams.relative_attention()
    )
    np.testing.assert_array_equal(content_query, [[1, 1], [0, 2], [1, 2]])
    np.testing.assert_array_equal(content, [[1, 1, 1], [0, 2, 0], [1, 2, 1]])
    np.testing.assert_array_equal(position_query, [[2, 0], [1, 1], [2, 1]])
    np.testing.assert_array_equal(by_distance, [[0, 4, 0], [0, 2, 1], [0, 4, 1]])
    np.testing.assert_array_equal(shifted, [[0, 0, 0], [2, 0, 0], [1, 4, 0]])
    np.testing.assert_array_equal(scores, [[1, -np.inf, -np.inf], [2, 2, -np.inf], [2, 6, 1]])
    np.testing.assert_allclose(weights[1], [0.5, 0.5, 0])
    assert weights[2].argmax() == 1


def test_two_streams_by_hand():
    rank, sees, asks, content, query = values(two_streams.two_stream_attention())
    np.testing.assert_array_equal(rank, [0, 2, 0, 1])  # 2 and 0 are given, then 3, then 1
    np.testing.assert_array_equal(sees, [[1, 0, 1, 0], [1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 1, 1]])
    np.testing.assert_array_equal(asks, [[1, 0, 1, 0], [1, 0, 1, 1]])
    np.testing.assert_allclose(content, [2.5, 15 / 4, 2.5, 13 / 3])
    np.testing.assert_allclose(query, [2.5, 13 / 3])


def test_the_first_of_an_order_gets_nothing():
    *_, query = values(two_streams.two_stream_attention(), predicted=4)
    assert query[0] == 0 and query[1] == 4.0  # then the one that was first


@pytest.mark.parametrize(
    "inputs, changes, named",
    [
        (two_streams.TwoStreamInputs, {"order": (0, 1, 1, 2)}, "each once"),
        (two_streams.TwoStreamInputs, {"predicted": 5}, "at most 4"),
        (two_streams.TwoStreamInputs, {"content": (1.0,)}, "content must have 4"),
        (two_streams.RelativeInputs, {"query": ((1.0, 0.0),)}, "query must have 3 rows"),
        (two_streams.RelativeInputs, {"position_bias": (1.0,)}, "position_bias"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, changes, named):
    with pytest.raises(ValidationError, match=named):
        inputs(**changes)
