from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import losses


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_squared_error_by_hand():
    _, squares, loss, gradient = values(losses.squared_error())
    np.testing.assert_allclose(squares, [0.25, 0.25, 0.0])
    assert loss == pytest.approx(0.5 / 3)
    np.testing.assert_allclose(gradient, [-1 / 3, 1 / 3, 0.0])


def test_cross_entropy_by_hand():
    p, logs, loss, gradient = values(losses.cross_entropy())
    total = np.e**2 + np.e + 1
    np.testing.assert_allclose(p, [np.e**2 / total, np.e / total, 1 / total])
    np.testing.assert_allclose(np.exp(logs), p)
    assert loss == pytest.approx(np.log(total) - 2)
    np.testing.assert_allclose(gradient, p - [1, 0, 0])


def test_cross_entropy_of_another_class():
    assert values(losses.cross_entropy(), target="bird")[2] == pytest.approx(2.4076, abs=5e-5)


def test_binary_cross_entropy_by_hand():
    p, each, mean, gradient = values(losses.binary_cross_entropy())
    np.testing.assert_allclose(each, [-np.log(p[0]), -np.log(p[1]), -np.log(1 - p[2])])
    assert mean == pytest.approx(each.mean())
    np.testing.assert_allclose(gradient, (p - [1, 1, 0]) / 3)


def test_label_smoothing_by_hand():
    q, logs, loss, plain, gradient = values(losses.label_smoothing(), smoothing=0.3)
    np.testing.assert_allclose(q, [0.8, 0.1, 0.1])
    assert loss == pytest.approx(-(q * logs).sum())
    assert loss > plain
    np.testing.assert_allclose(gradient, np.exp(logs) - q)


def test_no_smoothing_is_cross_entropy():
    _, _, loss, plain, _ = values(losses.label_smoothing(), smoothing=0.0)
    assert loss == pytest.approx(plain)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="target must have 3 entries"):
        losses.SquaredErrorInputs(target=(1.0,))
    with pytest.raises(ValidationError, match="'fish' is none of the classes: cat, dog, bird"):
        losses.CrossEntropyInputs(target="fish")
    with pytest.raises(ValidationError, match="between 0 and 1"):
        losses.BinaryCrossEntropyInputs(targets=(2.0, 0.0, 1.0))
    with pytest.raises(ValidationError, match="less than 1"):
        losses.LabelSmoothingInputs(smoothing=1.0)
