"""A GPT over the characters of one text, ten minutes on this machine: how low does the held-out loss come?

    python benchmarks/character_gpt.py TEXT [--minutes 10] [--recipe FILE] [--set a.b=c] [--out DIR]

The first nine tenths of the text are learned from, the last tenth is held out, as is the custom for Tiny Shakespeare,
where a published recipe for a CPU (four layers of width 128, context 64, 2,000 steps) reaches 1.88 nats per character.
The curve is that of a sample of held-out windows while training; the figure at the end is of the whole held-out text,
each character predicted from at least half a context. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
from datetime import date
from pathlib import Path

from zhixing.evaluation.run import evaluate
from zhixing.pretraining.run import train
from zhixing.training.metrics import read_metrics

RECIPE = Path(__file__).parents[1] / "recipes" / "character-gpt.yaml"


def split(text: Path, folder: Path) -> tuple[Path, Path]:
    """Write the first nine tenths and the last tenth of the characters as two files."""
    whole = text.read_text("utf-8")
    cut = len(whole) * 9 // 10
    parts = folder / "train.txt", folder / "held-out.txt"
    for path, part in zip(parts, (whole[:cut], whole[cut:]), strict=True):
        path.write_text(part, encoding="utf-8")
    return parts


def nats_per_character(folder: Path, held_out: Path) -> float:
    """Return the loss over the whole held-out text; a rare character may be more than one id of the tokenizer."""
    report = evaluate([folder], data=folder / "shards", yardsticks=())
    (bits,) = report.bits_per_byte.values()
    text = held_out.read_text("utf-8")
    return bits * math.log(2) * len(text.encode()) / len(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as beside:
        folder = arguments.out or Path(beside) / "run"
        learned, held_out = split(arguments.text, Path(beside))
        overrides = [f"text.paths=['{learned}']", f"text.validation_paths=['{held_out}']"]
        overrides += [f"training.minutes={arguments.minutes}", *arguments.changes]
        facts = train(arguments.recipe, folder, overrides=overrides).facts
        looks = [record for record in read_metrics(folder) if "validation_loss" in record]
        curve = [(round(record["seconds"]), round(float(record["validation_loss"]), 4)) for record in looks]
        for seconds, loss in curve:
            print(f"{seconds:5d} s  {loss:.4f}  {'▇' * round(20 * loss)}", flush=True)
        found = {
            "benchmark": "character-gpt", "text": arguments.text.parent.name, "minutes": arguments.minutes,
            "nats_per_character": round(nats_per_character(folder, held_out), 4), "curve": curve,
            "tokens_seen": facts["tokens_seen"], "parameters": facts["parameters"], "changes": arguments.changes,
            "machine": platform.machine(), "date": str(date.today()),
        }  # fmt: skip
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
