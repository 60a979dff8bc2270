"""Resident memory of training on a small and on a large folder of text.

    python benchmarks/memory.py [--large-mb 2000]

Each run is a process of its own: ``zhixing train`` with the tiny byte-level recipe, text to model. Reports the peak
resident memory of both and their ratio. The text is the Python standard library's source, repeated with numbered
headings so that no two documents are equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPE = Path(__file__).parent.parent / "recipes" / "tiny-gpt.yaml"


def write_text(folder: Path, megabytes: int) -> None:
    """Write files of about 1 MB each until there are ``megabytes`` of them."""
    import sysconfig

    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    folder.mkdir()
    block = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sources)[:1_000_000]
    for number in range(megabytes):
        (folder / f"{number:05d}.txt").write_text(f"volume {number}\n{block}", encoding="utf-8")


def peak_mib(text: Path, out: Path) -> float:
    """Train on ``text`` in a child process and return its peak resident memory."""
    probe = (
        "import resource, sys; from zhixing.pretraining.run import train;"
        "train(sys.argv[1], sys.argv[2], overrides=sys.argv[3:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    changes = [f"text.paths=[{text}]", "tokenizer.kind=bpe", "tokenizer.vocab_size=1024", "training.steps=200"]
    changes += ["tokenizer.sample_bytes=10000000", "text.validation_fraction=0.05"]
    done = subprocess.run(
        [sys.executable, "-c", probe, str(RECIPE), str(out), *changes], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small-mb", type=int, default=20)
    parser.add_argument("--large-mb", type=int, default=2000)
    arguments = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as scratch:
        for megabytes in (arguments.small_mb, arguments.large_mb):
            text = Path(scratch) / f"text-{megabytes}"
            write_text(text, megabytes)
            peaks[megabytes] = peak_mib(text, Path(scratch) / f"run-{megabytes}")
            print(
                json.dumps({"benchmark": "memory", "text_mb": megabytes, "peak_mib": round(peaks[megabytes])}),
                flush=True,
            )
    ratio = peaks[arguments.large_mb] / peaks[arguments.small_mb]
    print(json.dumps({"benchmark": "memory", "ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
