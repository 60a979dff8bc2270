from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import generation


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_penalty_divides_and_multiplies():
    _, before, after, p = values(generation.repetition_penalty())
    np.testing.assert_allclose(after, [1.0, 1.0, -2.0, 0.5])
    assert p[0] < before[0] and p[2] < before[2]
    assert p[1] > before[1]


def test_speculation_writes_what_the_model_would():
    keep, alpha, residual, written, expected = values(generation.speculative_decoding())
    np.testing.assert_allclose(keep, [0.625, 1, 1])
    assert alpha == pytest.approx(0.7)
    np.testing.assert_allclose(residual, [0, 2 / 3, 1 / 3])
    np.testing.assert_allclose(written, [0.5, 0.3, 0.2])
    assert expected == pytest.approx((1 - 0.7**5) / 0.3)


def test_a_perfect_draft_is_never_refused():
    _, alpha, residual, written, expected = values(
        generation.speculative_decoding(), model=(0.5, 0.25, 0.25), draft=(0.5, 0.25, 0.25)
    )
    assert (alpha, expected) == (1.0, 5.0)
    np.testing.assert_array_equal(residual, 0.0)
    np.testing.assert_allclose(written, [0.5, 0.25, 0.25])


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="none of the tokens: dog"):
        generation.RepetitionInputs(seen=("dog",))
    with pytest.raises(ValidationError, match="draft must be at least 0 and sum to one"):
        generation.SpeculativeInputs(draft=(0.5, 0.1, 0.1))
