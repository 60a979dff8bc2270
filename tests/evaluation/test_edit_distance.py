"""The bit-parallel distances are those of the plain tables, for any sequences."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.evaluation.edit_distance import common_subsequence, edit_distance
from zhixing.theory import text_measures as theory

SEQUENCES = st.lists(st.sampled_from("abc"), max_size=80)


@settings(max_examples=60, deadline=None)
@given(SEQUENCES, SEQUENCES)
def test_equal_to_the_tables(first, second):
    assert edit_distance(first, second) == theory.edit_distance(first, second)
    assert common_subsequence(first, second) == theory.common_subsequence(first, second)


@pytest.mark.parametrize(
    ("first", "second", "edits", "common"),
    [("", "", 0, 0), ("", "ab", 2, 0), ("ab", "", 2, 0), ("kitten", "sitting", 3, 4), ("坐在垫子上", "坐垫子上", 1, 4)],
)
def test_by_hand(first, second, edits, common):
    assert (edit_distance(first, second), common_subsequence(first, second)) == (edits, common)


def test_long_texts_are_quick():
    """Ten thousand tokens by ten thousand: a table of 10^8 entries would take minutes."""
    first, second = [i * i % 97 for i in range(10_000)], [i * i % 89 for i in range(10_000)]
    start = time.perf_counter()
    assert 0 < edit_distance(first, second) <= 10_000
    assert 0 < common_subsequence(first, second) <= 10_000
    assert time.perf_counter() - start < 5
