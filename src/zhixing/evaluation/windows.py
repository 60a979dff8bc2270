"""Documents cut into overlapping windows, so that a model with a short context can score a long text fairly.

Every id is counted exactly once. The first window of a document counts all its predictions; each later one
begins ``stride`` ids after the one before and counts only what is new, so every counted id beyond the first
window has at least ``context - stride`` ids before it. (Press, Smith and Lewis, "Shortformer", 2021, call
it sliding-window evaluation; a stride of the whole context is the cheap and pessimistic variant, a stride
of one id the dearest.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.language import tr
from zhixing.models.protocol import Ids, LanguageModel

_BATCHES_SORTED_AT_ONCE = 32
_LIMITED_BATCH_TOKENS = 4096
_UNLIMITED_BATCH_TOKENS = 131_072


@dataclass(frozen=True)
class WindowBatch:
    """Windows of similar length.

    ``ids`` (B, T) padded on the right, ``lengths`` (B,) real ids of each row, ``skip`` (B,) leading
    predictions of each row that an earlier window has counted, ``document`` (B,) the number of the document
    that the row comes from.
    """

    ids: Ids
    lengths: Ids
    skip: Ids
    document: Ids

    def counted(self) -> NDArray[np.bool_]:
        """Return (B, T - 1): True where the prediction of id ``t + 1`` counts."""
        steps = np.arange(self.ids.shape[1] - 1)
        return (steps >= self.skip[:, None]) & (steps < self.lengths[:, None] - 1)


def plan_windows(length: int, context: int, stride: int) -> list[tuple[int, int, int]]:
    """Return (start, end, skip) of each window over ``length`` ids.

    A window holds at most ``context + 1`` ids: ``context`` to read, and the last only predicted.
    """
    windows = [(0, min(length, context + 1), 0)]
    while (counted := windows[-1][1]) < length:
        start = windows[-1][0] + stride
        windows.append((start, min(length, start + context + 1), counted - start - 1))
    return windows


def window_batches(
    documents: Iterable[HeldOutDocument],
    model: LanguageModel,
    stride: float = 0.5,
    batch_tokens: int | None = None,
) -> Iterator[WindowBatch]:
    """Cut documents into windows that fit ``model`` and batch those of similar length.

    Args:
        documents: read once, a few batches ahead.
        model: only its ``context_length`` (and an n-gram's ``order``) is looked at.
        stride: of the windows, as a fraction of the context, in (0, 1].
        batch_tokens: padded ids in one batch; None: 4,096 for a model with a context, 131,072 for one
            without.

    Raises:
        DataError: ``stride`` is out of range.
    """
    context, step, limit = _geometry(model, stride, batch_tokens)
    pool: list[tuple[Ids, int, int]] = []
    held = 0
    for number, document in enumerate(documents):
        for start, end, skip in plan_windows(len(document.ids), context, step):
            if end - start >= 2:
                pool.append((document.ids[start:end], skip, number))
                held += end - start
        if held >= _BATCHES_SORTED_AT_ONCE * limit:
            yield from _sorted_batches(pool, limit)
            pool, held = [], 0
    yield from _sorted_batches(pool, limit)


def _geometry(model: LanguageModel, stride: float, batch_tokens: int | None) -> tuple[int, int, int]:
    """Return (context, stride, ids per batch), all in ids."""
    if not 0 < stride <= 1:
        raise DataError(
            tr(
                f"stride {stride} is not a fraction of the context: give a number above 0 and at most 1",
                f"步幅 {stride} 不是上下文的比例：请给出大于 0 且不大于 1 的数",
            )
        )
    context = model.context_length
    if context is not None:
        return context, max(1, round(stride * context)), batch_tokens or _LIMITED_BATCH_TOKENS
    limit = batch_tokens or _UNLIMITED_BATCH_TOKENS
    order = getattr(model, "order", None)
    if order is None:  # it may remember everything: the whole document at once
        return 2**62, 2**62, limit
    # An n-gram sees order - 1 ids back, so pieces that overlap by that many are exact and bound the memory.
    context = max(limit, 2 * int(order))
    return context, context - int(order) + 1, limit


def _sorted_batches(pool: list[tuple[Ids, int, int]], limit: int) -> Iterator[WindowBatch]:
    pool = sorted(pool, key=lambda window: -len(window[0]))  # longest first: memory peaks at once, not at the end
    start = 0
    while start < len(pool):
        rows = max(1, limit // len(pool[start][0]))
        yield _pad(pool[start : start + rows])
        start += rows


def _pad(windows: list[tuple[Ids, int, int]]) -> WindowBatch:
    lengths = np.array([len(ids) for ids, _, _ in windows], np.int64)
    padded = np.zeros((len(windows), int(lengths.max())), np.int64)
    for row, (ids, _, _) in enumerate(windows):
        padded[row, : len(ids)] = ids
    skip = np.array([skip for _, skip, _ in windows], np.int64)
    return WindowBatch(padded, lengths, skip, np.array([number for _, _, number in windows], np.int64))
