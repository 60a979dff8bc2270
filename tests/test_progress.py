"""Progress off a terminal: a plain line now and then, with share, rate and time left."""

import logging

import pytest

from zhixing import progress as module
from zhixing.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, logger="zhixing"),
        progress("reading", total=1000, unit="bytes") as bar,
    ):
        for _ in range(30):
            clock[0] += 1
            bar.note(f"at {clock[0]:.0f}")
            bar.advance(10)
    assert caplog.messages == [
        "reading 10 %  10 bytes/s, left 90 s  at 110",
        "reading 20 %  10 bytes/s, left 80 s  at 120",
        "reading 30 %  10 bytes/s, left 70 s  at 130",
    ]


def test_what_was_done_before_does_not_count_in_the_rate(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zhixing"), progress("training", 100, "%", done=80) as bar:
        clock[0] += 10
        bar.advance(10)
    assert caplog.messages == ["training 90 %  1 %/s, left 10 s  "]


def test_an_unknown_total(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zhixing"), progress("counting", unit="rows") as bar:
        clock[0] += 10
        bar.advance(25_000)
    assert caplog.messages == ["counting 25,000  2,500 rows/s  "]


def test_on_a_terminal_it_draws_and_cleans_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("training", 100, "%", done=40.5) as bar:
        bar.note("loss 3.1")
        bar.advance(20)
    shown = capsys.readouterr()
    assert "training" in shown.err
    assert shown.out == ""
