from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.explain.topics import tokenization


def values(topic, **changes):
    return [step.value for step in topic.example(topic.inputs(**changes))]


def test_the_merges_of_the_paper():
    topic = tokenization.byte_pair_encoding()
    top, merges, corpus, pieces, per_piece = topic.example(topic.inputs())
    assert list(merges.columns) == ["e + s", "es + t", "l + o", "lo + w", "e + w"]
    np.testing.assert_array_equal(merges.value, [9, 9, 7, 7, 6])
    assert dict(zip(top.columns, top.value, strict=True))["we"] == 8
    assert corpus.value.split(" · ")[3] == "w|i|d|est"
    assert pieces.value == "low|est"
    assert per_piece.value == 3


def test_the_tree_spells_the_word():
    topic = tokenization.byte_pair_encoding()
    tree = topic.picture(topic.inputs(encode="newest"))

    def letters(node):
        return "".join(map(letters, node.children)) if node.children else node.text

    assert letters(tree) == "newest"
    assert [child.text for child in tree.children] == ["n", "ew", "est"]


def test_no_more_merges_than_there_are_pairs():
    assert len(values(tokenization.byte_pair_encoding(), words=("ab",), counts=(1,), merges=9)[1]) == 1


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="counts must have 4 entries"):
        tokenization.BytePairInputs(counts=(1,))
    with pytest.raises(ValidationError, match="differ from one another"):
        tokenization.BytePairInputs(words=("low", "low"), counts=(1, 2))
    with pytest.raises(ValidationError, match="two letters"):
        tokenization.BytePairInputs(words=("a",), counts=(1,))
