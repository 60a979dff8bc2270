"""Learning-rate schedules: factors in [0, 1] of the peak rate, functions of how much of the budget is spent.

A function of progress, not of steps, serves budgets of steps, tokens and wall-clock time alike.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.language import tr

Kind = Literal["constant", "linear", "cosine", "warmup-stable-decay"]


class ScheduleSettings(Settings):
    """How the learning rate rises and falls."""

    kind: Kind = setting("warmup-stable-decay", "shape after the warm-up", "预热之后的形状")
    warmup: float = setting(0.02, "share of the budget spent rising from 0", "从零升起所占的预算比例", ge=0, lt=1)
    decay: float = setting(
        0.5,
        "share of the budget spent falling (warmup-stable-decay)",
        "下降所占的预算比例（warmup-stable-decay）",
        ge=0,
        le=1,
    )
    final: float = setting(0.0, "factor reached at the end", "结束时的系数", ge=0, le=1)

    @model_validator(mode="after")
    def _shares_fit(self) -> ScheduleSettings:
        if self.kind == "warmup-stable-decay" and self.warmup + self.decay > 1:
            raise ValueError(tr("warmup and decay together are more than the budget", "warmup 与 decay 之和超过预算"))
        return self


def factor(settings: ScheduleSettings, progress: float) -> float:
    """Return the factor at ``progress`` (0 at the start, 1 when the budget is spent)."""
    progress = min(max(progress, 0.0), 1.0)
    if progress < settings.warmup:
        return progress / settings.warmup
    after = (progress - settings.warmup) / (1 - settings.warmup)
    return settings.final + (1 - settings.final) * _SHAPES[settings.kind](progress, after, settings.decay)


def _constant(_progress: float, _after: float, _decay: float) -> float:
    return 1.0


def _linear(_progress: float, after: float, _decay: float) -> float:
    return 1 - after


def _cosine(_progress: float, after: float, _decay: float) -> float:
    """Loshchilov & Hutter 2017, equation 5, one cycle."""
    return (1 + math.cos(math.pi * after)) / 2


def _warmup_stable_decay(progress: float, _after: float, decay: float) -> float:
    """Hu et al. 2024 (MiniCPM), section 4: flat, then a linear fall over the last ``decay`` of the budget."""
    return 1.0 if decay == 0 or progress <= 1 - decay else (1 - progress) / decay


_SHAPES = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "warmup-stable-decay": _warmup_stable_decay,
}
