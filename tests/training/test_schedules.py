"""Schedules: their corners, their agreement with the theory, and what does not fit together."""

import pytest

from zhixing.theory import schedules as theory
from zhixing.training.schedules import ScheduleSettings, factor

KINDS = ("constant", "linear", "cosine", "warmup-stable-decay")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("constant", (0.0, 0.5, 1.0, 1.0, 1.0)),
        ("linear", (0.0, 0.5, 1.0, 0.55, 0.1)),
        ("cosine", (0.0, 0.5, 1.0, 0.55, 0.1)),
        ("warmup-stable-decay", (0.0, 0.5, 1.0, 1.0, 0.1)),
    ],
)
def test_corners(kind: str, values: tuple[float, ...]) -> None:
    settings = ScheduleSettings(kind=kind, warmup=0.2, decay=0.4, final=0.1)
    assert [factor(settings, p) for p in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx(values)


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_the_theory(kind: str) -> None:
    settings = ScheduleSettings(kind=kind, warmup=0.13, decay=0.37, final=0.05)
    for step in range(101):
        p = step / 100
        expected = {
            "constant": theory.constant(p, 0.13),
            "linear": theory.linear(p, 0.13, 0.05),
            "cosine": theory.cosine(p, 0.13, 0.05),
            "warmup-stable-decay": theory.warmup_stable_decay(p, 0.13, 0.37, 0.05),
        }
        assert factor(settings, p) == pytest.approx(expected[kind], abs=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_never_leaves_its_range(kind: str) -> None:
    settings = ScheduleSettings(kind=kind, warmup=0.0, decay=0.0 if kind == "warmup-stable-decay" else 0.5)
    for progress in (-1.0, 0.0, 0.5, 1.0, 7.0):
        assert 0 <= factor(settings, progress) <= 1
    assert factor(settings, 0.0) == 1  # no warm-up: the full rate at once


def test_a_constant_rate_ignores_the_final_factor() -> None:
    assert factor(ScheduleSettings(kind="constant", warmup=0.0, final=0.3), 1.0) == 1


def test_warmup_and_decay_must_fit_in_the_budget() -> None:
    assert factor(ScheduleSettings(warmup=0.5, decay=0.5), 0.5) == 1
    with pytest.raises(ValueError, match="more than the budget"):
        ScheduleSettings(warmup=0.6, decay=0.5)
    assert ScheduleSettings(kind="linear", warmup=0.6, decay=0.5).warmup == 0.6
