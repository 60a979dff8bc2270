from __future__ import annotations

import math

import numpy as np
import pytest

from zhixing.theory import measures
from zhixing.theory import text_measures as theory


def test_micro_average_over_all_labels_is_the_accuracy(rng):
    predicted, target = rng.integers(4, size=(2, 50))
    accuracy = measures.accuracy(predicted, target)
    assert theory.micro_average(predicted, target, range(4)) == pytest.approx((accuracy,) * 3)


def test_macro_f1_is_not_the_f_measure_of_the_macro_averages():
    precision, recall, f1 = theory.macro_average([0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1])
    assert abs(f1 - theory.f_measure(precision, recall)) > 1e-3


def test_a_text_against_itself_is_perfect():
    text = ["the", "cat", "sat", "on", "the", "mat"]
    assert theory.bleu([text], [[text]]) == pytest.approx(1.0)
    assert theory.rouge_n(text, text, 2) == theory.rouge_l(text, text) == (1.0, 1.0, 1.0)
    assert theory.chrf(["猫坐在垫子上"], ["猫坐在垫子上"]) == 1.0
    assert theory.word_error_rate([text], [text]) == 0.0


def test_papineni_on_brevity():
    """Four tokens of a long reference: every precision is perfect, and the penalty makes it nearly worthless."""
    reference = [
        "it",
        "is",
        "a",
        "guide",
        "to",
        "action",
        "that",
        "ensures",
        "that",
        "the",
        "military",
        "will",
        "always",
        "obey",
    ]
    assert theory.bleu([reference[:4]], [[reference]]) == pytest.approx(math.exp(1 - 14 / 4))


def test_bleu_of_a_corpus_is_not_the_mean_of_its_sentences():
    candidates = [["a", "b", "c", "d", "e", "f"], ["x", "b", "c", "d", "y"]]
    references = [[["a", "b", "c", "d", "e", "f"]], [["a", "b", "c", "d", "e", "f", "g"]]]
    each = [theory.bleu([c], [r]) for c, r in zip(candidates, references, strict=True)]
    assert each == [pytest.approx(1.0), 0.0]
    assert 0.5 < theory.bleu(candidates, references) < 0.9


def test_edit_distance_is_a_metric(rng):
    texts = ["".join(rng.choice(list("ab"), size=size)) for size in (3, 5, 8, 8)]
    for a in texts:
        assert theory.edit_distance(a, a) == 0
        for b in texts:
            assert theory.edit_distance(a, b) == theory.edit_distance(b, a)
            assert abs(len(a) - len(b)) <= theory.edit_distance(a, b) <= max(len(a), len(b))
            for c in texts:
                assert theory.edit_distance(a, c) <= theory.edit_distance(a, b) + theory.edit_distance(b, c)


def test_error_rate_above_one():
    assert theory.word_error_rate([["a", "b", "c", "d"]], [["x"]]) == 4.0


def test_ndcg_is_one_for_the_best_order_alone(rng):
    gains = rng.permutation(8).astype(float)
    assert theory.ndcg(np.sort(gains)[::-1], 5) == 1.0
    assert theory.ndcg(np.sort(gains), 5) < 1.0
    assert theory.ndcg(np.zeros(4), 2) == 0.0
