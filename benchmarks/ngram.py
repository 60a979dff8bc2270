"""Our n-gram model beside KenLM and NLTK: same tokens, same run; one JSON line per result.

    python benchmarks/ngram.py [--text FOLDER] [--megabytes 30] [--order 5] [--lmplz PATH]

KenLM's Python package answers queries; its estimator ``lmplz`` is a separate program (built from the sources
in the same package: cmake, make lmplz). With ``--lmplz``, both models are estimated and compared. Without it,
KenLM queries our own model, written as ARPA, and only the query times are compared. Every tenth document is
held out. Times are the best of ``--rounds``, interleaved: other work on the machine only ever adds to them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zhixing.models.interop.arpa import to_arpa
from zhixing.models.ngram import NgramModel

Docs = list[list[int]]
SEPARATOR = 0


def read_documents(folder: Path, megabytes: float) -> list[str]:
    texts, size = [], 0
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" not in path.parts and size < megabytes * 1e6:
            texts.append(path.read_text(encoding="utf-8", errors="replace"))
            size += len(texts[-1].encode("utf-8", "replace"))
    return texts


def encode(texts: list[str], vocab_size: int) -> Docs:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts[::4], trainer)
    return [encoding.ids for encoding in tokenizer.encode_batch(texts) if encoding.ids]


def stream(documents: Docs) -> np.ndarray:
    parts = [np.array([SEPARATOR])]
    for ids in documents:
        parts += [np.array(ids), np.array([SEPARATOR])]
    return np.concatenate(parts).astype(np.uint16)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def show(**row: Any) -> None:
    print(json.dumps({k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def lmplz(program: str, order: int, text: Path, arpa: Path, vocab_size: int, memory: str) -> None:
    command = [program, "-o", str(order), "--discount_fallback", "--vocab_pad", str(vocab_size), "-S", memory]
    command += ["-T", str(text.parent), "--text", str(text), "--arpa", str(arpa)]
    subprocess.run(command, check=True, capture_output=True)


def kenlm_full_scores(model: Any, lines: list[str]) -> float:
    """Ask for every token's score, as cheaply as Python can."""
    return sum(score for line in lines for score, _, _ in model.full_scores(line))


def against_kenlm(args: argparse.Namespace, train: Docs, held_out: Docs, folder: Path) -> float:
    import kenlm

    ids, queries = stream(train), stream(held_out).astype(np.int64)[None]
    text, arpa = folder / "train.txt", folder / "model.arpa"
    text.write_text("\n".join(" ".join(f"t{i}" for i in d) for d in train) + "\n", encoding="utf-8")
    lines = [" ".join(f"t{i}" for i in d) for d in held_out]
    build: dict[str, list[float]] = {"ours": [], "lmplz": []}
    for _ in range(args.rounds):
        seconds, model = timed(lambda: NgramModel.fit(ids, args.vocab_size, SEPARATOR, args.order))
        build["ours"].append(seconds)
        if args.lmplz:
            seconds, _ = timed(lambda: lmplz(args.lmplz, args.order, text, arpa, args.vocab_size, args.lmplz_memory))
            build["lmplz"].append(seconds)
    index, _ = timed(lambda: model.score(queries[:, :10]))
    if not args.lmplz:
        to_arpa(model, arpa, [f"t{i}" for i in range(args.vocab_size)])
    load, oracle = timed(lambda: kenlm.Model(str(arpa)))
    compare_builds(args, build, len(ids), model, index, load)
    return compare_queries(args, model, queries, oracle, lines)


def compare_builds(
    args: argparse.Namespace,
    build: dict[str, list[float]],
    tokens: int,
    model: NgramModel,
    index: float,
    load: float,
) -> None:
    ours = min(build["ours"])
    extra = {"lmplz_s": min(build["lmplz"]), "ratio": ours / min(build["lmplz"])} if args.lmplz else {}
    sizes = {"tables_bytes_per_token": model.nbytes / tokens}
    show(result="build", tokens=tokens, order=args.order, ours_s=ours, **extra, **sizes)
    show(result="ready to query", ours_index_s=index, kenlm_load_arpa_s=load)


def compare_queries(
    args: argparse.Namespace, model: NgramModel, queries: np.ndarray, oracle: Any, lines: list[str]
) -> float:
    contestants: dict[str, Callable[[], Any]] = {
        "ours": lambda: model.score(queries),
        "kenlm": lambda: kenlm_full_scores(oracle, lines),
        "kenlm_sentence": lambda: sum(oracle.score(line) for line in lines),
    }
    best = dict.fromkeys(contestants, np.inf)
    for _ in range(args.rounds + 2):
        for name, action in contestants.items():
            best[name] = min(best[name], timed(action)[0])
    ours = model.score(queries)[0]
    theirs = np.array([score for line in lines for score, _, _ in oracle.full_scores(line)])
    rate = {name: ours.size / seconds / 1e6 for name, seconds in best.items()}
    show(
        result="query",
        queries=ours.size,
        ours_millions_per_s=rate["ours"],
        kenlm_millions_per_s=rate["kenlm"],
        ratio=rate["ours"] / rate["kenlm"],
        kenlm_whole_sentence_sums_millions_per_s=rate["kenlm_sentence"],
    )
    perplexity = np.exp(-ours.mean(dtype=np.float64)), 10 ** -theirs.mean()
    show(
        result="perplexity",
        ours=float(perplexity[0]),
        kenlm=float(perplexity[1]),
        ratio=float(perplexity[0] / perplexity[1]),
        largest_difference_log10=float(np.abs(ours / np.log(10) - theirs).max()),
        same_estimator=bool(args.lmplz),
    )
    return rate["ours"] * 1e6


def against_nltk(order: int, train: Docs, held_out: Docs, ours: float) -> None:
    from nltk.lm import KneserNeyInterpolated
    from nltk.lm.preprocessing import padded_everygram_pipeline

    few = [[str(i) for i in ids[:2000]] for ids in train[:10]]
    model = KneserNeyInterpolated(order)
    build, _ = timed(lambda: model.fit(*padded_everygram_pipeline(order, few)))
    words = [str(i) for i in held_out[0][:50]]
    seconds, _ = timed(lambda: [model.score(words[i], words[i - order + 1 : i]) for i in range(order, len(words))])
    rate = (len(words) - order) / seconds
    show(result="nltk", tokens=sum(map(len, few)), build_s=build, queries_per_s=rate, ours_ratio=ours / rate)


def next_distribution(train: Docs, held_out: Docs, args: argparse.Namespace) -> None:
    model = NgramModel.fit(stream(train[: len(train) // 4]), args.vocab_size, SEPARATOR, args.order)
    state, ids = model.initial_state(1), stream(held_out)[:300].astype(np.int64)
    model.next_log_probs(ids[None, :1], state)

    def generate() -> None:
        here = state
        for token in ids:
            _, here = model.next_log_probs(token.reshape(1, 1), here)

    seconds, _ = timed(generate)
    show(result="next distribution", vocab_size=args.vocab_size, milliseconds=seconds / len(ids) * 1e3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--lmplz", help="path of KenLM's estimator")
    parser.add_argument("--lmplz-memory", default="2G", help="given to its -S; more is slower on little text")
    args = parser.parse_args()
    documents = encode(read_documents(args.text, args.megabytes), args.vocab_size)
    train = [ids for i, ids in enumerate(documents) if i % 10]
    held_out = documents[::10]
    show(
        result="machine",
        cores=os.cpu_count(),
        load=os.getloadavg()[0],
        numpy=np.__version__,
        python=platform.python_version(),
    )
    with tempfile.TemporaryDirectory() as folder:
        rate = against_kenlm(args, train, held_out, Path(folder))
    next_distribution(train, held_out, args)
    with contextlib.suppress(ImportError):
        against_nltk(args.order, train, held_out, rate)


if __name__ == "__main__":
    main()
