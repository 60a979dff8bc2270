"""The parity report sees what differs, and where; it never passes for a check that was not made."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from zhixing.exchange.parity import (
    Bounds,
    Measure,
    Parity,
    agreement,
    choices,
    compare_readers,
    padded,
    perplexity_change,
)

V = 11
WEIGHTS = np.random.default_rng(0).normal(size=(V, V)).astype(np.float32)
ROWS = [np.arange(length) % V for length in (1, 3, 7)]


def reader(ids, lengths):
    return WEIGHTS[ids]


def test_equal_readers_differ_by_nothing() -> None:
    difference, largest = compare_readers(reader, reader, ROWS, Bounds())
    assert difference.value == 0 and difference.ok and largest.value == np.abs(WEIGHTS[:7]).max()


def test_one_wrong_score_is_found_with_its_place() -> None:
    def wrong(ids, lengths):
        scores = reader(ids, lengths).copy()
        scores[:, 4:5, 3] += 0.25
        return scores

    difference, _ = compare_readers(reader, wrong, ROWS, Bounds())
    assert difference.value == pytest.approx(0.25) and not difference.ok and difference.note == "text 3, place 5, id 3"


def test_one_who_minds_padding_is_found() -> None:
    def wrong(ids, lengths):
        return reader(ids, lengths) + (lengths < ids.shape[1])[:, None, None]

    difference, _ = compare_readers(reader, wrong, ROWS, Bounds())
    assert difference.value == pytest.approx(1) and "padded in a batch" in difference.note and not difference.ok


def test_what_is_no_number_fails() -> None:
    difference, _ = compare_readers(reader, lambda ids, lengths: reader(ids, lengths) * np.nan, ROWS, Bounds())
    assert not difference.ok and difference.value == math.inf
    assert json.loads(json.dumps(Parity("x", (difference,)).as_dict()))["measures"]["logit_difference"]["value"] is None
    assert not Measure("a", "a", math.nan, 1.0).ok and not Measure("a", "a", None, 1.0).ok


def test_what_is_impossible_on_both_sides_is_equal() -> None:
    def impossible(ids, lengths):
        scores = reader(ids, lengths).copy()
        scores[..., 2] = -np.inf
        return scores

    difference, _ = compare_readers(impossible, impossible, ROWS, Bounds())
    assert difference.value == 0
    assert not compare_readers(impossible, reader, ROWS, Bounds())[0].ok


def test_agreement_and_perplexity() -> None:
    found = agreement([np.array([1, 2, 3])], [np.array([1, 5, 3])], Bounds())
    assert found.value == pytest.approx(2 / 3) and not found.ok and found.note == "2 of 3"
    assert agreement([np.array([1])], [np.array([1])], Bounds()).ok
    before, after, change = perplexity_change(1.0, 1.1, 10, Bounds())
    assert before.value == pytest.approx(math.e) and change.value == pytest.approx(math.exp(0.1) - 1) and not change.ok
    assert after.ok and perplexity_change(1.0, 1.0, 10, Bounds())[2].ok


def test_verdict_and_words() -> None:
    good, bad = Measure("a", "first", 0.5, 1.0), Measure("b", "second", 0.5, 0.9, at_least=True, note="here")
    assert Parity("x", (good,)).ok is True and Parity("x", (good, bad)).ok is False
    assert Parity("x", (good, bad)).failures() == "second 0.5 < 0.9 (here)"
    assert "✓" in Parity("x", (good,)).render() and "✗" in Parity("x", (bad,)).render()
    unchecked = Parity(None, notes=("why",))
    assert unchecked.ok is None and unchecked.as_dict()["ok"] is None
    assert unchecked.render() == "Not checked.\nwhy"


def test_padding() -> None:
    ids, lengths = padded(ROWS)
    assert ids.shape == (3, 7) and lengths.tolist() == [1, 3, 7] and ids[0, 1:].sum() == 0


def test_a_choice_that_is_as_good_as_theirs_is_theirs() -> None:
    scores = np.array([[0.0, 1.0, 1.0 - 1e-7], [0.0, 1.0, 0.9], [-9.0, -9.0, -9.5]], np.float32)
    ours = np.array([2, 2, 1])
    assert choices(scores, ours, Bounds()).tolist() == [2, 1, 1]
