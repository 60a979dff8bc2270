"""Rows of span corruption catch a sentinel out of order, a lost one, a span begun too late, a wrong rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.agreement.families.span_corruption import ROWS
from zhixing.agreement.run import check
from zhixing.pretraining import span_corruption as practice

CPU = torch.device("cpu")
CORRUPT, COUNTS = practice.corrupt, practice.SpanSettings.counts


def _changed(change):
    return lambda patch: patch.setattr(practice, "corrupt", change)


BROKEN = {
    ("corrupt_spans", "order"): _changed(lambda ids, noise, z: CORRUPT(ids, noise, z[::-1])),
    ("corrupt_spans", "no closing"): _changed(
        lambda ids, noise, z: (CORRUPT(ids, noise, z)[0], CORRUPT(ids, noise, z)[1][:-1])
    ),
    ("fill_spans", "shifted"): _changed(lambda ids, noise, z: CORRUPT(np.roll(ids, 1), noise, z)),
    ("span_counts", "floor"): lambda patch: patch.setattr(
        practice.SpanSettings, "counts", lambda self, length: tuple(n + 1 for n in COUNTS(self, length))
    ),
}


@pytest.mark.parametrize("name, how", BROKEN)
def test_broken_code_is_caught(name, how, monkeypatch) -> None:
    (row,) = (row for row in ROWS if row.name == f"sequence_to_sequence.{name}")
    assert check(row, CPU, torch.float32, seed=0).ok
    BROKEN[name, how](monkeypatch)
    assert not check(row, CPU, torch.float32, seed=0).ok


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_hold_for_every_seed(row) -> None:
    for seed in range(50):
        result = check(row, CPU, torch.float32, seed=seed)
        assert result.ok, (seed, result)
