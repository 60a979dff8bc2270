from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import masks


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_causal_mask_stands_at_the_end_of_the_keys():
    mask, seen, weights = values(masks.causal_mask(), queries=2, keys=3)
    np.testing.assert_array_equal(mask, [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(seen, [2, 3])
    np.testing.assert_allclose(weights, [[1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]])


def test_documents_do_not_see_one_another():
    _, mask, _, weights = values(masks.document_mask(), tokens=("a", "b", "c"), documents=(0, 1, 1))
    np.testing.assert_array_equal(mask, [[1, 0, 0], [0, 1, 0], [0, 1, 1]])
    np.testing.assert_allclose(weights[2], [0, 0.5, 0.5])


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="5 queries but 4 keys"):
        masks.CausalMaskInputs(queries=5)
    with pytest.raises(ValidationError, match="documents must have 5 entries"):
        masks.DocumentMaskInputs(documents=(0,))
