"""Training side by side: this project, Hugging Face Trainer, LitGPT; same shape, same ids, interleaved rounds.

    python benchmarks/train.py [--rounds 3] [--steps 12] [--learn-seconds 120]

Each contender runs as a process of its own; within a round all run one after the other, between two readings of the
machine's matrix-multiply rate; ratios are taken within a round and their medians reported. One JSON line per result.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
MATMUL = """
import sys, time, torch
torch.set_num_threads(int(sys.argv[1]))
a = torch.randn(1024, 1024); best = []
for _ in range(12):
    s = time.perf_counter(); a @ a; a @ a; best.append(4 * 1024**3 / (time.perf_counter() - s))
print(sorted(best)[len(best) // 2])
"""
SETTINGS = {
    "bytes": {"vocab": 261, "batch": 12, "dropout": 0.0, "contenders": ["ours", "trainer", "litgpt"]},
    "8k": {"vocab": 8192, "batch": 4, "dropout": 0.0, "contenders": ["ours", "trainer", "litgpt"]},
    "dropout": {"vocab": 261, "batch": 4, "dropout": 0.2, "contenders": ["ours", "trainer"]},
}


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as scratch:
        for name in filter(None, arguments.settings.split(",")):
            setting = SETTINGS[name]
            ids = write_ids(Path(scratch) / name, setting["vocab"])
            rounds = [speed_round(setting, ids, arguments) for _ in range(arguments.rounds)]
            report_speed(name, setting, rounds)
        if arguments.learn_seconds:
            ids = write_ids(Path(scratch) / "learn", 2048)
            report_learning(ids, arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", default=",".join(SETTINGS))
    parser.add_argument("--learn-seconds", type=float, default=120.0)
    parser.add_argument("--compile", default="no", choices=["no", "yes"], help="of ours; the peers' default is no")
    return parser.parse_args()


def write_ids(folder: Path, vocab: int) -> Path:
    """Tokenize the Python standard library: bytes, or BPE of the given size."""
    from zhixing.corpus.document import is_validation, split_point
    from zhixing.corpus.reader import documents
    from zhixing.corpus.settings import TextSettings
    from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

    texts = TextSettings()
    kind = "byte" if vocab == 261 else "bpe"
    settings = TokenizerSettings(kind=kind, vocab_size=vocab, sample_bytes=4_000_000)
    tokenizer = train_tokenizer(settings, (d.text for d in documents(texts, announce=False)))
    point = split_point(0.05)
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": []}
    for document in documents(texts, announce=False):
        side = "validation" if is_validation(document, point) else "train"
        parts[side].append(np.array([tokenizer.separator_id, *tokenizer.encode(document.text)], np.uint16))
    folder.mkdir()
    for side, arrays in parts.items():
        np.save(folder / f"{side}.npy", np.concatenate(arrays))
    return folder


def call(contender: str, ids: Path, arguments: argparse.Namespace, **job: Any) -> dict[str, Any]:
    job = {
        "contender": contender, "ids": str(ids), "threads": arguments.threads, "context": 256, "steps": arguments.steps,
        "compile": arguments.compile, "seconds": 0.0, "planned": 0, **job,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "train_contenders.py"), json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{contender}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def matmul_rate(threads: int) -> float:
    done = subprocess.run([sys.executable, "-c", MATMUL, str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def speed_round(setting: dict[str, Any], ids: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every contender once; the ceiling is the mean of the readings before and after each."""
    job = {"task": "speed", "vocab": setting["vocab"], "batch": setting["batch"], "dropout": setting["dropout"]}
    found: dict[str, Any] = {}
    ceiling = matmul_rate(arguments.threads)
    for contender in setting["contenders"]:
        found[contender] = call(contender, ids, arguments, **job)
        after = matmul_rate(arguments.threads)
        found[contender]["ceiling"] = (ceiling + after) / 2
        ceiling = after
    return found


def report_speed(name: str, setting: dict[str, Any], rounds: list[dict[str, Any]]) -> None:
    for contender in setting["contenders"]:
        rates = [r[contender]["tokens_per_second"] for r in rounds]
        flops = rounds[0]["ours"]["flops_per_token"]
        line = {
            "benchmark": "train-speed", "setting": name, "contender": contender,
            "tokens_per_second": round(statistics.median(rates)), "parameters": rounds[0][contender]["parameters"],
            "peak_resident_mib": rounds[0][contender]["peak_resident_mib"],
        }  # fmt: skip
        if contender == "ours":
            fractions = [r["ours"]["tokens_per_second"] * flops / r["ours"]["ceiling"] for r in rounds]
            line["matmul_fraction"] = round(statistics.median(fractions), 3)
        else:
            ratios = [r["ours"]["tokens_per_second"] / r[contender]["tokens_per_second"] for r in rounds]
            line["ours_faster_by"] = round(statistics.median(ratios), 3)
            line["ratios"] = [round(ratio, 3) for ratio in ratios]
        emit(line)


def report_learning(ids: Path, arguments: argparse.Namespace) -> None:
    """The same wall-clock budget for each; the peers' schedules need a step count, so their speed is read first."""
    job = {"vocab": 2048, "batch": 8, "dropout": 0.0}
    for contender in ("ours", "trainer", "litgpt"):
        planned = 0
        if contender != "ours":
            speed = call(contender, ids, arguments, task="speed", **job)["tokens_per_second"]
            planned = round(arguments.learn_seconds * speed / (8 * 256))
        result = call(contender, ids, arguments, task="learn", seconds=arguments.learn_seconds, planned=planned, **job)
        emit({"benchmark": "train-learning", "contender": contender, "seconds": arguments.learn_seconds, **result})


def emit(line: dict[str, Any]) -> None:
    facts = {"machine": platform.processor() or platform.machine(), "date": time.strftime("%Y-%m-%d")}
    print(json.dumps(line | facts), flush=True)


if __name__ == "__main__":
    main()
