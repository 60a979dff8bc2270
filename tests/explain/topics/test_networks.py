from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import networks


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_a_neuron_by_hand():
    products, total, output, slopes = values(networks.neuron())
    np.testing.assert_allclose(products, [0.5, 0.5, -1.0])
    assert total == pytest.approx(0.5)
    assert output == pytest.approx(1 / (1 + np.exp(-0.5)))
    np.testing.assert_allclose(slopes, output * (1 - output) * np.array([0.5, 0.25, 1.0]))


def test_the_picture_of_a_neuron_adds_up_to_its_sum():
    topic = networks.neuron()
    picture = topic.picture(topic.inputs())
    assert picture.series["x_i w_i"].sum() == pytest.approx(0.5)
    assert len(picture.labels) == 4


def test_activations_at_one():
    table, slopes, gap = values(networks.activations(), x=(1.0,))
    np.testing.assert_allclose(table[:, 0], [0.7311, 0.7616, 1.0, 0.8413, 0.7311], atol=5e-5)
    assert slopes[2, 0] == 1.0
    assert 0 < abs(gap[0]) < 5e-4


def test_swiglu_by_hand():
    gate, opened, up, product, y = values(networks.swiglu())
    np.testing.assert_allclose(gate, [2.0, -1.0])
    np.testing.assert_allclose(opened, [2 / (1 + np.exp(-2)), -1 / (1 + np.exp(1))])
    np.testing.assert_allclose(product, opened * up)
    np.testing.assert_allclose(y, [product.sum(), product[1]])


def test_back_propagation_by_hand_and_by_differences():
    result = values(networks.back_propagation())
    loss, by_output, second, hidden, first, checked = result[2:]
    assert (loss, by_output) == (1.0, -2.0)  # (1 - 2)², 2 (1 - 2)
    np.testing.assert_allclose(second, [-4.0, 0.0])
    np.testing.assert_allclose(hidden, [-1.0, 0.0])
    np.testing.assert_allclose(first, [[-1.0, 0.0], [-2.0, 0.0]])
    assert checked == pytest.approx(first[0, 0], abs=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "gelu", "silu"])
def test_back_propagation_agrees_with_differences_for_every_activation(activation):
    *_, first, checked = values(networks.back_propagation(), activation=activation)
    assert checked == pytest.approx(first[0, 0], abs=1e-6)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValidationError, match="weights must have 3 entries, not 1"):
        networks.NeuronInputs(weights=(1.0,))
    with pytest.raises(ValidationError, match="down must have 2 rows of 2 numbers"):
        networks.SwigluInputs(down=((1.0, 2.0),))
    with pytest.raises(ValidationError, match="hidden must have 2 rows of 3"):
        networks.BackPropagationInputs(output=(1.0, 2.0, 3.0))


def test_refusals_in_chinese(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    with pytest.raises(ValidationError, match="weights 须有 3 项，而非 1 项"):
        networks.NeuronInputs(weights=(1.0,))
