from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import distances


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_alibi_by_hand():
    slopes, bias, weights = values(distances.alibi(), tokens=2)
    np.testing.assert_allclose(slopes, [1 / 4, 1 / 16, 1 / 64, 1 / 256])
    np.testing.assert_allclose(bias, [[0, -1 / 4], [-1 / 4, 0]])
    np.testing.assert_allclose(weights[0], np.array([np.exp(-1 / 4), 1]) / (1 + np.exp(-1 / 4)))


def test_buckets_by_hand():
    count, exact, bucket = values(distances.relative_positions())
    assert (count, exact) == (4, 2)
    # -5: floor(2 + 2 log(5/2) / log(16/2)) = 2; -40: the last; +1, +3: four further on
    np.testing.assert_array_equal(bucket, [0, 1, 2, 2, 3, 5, 6])


def test_one_way_shares_bucket_zero_for_later_keys():
    _, _, bucket = values(distances.relative_positions(), both_ways=False, distances=(3, 0, -1))
    np.testing.assert_array_equal(bucket, [0, 0, 1])


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="use a multiple of 4"):
        distances.RelativeInputs(buckets=6)
    with pytest.raises(ValidationError, match="farthest must be more than 4"):
        distances.RelativeInputs(buckets=16, farthest=4)
