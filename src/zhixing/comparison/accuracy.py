"""How often a model's first guess is the next token: the same held-out positions for every family.

The waist of all families tells the whole distribution of the next token (``next_log_probs``), so this needs nothing of
a family's own. It is slower than scoring, so a sample of windows is read, evenly chosen; a window that begins inside a
document has its first half only read, not guessed, so that every guess there has text before it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.windows import plan_windows
from zhixing.models.protocol import Ids, LanguageModel

REACH = 128
"""Most tokens read before a guess."""
_ROWS = 64

Window = tuple[Ids, int]
"""Ids, and how many of the predictions after the first id do not count."""


def choose_windows(documents: Iterable[HeldOutDocument], reach: int, most: int) -> list[Window]:
    """Return windows of at most ``reach`` + 1 ids, evenly chosen so that about ``most`` predictions count in them."""
    planned = [
        (document.ids[start:end], skip)
        for document in documents
        for start, end, skip in plan_windows(len(document.ids), reach, max(1, reach // 2))
        if end - start - 1 > skip
    ]
    total = sum(len(ids) - 1 - skip for ids, skip in planned)
    return planned[:: max(1, math.ceil(total / most))]


def first_guesses(model: LanguageModel, windows: Sequence[Window]) -> tuple[int, int]:
    """Return (how many counted tokens were the model's most probable one, how many were counted)."""
    # Windows of one kind together: what none of a batch's rows counts is then read in one go.
    ordered = sorted(windows, key=lambda window: (window[1], -len(window[0])))
    right = counted = 0
    for start in range(0, len(ordered), _ROWS):
        hits, guesses = _batch(model, ordered[start : start + _ROWS])
        right, counted = right + hits, counted + guesses
    return right, counted


def _batch(model: LanguageModel, windows: Sequence[Window]) -> tuple[int, int]:
    lengths = np.array([len(ids) for ids, _ in windows])
    skip = np.array([skip for _, skip in windows])
    ids = np.zeros((len(windows), int(lengths.max())), np.int64)
    for row, (own, _) in enumerate(windows):
        ids[row, : len(own)] = own
    right = counted = 0
    state, read = model.initial_state(len(windows)), 0
    for target in range(int(skip.min()) + 1, ids.shape[1]):
        log_probs, state = model.next_log_probs(ids[:, read:target], state)
        read = target
        counts = (target > skip) & (target < lengths)
        right += int(np.sum((log_probs.argmax(axis=1) == ids[:, target]) & counts))
        counted += int(counts.sum())
    return right, counted
