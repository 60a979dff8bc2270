from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import positions


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_sinusoids_by_hand():
    speeds, angles, waves, products = values(positions.sinusoidal_positions())
    np.testing.assert_allclose(speeds, [1.0, 0.01])
    np.testing.assert_allclose(angles[3], [3.0, 0.03])
    np.testing.assert_allclose(waves[1], [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)])
    np.testing.assert_allclose(np.diag(products, 1), np.cos(1) + np.cos(0.01))


def test_learned_positions_are_rows_of_the_table():
    _, rows, x = values(positions.learned_positions(), positions=(2, 0))
    np.testing.assert_allclose(rows, [[0.0, 0.5], [0.1, 0.2]])
    np.testing.assert_allclose(x, rows + 1)


def test_only_the_distance_counts_under_rotation():
    angles, _, product, moved = values(positions.rotary_positions())
    np.testing.assert_allclose(angles, [[3.0, 0.03], [1.0, 0.01]])
    assert product == pytest.approx(np.cos(2) + np.cos(0.02))
    assert moved == pytest.approx(product)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="positions must lie between 0 and 2"):
        positions.LearnedInputs(positions=(3,))
    with pytest.raises(ValidationError, match="even width"):
        positions.RotaryInputs(query=(1.0, 0.0, 0.0), key=(1.0, 0.0, 0.0))
    with pytest.raises(ValidationError, match="key must have 4 entries"):
        positions.RotaryInputs(key=(1.0, 0.0))
