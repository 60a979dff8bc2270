"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return the processors that the system grants this process; all of the machine where it does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
