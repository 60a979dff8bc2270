"""Our word vectors beside gensim's: same text, same settings, same run; one JSON line per result.

    python benchmarks/vectors.py --text FOLDER... [--workers 2] [--rounds 3] [--pairs FILE] [--analogies FILE]

Both get sentences of words that are in memory, and both are timed without making the vocabulary. Rounds are
interleaved and the best counts: other work on the machine only ever adds. ``cpu_us`` is processor time a word, which
other work hardly touches. Quality is judged by the same functions for both, a seed a round; ``interval`` is what the
number of pairs or questions leaves open. gensim keeps its defaults (rate 0.025, CBOW's undivided gradient), we ours.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zhixing.corpus.reader import documents
from zhixing.corpus.settings import TextSettings
from zhixing.evaluation.word_pairs import judge_analogies, judge_pairs, read_analogies, read_pairs
from zhixing.models.word_vectors import WordVectors, WordVectorSettings
from zhixing.pretraining.word_text import number_words, paragraphs, splitter
from zhixing.pretraining.word_vector_learner import learner_for

Sentences = list[list[str]]
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "skip_gram": ({"kind": "skip_gram"}, {"sg": 1}),
    "cbow": ({"kind": "cbow"}, {"sg": 0}),
    "fasttext_skip_gram": ({"kind": "skip_gram", "subwords": True}, {"sg": 1}),
    "fasttext_cbow": ({"kind": "cbow", "subwords": True}, {"sg": 0}),
    "skip_gram_tree": ({"loss": "hierarchical_softmax"}, {"sg": 1, "hs": 1, "negative": 0}),
    "cbow_tree": ({"kind": "cbow", "loss": "hierarchical_softmax"}, {"sg": 0, "hs": 1, "negative": 0}),
}


def read_sentences(paths: list[str], megabytes: float) -> Sentences:
    split = splitter(WordVectorSettings())
    found, size = [], 0
    for document in documents(TextSettings(paths=tuple(paths), on_error="skip"), announce=False):
        size += document.utf8_bytes
        if size > megabytes * 1e6:
            break
        found += [words for part in paragraphs(document.text) if (words := split(part))]
    return found


def ours(sentences: Sentences, kind: str, args: argparse.Namespace, seed: int) -> tuple[float, float, WordVectors]:
    given = KINDS[kind][0] | ({"learning_rate": args.rate} if args.rate else {})
    settings = WordVectorSettings(epochs=args.epochs, workers=args.workers, buckets=args.buckets, **given)
    learner = learner_for(number_words(sentences, settings), settings, seed)

    def train() -> None:
        while learner.done < learner.portions:
            learner.advance()

    return *timed(train), learner.finished()


def gensims(sentences: Sentences, kind: str, args: argparse.Namespace, seed: int) -> tuple[float, float, WordVectors]:
    from gensim.models import FastText, Word2Vec

    given = KINDS[kind][1] | ({"bucket": args.buckets} if "fasttext" in kind else {})
    family = FastText if "fasttext" in kind else Word2Vec
    model = family(vector_size=100, window=5, min_count=5, sample=1e-3, workers=args.workers, seed=seed + 1, **given)
    model.build_vocab(sentences)
    seconds = timed(lambda: model.train(sentences, total_examples=model.corpus_count, epochs=args.epochs))
    return *seconds, WordVectors(model.wv.index_to_key, np.asarray(model.wv.vectors, np.float32))


def timed(action: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def show(**row: Any) -> None:
    print(json.dumps({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}), flush=True)


def judged(model: WordVectors, args: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if args.pairs:
        pairs = judge_pairs(model, read_pairs(args.pairs))
        found |= {"spearman": pairs.spearman, "spearman_interval": pairs.interval, "pairs": pairs.covered}
    if args.analogies:
        result = judge_analogies(model, read_analogies(args.analogies))
        found |= {"analogies": result.accuracy, "analogies_interval": result.interval, "questions": result.covered}
    return found


def compare(sentences: Sentences, kind: str, args: argparse.Namespace) -> None:
    words = sum(map(len, sentences)) * args.epochs
    contenders = {"zhixing": ours, "gensim": gensims}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    quality: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
    for seed in range(args.rounds):
        for name, train in contenders.items():
            wall, cpu, model = train(sentences, kind, args, seed)
            times[name].append((wall, cpu))
            quality[name].append(judged(model, args))
    best = {name: words / min(wall for wall, _ in found) for name, found in times.items()}
    for name in contenders:
        cpu = min(cpu for _, cpu in times[name]) / words * 1e6
        ratio = best[name] / best["gensim"]
        show(kind=kind, contender=name, workers=args.workers, words_per_s=best[name], ratio=ratio, cpu_us=cpu,
             **mean_quality(quality[name]))  # fmt: skip


def mean_quality(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds, and of the intervals."""
    mean = {}
    for name, value in rounds[0].items():
        several = [found[name] for found in rounds]
        if isinstance(value, tuple):
            mean[name] = [round(float(x), 4) for x in np.mean(several, axis=0)]
        else:
            mean[name] = value if isinstance(value, int) or value is None else float(np.mean(several))
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", nargs="*", default=[])
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--buckets", type=int, default=200_000)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--rate", type=float, help="our learning rate, instead of the default")
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--analogies", type=Path)
    args = parser.parse_args()
    sentences = read_sentences(args.text, args.megabytes)
    for kind in args.kinds:  # compile and touch everything once, beforehand
        warm = argparse.Namespace(**vars(args) | {"epochs": 1})
        ours(sentences[:2000] or sentences, kind, warm, 0)
    show(words=sum(map(len, sentences)), sentences=len(sentences), workers=args.workers, epochs=args.epochs)
    for kind in args.kinds:
        compare(sentences, kind, args)


if __name__ == "__main__":
    main()
