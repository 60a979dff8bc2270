"""Rows of text measures catch what goes wrong in such code: a count unclipped, a reference lost, sides exchanged."""

from __future__ import annotations

import pytest
import torch

from zhixing.agreement.families.measures import ROWS
from zhixing.agreement.run import check
from zhixing.evaluation import edit_distance, label_measures, text_measures

CPU = torch.device("cpu")


def _changed(module, name, change):
    right = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *given, **named: change(right, *given, **named))


def _unclipped(right, tokens, references, n):
    return sum(tuple(tokens[i : i + n]) in text_measures._ngrams(references[0], n) for i in range(len(tokens) - n + 1))


BROKEN = {
    "measures.bleu_none": _changed(text_measures, "_clipped", _unclipped),
    "measures.bleu_exponential": _changed(text_measures, "_paired", lambda f, c, r: [(a, b[:1]) for a, b in f(c, r)]),
    "measures.bleu_add_one": _changed(text_measures, "_smoothed", lambda f, m, t, smoothing: f(m, t, "none")),
    "measures.rouge": _changed(text_measures, "_fraction", lambda f, common, a, b: f(common, b, a)),
    "measures.chrf": _changed(text_measures, "_character_f", lambda f, counts, beta: f(counts, 1.0)),
    "measures.edit_distance": _changed(edit_distance, "edit_distance", lambda f, a, b: f(a, b) + (a[0] != b[0])),
    "measures.word_error_rate": _changed(text_measures, "edit_distance", lambda f, a, b: f(a, b[:-1])),
    "measures.labels": _changed(label_measures, "_scores", lambda f, right, said, true: f(right, true, said)),
    "measures.ndcg": _changed(label_measures, "ndcg", lambda f, gains, k: f(gains)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_code_is_caught(name, monkeypatch) -> None:
    (row,) = (row for row in ROWS if row.name == name)
    assert check(row, CPU, torch.float32, seed=0).ok
    BROKEN[name](monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 1e-4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_hold_for_every_seed(row) -> None:
    for seed in range(5 if row.name == "measures.paired_tests" else 30):
        result = check(row, CPU, torch.float32, seed=seed)
        assert result.ok, (seed, result)
