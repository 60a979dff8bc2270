from __future__ import annotations

import itertools

import pytest

from zhixing.theory import schedules

ALL = [
    lambda p: schedules.constant(p, 0.1),
    lambda p: schedules.linear(p, 0.1, 0.2),
    lambda p: schedules.cosine(p, 0.1, 0.2),
    lambda p: schedules.warmup_stable_decay(p, 0.1, 0.3, 0.2),
]


@pytest.mark.parametrize("schedule", ALL)
def test_warm_up_from_zero_to_one_then_never_rising(schedule):
    values = [schedule(p / 1000) for p in range(1001)]
    assert values[0] == 0.0
    assert values[50] == pytest.approx(0.5)
    assert values[100] == pytest.approx(1.0)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values[100:]))
    assert max(abs(b - a) for a, b in itertools.pairwise(values)) < 0.011  # no jump


@pytest.mark.parametrize("schedule", ALL[1:])
def test_the_end_is_the_floor(schedule):
    assert schedule(1.0) == pytest.approx(0.2)


def test_stable_means_stable():
    assert {schedules.warmup_stable_decay(p / 100, 0.1, 0.3) for p in range(10, 70)} == {1.0}


def test_halfway_down_cosine_and_linear_meet():
    assert schedules.cosine(0.55, 0.1, 0.2) == pytest.approx(schedules.linear(0.55, 0.1, 0.2))
