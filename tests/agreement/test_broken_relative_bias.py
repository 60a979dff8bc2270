"""Rows of biases by distance catch a turned sign, a lost side, an even logarithm."""

from __future__ import annotations

import math

import pytest
import torch

from zhixing.agreement.families.relative_bias import ROWS
from zhixing.agreement.run import check
from zhixing.nn import relative_bias as practice

CPU = torch.device("cpu")


def _changed(name, change):
    right = getattr(practice, name)
    return lambda patch: patch.setattr(practice, name, lambda *given: change(right, *given))


BROKEN = {
    "positions.relative_bucket_both_ways": _changed("relative_bucket", lambda f, d, n, far, both: f(-d, n, far, both)),
    "positions.relative_bucket_back": _changed("relative_bucket", lambda f, d, n, far, both: f(d, n, far + 9, both)),
    "positions.relative_bias_both_ways": _changed("distances", lambda f, places, keys: -f(places, keys)),
    "positions.relative_bias_back": _changed("distances", lambda f, places, keys: f(places - 1, keys)),
    "positions.alibi_slopes": _changed("alibi_slopes", lambda f, heads: f(heads).flip(0) * 2),
    "positions.alibi": _changed("alibi", lambda f, *given: -f(*given)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_code_is_caught(name, monkeypatch) -> None:
    (row,) = (row for row in ROWS if row.name == name)
    assert check(row, CPU, torch.float32, seed=0).ok
    BROKEN[name](monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 10 * result.bound
    assert math.isfinite(result.error), result.worst


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_rows_hold_for_every_seed(row, dtype) -> None:
    for seed in range(20):
        result = check(row, CPU, dtype, seed=seed)
        assert result.ok, (seed, result)
