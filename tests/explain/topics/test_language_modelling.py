from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import language_modelling


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_loss_is_the_mean_of_the_counted_tokens():
    p, chosen, counted, loss, gradient = values(language_modelling.causal_language_modelling())
    np.testing.assert_allclose(chosen, np.log([p[0, 1], p[1, 2]]))
    np.testing.assert_allclose(counted, [1.0, 1.0])
    assert loss == pytest.approx(-chosen.mean())
    np.testing.assert_allclose(gradient[0], (p[0] - [0, 1, 0]) / 2)
    np.testing.assert_allclose(gradient[2], 0.0)


def test_a_token_that_is_not_counted_does_not_weigh():
    _, chosen, _, loss, gradient = values(language_modelling.causal_language_modelling(), counted=(True, False, True))
    assert loss == pytest.approx(-chosen[1])
    np.testing.assert_allclose(gradient[0], 0.0)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="not in the vocabulary: mat"):
        language_modelling.CausalInputs(text=("the", "cat", "mat"))
    with pytest.raises(ValidationError, match="count at least one token"):
        language_modelling.CausalInputs(counted=(True, False, False))
    with pytest.raises(ValidationError, match="logits must have 3 rows of 3"):
        language_modelling.CausalInputs(logits=((1.0, 2.0, 3.0),))
