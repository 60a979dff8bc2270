from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import measures


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_perplexity_by_hand():
    _, mean, result, checked = values(measures.perplexity())
    assert mean == pytest.approx(np.log(4))
    assert result == pytest.approx(4)  # 1/2, 1/4, 1/8: on average a choice among four
    assert checked == pytest.approx(4)


def test_bits_per_byte_by_hand():
    bits, sizes, total, all_bits, result = values(measures.bits_per_byte())
    np.testing.assert_allclose(bits, [1, 2, 3])
    np.testing.assert_array_equal(sizes, [6, 6, 1])
    assert (total, all_bits) == (13, pytest.approx(6))
    assert result == pytest.approx(6 / 13)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="probabilities must have 3 entries"):
        measures.PerplexityInputs(probabilities=(0.5,))
    with pytest.raises(ValidationError, match="between 1e-12 and 1"):
        measures.BitsPerByteInputs(probabilities=(0.5, 0.5, 0.0))
