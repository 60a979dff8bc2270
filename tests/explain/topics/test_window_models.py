from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import window_models


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_feed_forward_model_by_hand():
    embedded, x, z, h, scores, p, table, learned = values(window_models.feed_forward_language_model())
    np.testing.assert_array_equal(embedded, [[1, 0], [0, 1]])
    np.testing.assert_array_equal(x, [1, 0, 0, 1])
    np.testing.assert_allclose(z, [2.0, 0.0])
    np.testing.assert_allclose(scores, [-np.tanh(2.0), 0, 0, 2 * np.tanh(2.0)])
    assert h[1] == 0
    np.testing.assert_allclose(p, np.exp(scores) / np.exp(scores).sum())
    assert table == 4**3 and learned == 8 + 8 + 2 + 8


def test_a_word_used_alike_predicts_alike():
    topic = window_models.feed_forward_language_model()
    rows = topic.picture(topic.inputs()).values
    the, cat, dog, sat = rows
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    assert np.abs(cat - dog).max() < 0.02 < 0.1 < np.abs(cat - the).max()
    assert [row.argmax() for row in (cat, dog, sat)] == [3, 3, 0] and the.argmax() in (1, 2)
    np.testing.assert_allclose(values(topic, context=("the", "dog"))[5], dog)


def test_one_word_of_context():
    shorter = values(window_models.feed_forward_language_model(), context=("sat",), hidden=((0.0, 1.0), (2.0, 0.0)))
    np.testing.assert_allclose(shorter[2], [0.0, -1.0])


def test_the_convolution_by_hand():
    seen, a, gate, y, gradient, strongest, field = values(window_models.convolution())
    np.testing.assert_array_equal(seen, [[-1, 0, 2, 1], [0, -1, 0, 2]])
    np.testing.assert_allclose(a, [-1.0, -0.5, 2.0, 2.0])
    np.testing.assert_allclose(gate, 1 / (1 + np.exp([0.0, 2.0, 0.0, -4.0])))
    np.testing.assert_allclose(y, a * gate)
    np.testing.assert_array_equal(gradient, [0, 0, 0.5, 1])
    assert strongest == y.max() and field == 5


def test_the_picture_counts_paths():
    topic = window_models.convolution()
    picture = topic.picture(topic.inputs())
    np.testing.assert_allclose(picture.values[-1] * 2**4, [1, 4, 6, 4, 1])  # Pascal's triangle
    assert picture.values.shape == (4, 5)


@pytest.mark.parametrize(
    "topic, changes, named",
    [
        (window_models.feed_forward_language_model, {"context": ("the", "cow")}, "cow"),
        (window_models.feed_forward_language_model, {"context": ("the",)}, "hidden"),
        (window_models.feed_forward_language_model, {"embeddings": ((1.0, 0.0), (0.0, 1.0))}, "embeddings"),
        (window_models.feed_forward_language_model, {"output": ((1.0, 0.0),)}, "output"),
        (window_models.convolution, {"x": (1.0,)}, "x"),
        (window_models.convolution, {"gate": (1.0,)}, "gate"),
        (window_models.convolution, {"value": (1.0,) * 13, "gate": (1.0,) * 13}, "12"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(topic, changes, named):
    with pytest.raises(ValidationError, match=named):
        topic().inputs(**changes)
