"""How often the first guess is right: every position once, and the same answer as guessing one token at a time."""

import numpy as np
import pytest

from zhixing.comparison.accuracy import choose_windows, first_guesses
from zhixing.comparison.table import CompareReport
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.models.load import load


def documents(*lengths: int) -> list[HeldOutDocument]:
    draw = np.random.default_rng(0)
    return [HeldOutDocument(draw.integers(0, 200, length), length, "") for length in lengths]


def test_every_prediction_counts_once() -> None:
    held = documents(5, 40, 17, 2, 33)
    windows = choose_windows(held, reach=8, most=10_000)
    assert sum(len(ids) - 1 - skip for ids, skip in windows) == sum(len(d.ids) - 1 for d in held)
    assert max(len(ids) for ids, _ in windows) == 9


def test_a_few_are_evenly_chosen() -> None:
    held = documents(4000, 3000)
    windows = choose_windows(held, reach=16, most=500)
    counted = sum(len(ids) - 1 - skip for ids, skip in windows)
    assert 400 <= counted <= 530
    assert any(np.array_equal(windows[-1][0], held[1].ids[s : s + 17]) for s in range(2000, 3000))


@pytest.mark.parametrize("name", ["trigram", "hmm", "gru", "llama"])
def test_it_is_what_guessing_one_by_one_gives(report: CompareReport, name: str) -> None:
    folder = next(row.folder for row in report.rows if row.model == name)
    model = load(str(folder)).model
    windows = choose_windows(documents(30, 9, 70), reach=16, most=10_000)
    right = 0
    for ids, skip in windows:
        for target in range(skip + 1, len(ids)):
            log_probs, _ = model.next_log_probs(ids[None, :target], model.initial_state(1))
            right += int(log_probs.argmax()) == ids[target]
    assert first_guesses(model, windows) == (right, sum(len(ids) - 1 - skip for ids, skip in windows))
