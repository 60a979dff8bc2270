from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import transformer


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_block_adds_what_its_parts_give():
    normal, read, first, _, thought, out = values(transformer.transformer_block())
    np.testing.assert_allclose(normal[0], np.array([1, 0, -1]) / np.sqrt(2 / 3), rtol=1e-4)
    np.testing.assert_allclose(read[0], normal[0])  # the first word sees itself alone
    np.testing.assert_allclose(out, first + thought)


def test_gpt2_small_has_124_million_weights():
    x, *_, p, block, total = values(transformer.gpt_2())
    np.testing.assert_allclose(x, [[1, 0, -1], [0.5, 1.5, 1]])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert block == f"{12 * 768**2 + 13 * 768:,}"
    assert total == "124,439,808"


def test_llama_2_has_6_738_million_weights():
    x, normal, *_, parts, total = values(transformer.llama())
    np.testing.assert_allclose(x[0], [1, 7])
    np.testing.assert_allclose(normal[0], [0.2, 1.4], atol=1e-6)
    np.testing.assert_allclose(parts * 1e6, [2 * 4096**2, 2 * 4096**2, 3 * 4096 * 11008, 2 * 4096])
    assert total == "6,738,415,616"


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="not in the vocabulary: mat"):
        transformer.Gpt2Inputs(text=("mat",))
    with pytest.raises(ValidationError, match="3 tokens but 2 places"):
        transformer.Gpt2Inputs(text=("the", "cat", "sat"))
    with pytest.raises(ValidationError, match="even width"):
        transformer.LlamaInputs(embedding=((1.0, 2.0, 3.0),) * 3)
    with pytest.raises(ValidationError, match="G divides H"):
        transformer.LlamaInputs(heads=(32, 5))
