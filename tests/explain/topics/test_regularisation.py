from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import regularisation


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_dropout_by_hand_and_in_expectation():
    kept, scale, y, mean = values(regularisation.dropout(), rate=0.5)
    np.testing.assert_allclose(kept, [1.0, 0.0, 3.0, 4.0])
    assert scale == 2.0
    np.testing.assert_allclose(y, [2.0, 0.0, 6.0, 8.0])
    np.testing.assert_allclose(mean, [1.0, 2.0, 3.0, 4.0])


def test_weight_decay_by_hand():
    l1, l2, pulls, after, decoupled = values(regularisation.weight_decay())
    assert l1 == pytest.approx(0.5 * 3.1)
    assert l2 == pytest.approx(0.25 * (4 + 1 + 0.01))
    np.testing.assert_allclose(pulls, [[0.5, -0.5, 0.5], [1.0, -0.5, 0.05]])
    np.testing.assert_allclose(after, [[1.95, -0.95, 0.05], [1.9, -0.95, 0.095]])
    np.testing.assert_allclose(decoupled, after[1])


def test_the_paths_shrink_as_the_penalties_say():
    topic = regularisation.weight_decay()
    curves = topic.picture(topic.inputs()).curves
    np.testing.assert_allclose(curves["L2"], 2.0 * 0.95 ** np.arange(41))
    np.testing.assert_allclose(curves["L1"][:40], 2.0 - 0.05 * np.arange(40), atol=1e-12)


def test_wrong_lengths_are_refused():
    with pytest.raises(ValidationError, match="kept must have 4 entries"):
        regularisation.DropoutInputs(kept=(True,))
    with pytest.raises(ValidationError, match="gradient must have 3 entries"):
        regularisation.WeightDecayInputs(gradient=(0.0,))
    with pytest.raises(ValidationError, match="less than 1"):
        regularisation.DropoutInputs(rate=1.0)
