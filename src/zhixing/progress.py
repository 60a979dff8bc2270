"""Progress of long work, on standard error: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from zhixing.language import tr

_SECONDS_BETWEEN_LINES = 10.0
_log = logging.getLogger(__name__)


class Bar(Protocol):
    """What the worker sees of a progress display."""

    def advance(self, amount: float = 1) -> None:
        """Move forward by ``amount`` units."""

    def note(self, text: str) -> None:
        """Show a few words beside the bar (loss, file name)."""


@contextmanager
def progress(label: str, total: float | None = None, unit: str = "", done: float = 0.0) -> Iterator[Bar]:
    """Show how far work has come: rate and time left, in ``unit``s; ``total`` None if unknown.

    ``done``: what an earlier process has done already; it does not count in the rate.
    """
    if not sys.stderr.isatty():
        yield _Lines(label, total, unit, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%" if total else "{task.completed:,.0f}"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(label, total=total, completed=int(done), note="", rate="")
        yield _Live(display, task, unit)


class _Live:
    def __init__(self, display: Any, task: Any, unit: str) -> None:
        self._display, self._task, self._unit = display, task, unit
        self._start, self._done = time.monotonic(), 0.0

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        self._display.update(self._task, advance=amount, rate=_rate(rate, self._unit))

    def note(self, text: str) -> None:
        self._display.update(self._task, note=text)


class _Lines:
    def __init__(self, label: str, total: float | None, unit: str, before: float) -> None:
        self._label, self._total, self._unit, self._before = label, total, unit, before
        self._start = self._last = time.monotonic()
        self._done, self._note = 0.0, ""

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = self._done / (now - self._start)
        reached = self._before + self._done
        left = f", {tr('left', '剩余')} {(self._total - reached) / rate:.0f} s" if self._total and rate else ""
        share = f" {100 * reached / self._total:.0f} %" if self._total else f" {reached:,.0f}"
        _log.info("%s%s  %s%s  %s", self._label, share, _rate(rate, self._unit), left, self._note)

    def note(self, text: str) -> None:
        self._note = text


def _rate(rate: float, unit: str) -> str:
    return f"{rate:,.3g} {unit}/s" if rate < 1000 else f"{rate:,.0f} {unit}/s"
