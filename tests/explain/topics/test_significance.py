from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import significance


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_bootstrap_resamples_the_texts():
    gap, draws, each, difference, interval, p = values(significance.bootstrap())
    np.testing.assert_allclose(gap, [0.5, -0.5, 1, 1, 1])
    np.testing.assert_allclose(each, gap[draws.astype(int) - 1].mean(axis=1))
    assert difference == pytest.approx(0.6)
    assert interval[0] <= difference <= interval[1]
    # of the 32 ways to swap, 6 reach |3|: none, only the second, the first two; and their mirrors
    assert p == pytest.approx(6 / 32, abs=0.03)


def test_equal_models_do_not_differ():
    *_, difference, interval, p = values(significance.bootstrap(), loss_b=(4.0, 6.0, 5.0, 8.0, 7.0))
    assert difference == 0
    np.testing.assert_array_equal(interval, 0.0)
    assert p == 1.0


def test_every_resample_is_in_the_picture():
    topic = significance.bootstrap()
    (heights,) = topic.picture(topic.inputs()).series.values()
    assert heights.sum() == 2000


def test_mcnemar_by_hand():
    n, fewer, tail, p = values(significance.mcnemar())
    assert (n, fewer) == (8, 1)
    assert tail == pytest.approx((1 + 8) / 256)
    assert p == pytest.approx(18 / 256)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="loss_b must have 5 entries"):
        significance.BootstrapInputs(loss_b=(1.0, 2.0))
    with pytest.raises(ValidationError, match="nothing to test"):
        significance.McNemarInputs(only_a=0, only_b=0)
