"""The row of beam search catches a lost penalty and a state that does not follow its text."""

from __future__ import annotations

import pytest
import torch

from zhixing.agreement.families.decoding import ROWS
from zhixing.agreement.run import check
from zhixing.generation import beam

CPU = torch.device("cpu")
BROKEN = {
    "no penalty": lambda patch: patch.setattr(beam, "length_penalty", lambda length, alpha: 1.0),
    "rows astray": lambda patch: patch.setattr(beam._Search, "_follow", lambda self, state, alive, rows: (
        self._model.keep_rows(state, [0] * len(alive))
    )),
    "ends forgotten": lambda patch: patch.setattr(beam._Search, "_finish", lambda self, ended: None),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    (row,) = (row for row in ROWS if row.name == "decoding.beam_search")
    for seed in range(10):
        assert check(row, CPU, torch.float32, seed=seed).ok
    BROKEN[what](monkeypatch)
    assert not check(row, CPU, torch.float32, seed=0).ok
