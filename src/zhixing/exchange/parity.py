"""The parity report: does the other program compute what the model computes?

Three questions, each with a bound beyond which an exchange fails: the largest difference of a score (logit, or
log-probability), at many lengths, alone and padded in a batch; whether both would write the same next token; and how
much the perplexity of a held-out text changes. Logits grow with training and rounding grows with them, so the bound of
a logit is a share of the largest one, and never less than that share of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.language import tr
from zhixing.models.protocol import Ids

Scores = NDArray[np.float32]
Reader = Callable[[Ids, Ids], Scores]
"""(B, T) right-padded ids and (B,) lengths to (B, T, V) scores; what stands at padding does not matter."""


@dataclass(frozen=True)
class Bounds:
    """Beyond which an exchange fails.

    Attributes:
        scores: of the largest score (at least 1): difference of a score.
        agreement: share of greedy tokens that must be equal.
        perplexity: relative change.
    """

    scores: float = 1e-5
    agreement: float = 0.99
    perplexity: float = 1e-4


FLOAT16 = Bounds(scores=1e-2, agreement=0.9, perplexity=1e-2)
"""Where weights are rounded to 11 bits."""


@dataclass(frozen=True)
class Measure:
    """One figure of the report.

    Attributes:
        name: key in JSON.
        label: in the reader's language.
        value: None: not measured.
        bound: what the value may be at most, or at least where ``at_least``; None: for the record only.
        note: where the largest difference stands, or of how many.
    """

    name: str
    label: str
    value: float | None
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the value keeps the bound; NaN does not."""
        if self.bound is None or self.value is None:
            return self.bound is None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(frozen=True)
class Parity:
    """What was compared with what, and what came out.

    Attributes:
        checked_with: the other program and its version; None: nothing was compared.
        measures: the figures.
        notes: sentences on what the figures do not cover, above all why nothing was compared.
    """

    checked_with: str | None
    measures: tuple[Measure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool | None:
        """Whether every bound is kept; None: nothing was compared."""
        return None if self.checked_with is None else all(measure.ok for measure in self.measures)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; what is not finite becomes null."""
        measures = {
            one.name: {
                "value": one.value if one.value is not None and math.isfinite(one.value) else None,
                "bound": one.bound,
                "ok": one.ok,
                "note": one.note,
            }
            for one in self.measures
        }
        return {"ok": self.ok, "checked_with": self.checked_with, "measures": measures, "notes": list(self.notes)}

    def failures(self) -> str:
        """Return the figures beyond their bounds, in words."""
        return ", ".join(
            f"{one.label} {_shown(one.value)} {'<' if one.at_least else '>'} {_shown(one.bound)}"
            + (f" ({one.note})" if one.note else "")
            for one in self.measures
            if not one.ok
        )

    def render(self) -> str:
        """Return the report as a small table."""
        if self.checked_with is None:
            return "\n".join([tr("Not checked.", "未核对。"), *self.notes])
        head = [tr("measure", "指标"), tr("value", "数值"), tr("bound", "界限"), "", ""]
        rows = [
            [
                one.label,
                _shown(one.value),
                "" if one.bound is None else ("≥ " if one.at_least else "≤ ") + _shown(one.bound),
                "" if one.bound is None else "✓" if one.ok else "✗",
                one.note,
            ]
            for one in self.measures
        ]
        widths = [max(map(_cells, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(cell + " " * (width - _cells(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [head, *rows]
        ]
        title = tr(f"Checked with {self.checked_with}", f"已用 {self.checked_with} 核对")
        return "\n".join([title, "", *lines, *(["", *self.notes] if self.notes else [])])


def compare_readers(ours: Reader, theirs: Reader, rows: Sequence[Ids], bounds: Bounds) -> list[Measure]:
    """Return the largest difference of a score over texts of many lengths, alone and padded in one batch.

    Args:
        ours: the model.
        theirs: the other program.
        rows: texts of ids, of different lengths.
        bounds: what is allowed.
    """
    worst, where, largest = 0.0, "", 0.0
    expected = [ours(*padded([row]))[0] for row in rows]
    for number, row in enumerate(rows):
        found = theirs(*padded([row]))[0]
        finite = expected[number][np.isfinite(expected[number])]
        largest = max(largest, float(np.abs(finite).max(initial=0.0)))
        worst, where = _worse(worst, where, expected[number], found, tr(f"text {number + 1}", f"文本 {number + 1}"))
    for number, (row, found) in enumerate(zip(rows, theirs(*padded(rows)), strict=True)):
        name = tr(f"text {number + 1}, padded in a batch", f"文本 {number + 1}，批内填充")
        worst, where = _worse(worst, where, expected[number], found[: len(row)], name)
    label = tr("largest difference of a logit", "logit 的最大差")
    return [
        Measure("logit_difference", label, worst, bounds.scores * max(1.0, largest), note=where),
        Measure("largest_logit", tr("largest logit", "最大的 logit"), largest),
    ]


def _worse(worst: float, where: str, expected: Scores, found: Scores, name: str) -> tuple[float, str]:
    """Return the larger of ``worst`` and the largest difference of (T, V) scores, and where it stands."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    difference[np.isnan(difference)] = np.inf
    difference[expected == found] = 0.0  # both minus infinity
    place = int(difference.max(axis=1).argmax())
    if (largest := float(difference[place].max())) <= worst:
        return worst, where
    token = int(difference[place].argmax())
    return largest, tr(f"{name}, place {place + 1}, id {token}", f"{name}，位置 {place + 1}，编号 {token}")


def agreement(ours: Sequence[Ids], theirs: Sequence[Ids], bounds: Bounds) -> Measure:
    """Return the share of equal greedy tokens."""
    total = sum(len(row) for row in ours)
    equal = sum(int((a == b).sum()) for a, b in zip(ours, theirs, strict=True))
    return Measure(
        "greedy_agreement",
        tr("greedy tokens that agree", "贪心词元一致率"),
        equal / max(total, 1),
        bounds.agreement,
        at_least=True,
        note=tr(f"{equal} of {total}", f"{total} 个中 {equal} 个"),
    )


def choices(scores: Scores, ours: Ids, bounds: Bounds) -> Ids:
    """Return what (N, V) scores find most likely, (N,): our choice where it is as good as theirs but for rounding."""
    best = scores.max(axis=1)
    slack = bounds.scores * np.maximum(1.0, np.abs(best))
    tied = scores[np.arange(len(ours)), ours] >= best - slack
    return np.where(tied, ours, scores.argmax(axis=1))


def perplexity_change(ours: float, theirs: float, tokens: int, bounds: Bounds) -> list[Measure]:
    """Return both perplexities, from nats per token, and their relative change."""
    before, after = math.exp(min(ours, 700)), math.exp(min(theirs, 700))
    note = tr(f"{tokens} tokens", f"{tokens} 个词元")
    return [
        Measure("perplexity", tr("perplexity here", "此处的困惑度"), before, note=note),
        Measure("perplexity_there", tr("perplexity there", "对方的困惑度"), after),
        Measure(
            "perplexity_change",
            tr("relative change of perplexity", "困惑度的相对变化"),
            abs(after / before - 1),
            bounds.perplexity,
        ),
    ]


def padded(rows: Sequence[Ids], filler: int = 0) -> tuple[Ids, Ids]:
    """Return texts as one right-padded (B, T) array, and their (B,) lengths."""
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.full((len(rows), int(lengths.max())), filler, np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
    return ids, lengths


def _shown(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.2e}" if value and (abs(value) < 1e-2 or abs(value) >= 1e5) else f"{value:.4g}"


def _cells(text: str) -> int:
    """Columns of a terminal: a Han character takes two."""
    return sum(2 if ord(character) >= 0x2E80 else 1 for character in text)
