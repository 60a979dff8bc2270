from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import warm_start


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_table_by_hand():
    _, before, lower, table, share, loss, least = values(warm_start.warm_start())
    np.testing.assert_array_equal(before, [2, 1, 1])
    np.testing.assert_allclose(lower, [3 / 7, 2 / 7, 2 / 7])
    np.testing.assert_allclose(table[0], [0.5 / 3 * 3 / 7, 2.5 / 3 + 0.5 / 3 * 2 / 7, 0.5 / 3 * 2 / 7])
    np.testing.assert_allclose(table.sum(axis=1), 1)
    np.testing.assert_allclose(share, [3 / 9, 4 / 9, 2 / 9])
    assert loss > least > 0


def test_zero_matrices_lose_the_logarithm_of_the_vocabulary():
    zero = ((0.0, 0.0),) * 3
    *_, loss, _ = values(warm_start.warm_start(), head=zero)
    assert loss == pytest.approx(np.log(3))


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="whole numbers"):
        warm_start.WarmStartInputs(counts=((0.5, 0.0, 0.0),) * 3)
    with pytest.raises(ValidationError, match="must not all be 0"):
        warm_start.WarmStartInputs(counts=((0.0, 0.0, 0.0),) * 3)
    with pytest.raises(ValidationError, match="head must have 3 rows of 2"):
        warm_start.WarmStartInputs(head=((1.0, 2.0),))
