"""What it costs to have a model write: memory, latency, tokens/s, measured in a process that does nothing else.

``python -m zhixing.comparison.probe`` reads an order as JSON from standard input and prints its findings as JSON. A
fresh process is the only honest scale for memory: it holds the one model and the libraries that this one needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from zhixing.errors import ZhixingError
from zhixing.language import tr

_SECONDS = 900


@dataclass(frozen=True)
class Spent:
    """What writing costs.

    Attributes:
        tokens_per_second: of all rows together, several texts at once.
        milliseconds_per_token: one text alone.
        megabytes: resident memory, 10**6 bytes.
        megabytes_of: ``process``: the peak of a fresh process; ``files``: the weights' size on the disk, where the
            system does not tell.
    """

    tokens_per_second: float
    milliseconds_per_token: float
    megabytes: float
    megabytes_of: Literal["process", "files"]


def spent_in_writing(folder: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> Spent:
    """Start a process that opens ``folder`` and continues each prompt (ids) by ``new_tokens``.

    Raises:
        ZhixingError: the process failed; what it said last is in the message.
    """
    order = {"folder": str(folder), "prompts": [list(map(int, p)) for p in prompts], "new_tokens": new_tokens}
    command = [sys.executable, "-m", "zhixing.comparison.probe"]
    try:
        done = subprocess.run(
            command, input=json.dumps(order), capture_output=True, encoding="utf-8", timeout=_SECONDS, check=False
        )
        if done.returncode == 0:
            return Spent(**json.loads(done.stdout.splitlines()[-1]))
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        said = tr(f"it took more than {_SECONDS} s", f"用时超过 {_SECONDS} 秒")
    raise ZhixingError(tr(f"writing with the model failed: {said}", f"用模型写作失败：{said}"))


def measure(folder: Path, prompts: Sequence[Sequence[int]], new_tokens: int) -> Spent:
    """Open the model here and have it write: a few words to warm up, all prompts at once, the first one alone."""
    from zhixing.generation.generate import generate
    from zhixing.generation.settings import GenerationSettings
    from zhixing.models.load import load

    opened = load(folder)

    def seconds(chosen: Sequence[Any], tokens: int) -> float:
        settings = GenerationSettings(max_new_tokens=tokens, stop_at_separator=False, seed=0)
        begin = time.perf_counter()
        generate(opened.model, opened.tokenizer, chosen, settings)
        return time.perf_counter() - begin

    seconds(prompts, 2)
    together = len(prompts) * new_tokens / seconds(prompts, new_tokens)
    alone = 1000 * min(seconds(prompts[:1], new_tokens) for _ in range(3)) / new_tokens
    peak = peak_bytes()
    held = peak if peak is not None else sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    return Spent(together, alone, held / 1e6, "files" if peak is None else "process")


def peak_bytes() -> int | None:
    """Return the most memory this process has held, None where the system does not tell.

    Not ``getrusage`` on Linux: it counts the parent's memory of the moment of the fork as well.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    found = measure(Path(wanted["folder"]), wanted["prompts"], wanted["new_tokens"])
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
