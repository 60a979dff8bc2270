from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import mixture


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_one_step_of_em_by_hand():
    mixed, shares, once, last, losses = values(mixture.mixture())
    np.testing.assert_allclose(mixed, [0.4, 0.1, 0.3])
    np.testing.assert_allclose(shares, [[0.25, 0.75], [0.5, 0.5], [5 / 6, 1 / 6]])
    np.testing.assert_allclose(once, shares.mean(axis=0))
    assert losses[0] == pytest.approx(-np.log([0.4, 0.1, 0.3]).mean())
    assert losses[0] > losses[1] > losses[2]
    assert last.sum() == pytest.approx(1)


def test_the_curves_are_the_weights_of_every_step():
    topic = mixture.mixture()
    picture = topic.picture(topic.inputs(steps=3))
    np.testing.assert_allclose(sum(picture.curves.values()), 1.0)
    assert len(picture.x) == 4


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="weights must be at least 0 and sum to one"):
        mixture.MixtureInputs(weights=(0.5, 0.2))
    with pytest.raises(ValidationError, match="row 2 of probabilities"):
        mixture.MixtureInputs(probabilities=((0.5, 0.5), (0.0, 0.0)))
    with pytest.raises(ValidationError, match="probabilities must have 1 rows of 2"):
        mixture.MixtureInputs(probabilities=((0.5,),))
