from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import attention


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_attention_by_hand():
    products, scores, weights, mixed = values(attention.attention())
    np.testing.assert_allclose(products, [[0, 4, 0], [0, 0, 2]])
    np.testing.assert_allclose(scores, products / np.sqrt(2))
    best = np.exp(4 / np.sqrt(2))
    np.testing.assert_allclose(weights[0], np.array([1, best, 1]) / (best + 2))
    np.testing.assert_allclose(mixed[0], [weights[0, 0] + weights[0, 2], weights[0, 1] + weights[0, 2]])


def test_cross_attention_aligns_each_word_with_its_translation():
    weights = values(attention.cross_attention())[2]
    np.testing.assert_array_equal(weights.argmax(axis=1), [0, 1, 2])


def test_heads_attend_apart_and_are_joined():
    first, weights, _, second, joined = values(attention.multi_head_attention())
    np.testing.assert_allclose(first, [[2, 0], [0, 2]])
    np.testing.assert_allclose(second, 0.5)
    np.testing.assert_allclose(joined[:, :2], weights @ first)
    np.testing.assert_allclose(joined[:, 2:], 1.0)


def test_groups_and_the_size_of_the_cache():
    shared, group, answers, sizes = values(attention.grouped_query_attention())
    assert shared == 2.0
    np.testing.assert_array_equal(group, [0, 0, 1, 1])
    np.testing.assert_allclose(answers, [1, 1, 2, 2])
    np.testing.assert_allclose(sizes, [256, 128, 64])  # 2 · 2 bytes · 32 · G · 128 · 4096


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="key must have 3 rows of 2"):
        attention.AttentionInputs(key=((1.0, 2.0),))
    with pytest.raises(ValidationError, match="3 heads do not divide the width 4"):
        attention.MultiHeadInputs(heads=3)
    with pytest.raises(ValidationError, match="3 key-value heads do not divide 4"):
        attention.GroupedQueryInputs(key_value_heads=3)
