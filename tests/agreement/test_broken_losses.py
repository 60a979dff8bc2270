"""Rows of losses catch a flipped sign, a dropped scale, a forgotten mask."""

from __future__ import annotations

import math

import pytest
import torch

from zhixing.agreement.families.losses import ROWS
from zhixing.agreement.run import check
from zhixing.nn import contrastive_losses, losses, preference_losses

CPU = torch.device("cpu")


def _changed(module, name, change):
    right = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *given, **named: change(right, *given, **named))


BROKEN = {
    "losses.masked_lm": _changed(losses, "masked_lm_sum", lambda f, logits, ids, m: f(logits, ids, m | True)),
    "losses.permutation_lm": _changed(
        losses, "permutation_lm_sum", lambda f, logits, ids, order, predicted: f(logits, ids, order.flip(1), predicted)
    ),
    "losses.factorisation_mask": _changed(losses, "factorisation_rank", lambda f, order: order),
    "losses.info_nce": _changed(contrastive_losses, "info_nce_sum", lambda f, q, k, t: f(q, k, 1.0)),
    "losses.triplet": _changed(contrastive_losses, "triplet_sum", lambda f, a, p, n, m: f(a, n, p, m)),
    "losses.alignment": _changed(contrastive_losses, "alignment_sum", lambda f, q, k: f(q, -k)),
    "losses.uniformity": _changed(contrastive_losses, "uniformity", lambda f, x: f(x) / 2),
    "losses.retrieval_accuracy": _changed(contrastive_losses, "retrieved_sum", lambda f, q, k: f(q, k.flip(0))),
    "losses.dpo": _changed(preference_losses, "dpo_sum", lambda f, c, r, rc, rr, b: f(r, c, rr, rc, b)),
    "losses.grpo": _changed(
        preference_losses, "grpo_sum", lambda f, *given, clip, beta: f(*given, clip=9.0, beta=beta)
    ),
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
