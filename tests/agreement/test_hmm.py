"""The rows of hidden Markov models agree, and broken passes are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zhixing.agreement.families.hmm import ROWS
from zhixing.agreement.run import check
from zhixing.models import hmm, hmm_passes

CPU = torch.device("cpu")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_rows_agree(row, seed) -> None:
    result = check(row, CPU, torch.float32, seed)
    assert result.ok, result


def _padding_moves(ids, length, vocab_size, right=hmm_passes.cut_windows):
    """Padding taken for the vocabulary's last id."""
    return np.minimum(right(ids, length, vocab_size), vocab_size - 1)


def _backwards(parameters, emitted, expected, ids, right=hmm_passes.filter_states):
    turned = hmm_passes.Parameters(parameters.start, parameters.transition.T, parameters.emission)
    return right(turned, emitted, expected, ids)


def _greedy(parameters, ids):
    return parameters.emission.T[ids].argmax(axis=2)


def _tags_exchanged(tags, ids, states, vocab_size, right=hmm.count_tagged):
    return right([states - 1 - path for path in tags], ids, states, vocab_size)


BROKEN = {
    "hmm.expected_counts: padding counted": (
        "hmm.expected_counts", hmm_passes, "cut_windows", _padding_moves
    ),
    "hmm.posteriors: the transition turned round": (
        "hmm.posteriors", hmm_passes, "filter_states", _backwards
    ),
    "hmm.baum_welch: smoothing dropped": (
        "hmm.baum_welch", hmm, "maximise", lambda counts, _, right=hmm.maximise: right(counts, 0.0)
    ),
    "hmm.next_symbol: the transition turned round": (
        "hmm.next_symbol", hmm, "filter_states", _backwards
    ),
    "hmm.score: the transition turned round": ("hmm.score", hmm, "filter_states", _backwards),
    "hmm.viterbi: each id alone": ("hmm.viterbi", hmm, "best_paths", _greedy),
    "hmm.tagged: tags exchanged": (
        "hmm.tagged", hmm, "count_tagged", _tags_exchanged
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, module, attribute, wrong = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == name)
    monkeypatch.setattr(module, attribute, wrong)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert 10 * result.bound < result.error < np.inf, result
