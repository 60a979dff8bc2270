"""Our n-gram model beside KenLM's on words and a closed vocabulary, English and Chinese: is the perplexity the same?

    python benchmarks/ngram_words.py --lmplz PATH --text NAME=FILE_OR_FOLDER [--text …] [--order 5]

A file of plain text is read line by line, a folder of ``*.json`` as lists of objects with ``paragraphs``; a line is a
sentence. Latin words and single Chinese characters are the words, punctuation marks words of their own. The vocabulary
is closed: every word of the whole text is known. The last tenth of the sentences is the test. One JSON line per text.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from ngram import SEPARATOR, Docs, lmplz, stream

from zhixing.models.ngram import NgramModel

WORD = re.compile(r"[^\W\d_\u2e80-\uffff]+(?:'[^\W\d_\u2e80-\uffff]+)*|\d+|\S")


def sentences(path: Path) -> list[list[str]]:
    if path.is_dir():
        poems = (poem for file in sorted(path.rglob("*.json")) for poem in json.loads(file.read_text("utf-8")))
        lines = [line for poem in poems for line in poem["paragraphs"]]
    else:
        lines = path.read_text("utf-8").splitlines()
    return [words for line in lines if (words := WORD.findall(line))]


def number(found: list[list[str]]) -> tuple[Docs, int]:
    """Return the sentences as ids from 1 (0 ends a sentence), and how many ids there are."""
    ids: dict[str, int] = {}
    return [[ids.setdefault(word, len(ids) + 1) for word in words] for words in found], len(ids) + 1


def compare(name: str, path: Path, order: int, program: str, folder: Path) -> dict[str, object]:
    import kenlm

    documents, size = number(sentences(path))
    cut = len(documents) * 9 // 10
    train, test = documents[:cut], documents[cut:]
    text, arpa = folder / "train.txt", folder / "model.arpa"
    text.write_text("\n".join(" ".join(f"t{i}" for i in ids) for ids in train) + "\n", encoding="utf-8")
    lmplz(program, order, text, arpa, size, "1G")
    oracle = kenlm.Model(str(arpa))
    theirs = [score for ids in test for score, _, _ in oracle.full_scores(" ".join(f"t{i}" for i in ids))]
    model = NgramModel.fit(stream(train), size, SEPARATOR, order)
    ours = model.score(stream(test).astype(np.int64)[None])[0]
    perplexity, reference = float(np.exp(-ours.mean(dtype=np.float64))), float(10 ** -np.mean(theirs))
    return {
        "benchmark": "ngram-words", "text": name, "order": order, "vocabulary": size, "train": sum(map(len, train)),
        "predictions": len(theirs), "perplexity": round(perplexity, 3), "kenlm": round(reference, 3),
        "ratio": round(perplexity / reference, 6), "machine": platform.machine(), "date": str(date.today()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--lmplz", required=True, help="path of KenLM's estimator")
    arguments = parser.parse_args()
    for given in arguments.text:
        name, _, path = given.partition("=")
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(compare(name, Path(path), arguments.order, arguments.lmplz, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
