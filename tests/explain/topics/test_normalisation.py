from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import normalisation


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_layer_norm_by_hand():
    mean, variance, standard, y = values(normalisation.layer_norm())
    assert (mean, variance) == (4.0, 5.0)
    np.testing.assert_allclose(standard, np.array([-3, -1, 1, 3]) / np.sqrt(5 + 1e-5))
    np.testing.assert_allclose(y, standard * [1, 1, 2, 1] + [0, 0, 0, 0.5])


def test_rms_norm_by_hand():
    squares, root, y = values(normalisation.rms_norm())
    np.testing.assert_allclose(squares, [1, 49])
    assert root == pytest.approx(5)
    np.testing.assert_allclose(y, [0.2, 1.4], atol=1e-7)


def test_wrong_lengths_are_refused():
    with pytest.raises(ValidationError, match="gain must have 2 entries"):
        normalisation.RmsNormInputs(gain=(1.0,))
    with pytest.raises(ValidationError, match="shift must have 4 entries"):
        normalisation.LayerNormInputs(shift=(1.0,))
