"""Labels and rankings against the formulas, by hand, and at their edges."""

import logging

import numpy as np
import pytest

from zhixing.errors import DataError
from zhixing.evaluation.label_measures import label_report, ndcg
from zhixing.theory import text_measures as theory


def test_every_label_and_both_averages_are_the_formulas():
    rng = np.random.default_rng(0)
    predicted, target = rng.integers(6, size=(2, 300))
    report = label_report(predicted.tolist(), target.tolist())
    for label, scores in report.labels.items():
        expected = theory.precision_recall_f1(*theory.outcomes(predicted, target, label))
        assert (scores.precision, scores.recall, scores.f1) == pytest.approx(expected)
        assert scores.support == (target == label).sum()
    for ours, average in ((report.micro, theory.micro_average), (report.macro, theory.macro_average)):
        expected = average(predicted, target, list(range(6)))
        assert (ours.precision, ours.recall, ours.f1) == pytest.approx(expected)
    assert report.micro.f1 == pytest.approx((predicted == target).mean())


def test_texts_are_labels_too():
    report = label_report(["好", "坏", "好"], ["好", "好", "坏"])
    assert report.labels["好"].f1 == pytest.approx(0.5)
    assert (report.labels["坏"].f1, report.macro.f1) == (0.0, 0.25)


def test_chosen_labels_leave_the_background_out():
    """As in tagging, where "O" is nearly everything and no achievement."""
    predicted, target = ["O", "O", "PER", "LOC", "O"], ["O", "PER", "PER", "LOC", "O"]
    report = label_report(predicted, target, labels=["PER", "LOC"])
    assert (report.micro.precision, report.micro.recall) == (1.0, pytest.approx(2 / 3))
    assert report.micro.support == 3


def test_what_is_undefined_is_said(caplog):
    with caplog.at_level(logging.WARNING):
        report = label_report([1, 1], [1, 2])
    assert report.undefined == (2,)
    assert "2" in caplog.text
    assert report.labels[2].precision == 0.0


def test_ndcg():
    rng = np.random.default_rng(1)
    gains = rng.integers(4, size=(20, 12)).astype(float)
    for k in (1, 5, 12):
        assert ndcg(gains, k) == pytest.approx(np.mean([theory.ndcg(row, k) for row in gains]))
    assert ndcg([3, 2, 1, 0]) == 1.0
    assert ndcg([0, 0, 0]) == 0.0
    assert ndcg([0, 1], k=1) == 0.0


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: label_report([1], [1, 2]), "1 predictions but 2"),
        (lambda: label_report([], []), "at least one"),
        (lambda: ndcg([1.0, -1.0]), "negative"),
        (lambda: ndcg([]), "some"),
        (lambda: ndcg([float("nan")]), "finite"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(DataError, match=says):
        call()
