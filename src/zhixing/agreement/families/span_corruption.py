"""Gaps in a text against ``zhixing.pretraining.span_corruption``."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Inputs, Row, draw
from zhixing.pretraining import span_corruption as practice
from zhixing.theory import sequence_to_sequence as theory

SENTINELS = np.arange(1000, 1020)
EXACT = "whole numbers: nothing is rounded"


def _parts(rng: np.random.Generator) -> Inputs:
    """A text cut at random into parts to keep and to drop."""
    kept, dropped = rng.integers(1, 9, (2, int(rng.integers(1, 8))))
    return {"ids": rng.integers(0, 500, int(kept.sum() + dropped.sum())), "kept": kept, "dropped": dropped}


def _noise(kept: Any, dropped: Any) -> Any:
    return np.repeat(np.tile([False, True], len(kept)), np.stack([kept, dropped], axis=1).flatten())


def _corrupt(ids: Any, kept: Any, dropped: Any) -> list[Any]:
    return list(practice.corrupt(ids, _noise(kept, dropped), SENTINELS))


def _fill(ids: Any, kept: Any, dropped: Any) -> Any:
    return theory.fill_spans(*practice.corrupt(ids, _noise(kept, dropped), SENTINELS), SENTINELS)


ROWS: tuple[Row, ...] = (
    Row(
        name="sequence_to_sequence.span_counts",
        family="sequence_to_sequence",
        states=(theory.span_counts,),
        theory=lambda tokens, share, span: np.array(theory.span_counts(tokens, share, span)),
        practice=lambda tokens, share, span: np.array(practice.SpanSettings(share=share, span=span).counts(tokens)),
        inputs=draw(
            tokens=lambda rng: int(rng.integers(2, 600)),
            share=lambda rng: float(rng.uniform(0.05, 0.9)),
            span=lambda rng: float(rng.uniform(1, 9)),
        ),
        tolerance=0.0,
        reason=EXACT,
        takes="arrays",
    ),
    Row(
        name="sequence_to_sequence.corrupt_spans",
        family="sequence_to_sequence",
        states=(theory.corrupt_spans,),
        theory=lambda ids, kept, dropped: list(theory.corrupt_spans(ids, kept, dropped, SENTINELS)),
        practice=_corrupt,
        inputs=_parts,
        tolerance=0.0,
        reason=EXACT,
        takes="arrays",
    ),
    Row(
        name="sequence_to_sequence.fill_spans",
        family="sequence_to_sequence",
        states=(theory.fill_spans,),
        theory=lambda ids, kept, dropped: ids,
        practice=_fill,
        inputs=_parts,
        tolerance=0.0,
        reason=EXACT,
        takes="arrays",
    ),
)
