"""Learning-rate schedules against ``zhixing.training.schedules`` (plain Python)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zhixing.agreement.row import Row, draw
from zhixing.theory import schedules as theory
from zhixing.training import schedules as practice

WARMUP, DECAY, FLOOR = 0.1, 0.3, 0.2


def _row(kind: practice.Kind, states: tuple[Callable[..., float], ...], formula: Callable[[float], float]) -> Row:
    settings = practice.ScheduleSettings(kind=kind, warmup=WARMUP, decay=DECAY, final=FLOOR)
    return Row(
        name=f"schedules.{kind}",
        family="schedules",
        states=states,
        theory=lambda progress: [formula(p) for p in progress.tolist()],
        practice=lambda progress: [practice.factor(settings, p) for p in progress.tolist()],
        inputs=draw(progress=_progress),
        tolerance=4.0,
        reason="a few roundings",
        takes="arrays",
    )


def _progress(rng: Any) -> Any:
    drawn = rng.random(40)
    drawn[:4] = 0.0, WARMUP, 1.0 - DECAY, 1.0  # the corners
    return drawn


ROWS: tuple[Row, ...] = (
    _row("constant", (theory.constant, theory.warmup_factor), lambda p: theory.constant(p, WARMUP)),
    _row("linear", (theory.linear,), lambda p: theory.linear(p, WARMUP, FLOOR)),
    _row("cosine", (theory.cosine,), lambda p: theory.cosine(p, WARMUP, FLOOR)),
    _row(
        "warmup-stable-decay",
        (theory.warmup_stable_decay,),
        lambda p: theory.warmup_stable_decay(p, WARMUP, DECAY, FLOOR),
    ),
)
