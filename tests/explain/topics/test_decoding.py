from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import decoding


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_temperature_by_hand():
    scaled, _, total, p = values(decoding.temperature())
    np.testing.assert_allclose(scaled, [4, 2, 0, -4])
    assert total == pytest.approx(1 + np.exp(-2) + np.exp(-4) + np.exp(-8))
    assert p[0] == pytest.approx(1 / total)


@pytest.mark.parametrize(
    ("topic", "kept"),
    [(decoding.top_k, [0.5, 0.2]), (decoding.top_p, [0.5, 0.2, 0.15]), (decoding.min_p, [0.5, 0.2, 0.15])],
)
def test_a_filter_keeps_the_best_and_divides_by_their_sum(topic, kept):
    *_, left, total, after = values(topic())
    expected = np.array(kept + [0.0] * (5 - len(kept)))
    np.testing.assert_allclose(left, expected)
    assert total == pytest.approx(sum(kept))
    np.testing.assert_allclose(after, expected / sum(kept))


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match=r"sum to one, not to 1\.2"):
        decoding.TopPInputs(tokens=("a", "b"), probabilities=(0.6, 0.6))
    with pytest.raises(ValidationError, match="k is 6, but there are only 5 tokens"):
        decoding.TopKInputs(k=6)
    with pytest.raises(ValidationError, match="probabilities must have 5 entries"):
        decoding.MinPInputs(probabilities=(1.0,))
