"""Start-up time and size of the core installation.

    python benchmarks/startup.py

Start-up: medians of fresh processes. Size: distributions that ``zhixing`` itself (no extras) needs, torch apart.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 9


def seconds(command: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return round(statistics.median(times), 3)


def needed(name: str, found: dict[str, metadata.Distribution]) -> None:
    """Collect ``name`` and what it needs here, extras left out; torch and what only torch needs are left out."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found or key == "torch":
        return
    found[key] = metadata.distribution(name)
    for requirement in found[key].requires or []:
        if "extra" in requirement.partition(";")[2]:
            continue
        from packaging.requirements import Requirement

        parsed = Requirement(requirement)
        if parsed.marker is None or parsed.marker.evaluate({"extra": ""}):
            needed(parsed.name, found)


def megabytes(distribution: metadata.Distribution) -> float:
    files = distribution.files or []
    return sum(Path(str(f.locate())).stat().st_size for f in files if Path(str(f.locate())).is_file()) / 1e6


def main() -> None:
    program = str(Path(sys.executable).parent / "zhixing")
    for name, command in {
        "bare python": [sys.executable, "-c", "pass"],
        "import zhixing": [sys.executable, "-c", "import zhixing"],
        "zhixing --help": [program, "--help"],
        "zhixing train --help": [program, "train", "--help"],
        "import torch": [sys.executable, "-c", "import torch"],
    }.items():
        print(json.dumps({"benchmark": "start-up", "what": name, "seconds": seconds(command)}), flush=True)
    found: dict[str, metadata.Distribution] = {}
    needed("zhixing", found)
    sizes = {name: megabytes(distribution) for name, distribution in found.items()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:5]
    print(
        json.dumps(
            {
                "benchmark": "core install without torch", "distributions": len(found),
                "unpacked_mb": round(sum(sizes.values()), 1),
                "largest": {name: round(sizes[name], 1) for name in largest},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
