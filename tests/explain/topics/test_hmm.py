"""The worked examples of hidden Markov models: what is computed two ways agrees, and misfits are named."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.config import load_settings
from zhixing.errors import ConfigError
from zhixing.explain.topics.hmm import baum_welch, forward_algorithm, hidden_markov_model, viterbi
from zhixing.explain.topics.hmm_inputs import HmmInputs
from zhixing.explain.topics.hmm_learning import BaumWelchInputs

IMPOSSIBLE = ("emission=[[1, 0, 0, 0], [0, 1, 0, 0]]", "observed=[fish, can]")


def values(topic, inputs):
    return {step.says: step.value for step in topic.example(inputs)}


def test_the_forward_sum_is_the_sum_over_every_path():
    found = values(forward_algorithm(), HmmInputs())
    assert found["their product"] == pytest.approx(found["the same from every single path"], rel=1e-12)


def test_the_best_path_of_the_lattice_is_the_examples():
    lattice, inputs = viterbi().picture(HmmInputs()), HmmInputs()
    for t in range(1, len(inputs.observed)):
        assert lattice.came_from[lattice.best[t], t] == lattice.best[t - 1]
    assert lattice.best[-1] == lattice.score[:, -1].argmax()
    assert (lattice.came_from[:, 0] == -1).all()


def test_the_joint_probability_is_the_best_scores():
    found, scores = values(hidden_markov_model(), HmmInputs()), viterbi().picture(HmmInputs()).score
    assert found["their product"] == pytest.approx(np.exp(scores[:, -1].max()))


def test_a_step_of_baum_welch_helps_and_the_picture_rises():
    found = values(baum_welch(), BaumWelchInputs())
    assert found["and after"] > found["log-likelihood before"]
    (curve,) = baum_welch().picture(BaumWelchInputs(passes=20)).curves.values()
    assert len(curve) == 21 and np.diff(curve).min() > -1e-9


def test_a_state_that_cannot_be_has_minus_infinity():
    inputs = load_settings(HmmInputs, None, ["emission=[[1, 0, 0, 0], [0, 0.5, 0.5, 0]]"])
    assert np.isneginf(viterbi().picture(inputs).score[0, 1])


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["start=[1.0]"], "start must have 2 entries, not 1"),
        (["transition=[[1.0, 0.0]]"], "transition must have 2 rows of 2 numbers"),
        (["emission=[[0.4, 0.1, 0.2, 0.4], [0.2, 0.5, 0.3, 0]]"], "sum to one, not to 1.1"),
        (["observed=[fish, dog]"], "none of the symbols"),
        (IMPOSSIBLE, "no sequence of states can show this text"),
    ],
)
def test_inputs_that_do_not_fit_are_named(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(HmmInputs, None, overrides)
