"""Our unigram and WordPiece beside the ``tokenizers`` library: same text, same size, interleaved; JSON lines.

    python benchmarks/subwords.py [--megabytes 4] [--vocab-size 8192] [--rounds 3]

Training in seconds; encoding in megabytes per second (both sides run the library's engine, theirs with the vocabulary
it learned); and bytes per token of each on the text, and on text that was not learned from. Byte-pair encoding stands
beside them. Ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import tokenizers

from zhixing.corpus.reader import documents
from zhixing.corpus.settings import TextSettings
from zhixing.tokenizers.layout import pre_tokenizer, wordpiece_pre_tokenizer
from zhixing.tokenizers.specials import SPECIAL_TOKENS
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

ALPHABET = tokenizers.pre_tokenizers.ByteLevel.alphabet()


def texts(megabytes: float) -> tuple[list[str], list[str]]:
    """Return text to learn from, and every tenth document, which is held out."""
    learned: list[str] = []
    held_out: list[str] = []
    size = 0
    for number, document in enumerate(documents(TextSettings(), announce=False)):
        (held_out if number % 10 == 9 else learned).append(document.text)
        size += len(document.text.encode("utf-8"))
        if size > 1e6 * megabytes:
            break
    return learned, held_out


def library(kind: str, size: int, learned: list[str]) -> Any:
    models, trainers = tokenizers.models, tokenizers.trainers
    size -= len(SPECIAL_TOKENS)
    common = {"vocab_size": size, "initial_alphabet": ALPHABET, "show_progress": False}
    if kind == "unigram":
        made, trainer = tokenizers.Tokenizer(models.Unigram()), trainers.UnigramTrainer(**common)
    elif kind == "wordpiece":
        model = models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=200)
        made, trainer = (
            tokenizers.Tokenizer(model),
            trainers.WordPieceTrainer(**common, min_frequency=2, special_tokens=["[UNK]"]),
        )
    else:
        made, trainer = tokenizers.Tokenizer(models.BPE()), trainers.BpeTrainer(**common, min_frequency=2)
    cuts = wordpiece_pre_tokenizer("gpt2") if kind == "wordpiece" else pre_tokenizer("gpt2")
    document = json.loads(tokenizers.Tokenizer(models.BPE()).to_str()) | {"pre_tokenizer": cuts}
    made.pre_tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document)).pre_tokenizer
    made.train_from_iterator(learned, trainer)
    return made


def ours(kind: str, size: int, learned: list[str]) -> Any:
    return train_tokenizer(TokenizerSettings(kind=kind, vocab_size=size), learned)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    learned, held_out = texts(args.megabytes)
    for kind in ("unigram", "wordpiece", "bpe"):
        print(json.dumps(compared(kind, args.vocab_size, learned, held_out, args.rounds)), flush=True)


def compared(kind: str, size: int, learned: list[str], held_out: list[str], rounds: int) -> dict[str, Any]:
    seconds: list[tuple[float, float]] = []
    rates: list[tuple[float, float]] = []
    length = sum(len(text.encode("utf-8")) for text in learned)
    for _ in range(rounds):
        here, there = timed(lambda: ours(kind, size, learned)), timed(lambda: library(kind, size, learned))
        seconds.append((here[0], there[0]))
        mine, theirs = here[1], there[1]
        fast = timed(lambda made=mine: made.encode_batch(learned))[0]
        slow = timed(lambda made=theirs: made.encode_batch_fast(learned, add_special_tokens=False))[0]
        rates.append((length / 1e6 / fast, length / 1e6 / slow))
    return {
        "benchmark": f"tokenizer-{kind}", "vocab_size": size, "megabytes": round(length / 1e6, 2),
        "ours_training_seconds": round(statistics.median(a for a, _ in seconds), 2),
        "library_training_seconds": round(statistics.median(b for _, b in seconds), 2),
        "ours_faster_by": round(statistics.median(b / a for a, b in seconds), 2),
        "ours_megabytes_per_second": round(statistics.median(a for a, _ in rates), 2),
        "library_megabytes_per_second": round(statistics.median(b for _, b in rates), 2),
        **{
            f"{who}_bytes_per_token_{where}": round(ratio, 4)
            for where, some in (("learned", learned), ("held_out", held_out))
            for who, ratio in zip(("ours", "library"), bytes_per_token(mine, theirs, some), strict=True)
        },
        "machine": platform.machine(), "date": str(date.today()),
    }  # fmt: skip


def bytes_per_token(mine: Any, theirs: Any, some: list[str]) -> tuple[float, float]:
    length = sum(len(text.encode("utf-8")) for text in some)
    there = sum(len(one.ids) for one in theirs.encode_batch_fast(some, add_special_tokens=False))
    return length / sum(map(len, mine.encode_batch(some))), length / there


if __name__ == "__main__":
    main()
