"""Our hidden Markov model beside hmmlearn: same start, same ids, interleaved; one JSON line per result.

    python benchmarks/hmm.py [--states 16] [--tokens 200000] [--vocab-size 1024] [--length 256] [--rounds 3]

One pass of Baum-Welch (expectation and maximisation) and one of Viterbi over the standard library in pieces of
``--length`` tokens. Both must find the same log-likelihood and the same paths. Ratios are taken within a round.
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

import numpy as np

from zhixing.models.hmm import maximise
from zhixing.models.hmm_passes import Parameters, best_paths, expected_counts


def pieces(tokens: int, vocab_size: int, length: int) -> np.ndarray:
    from zhixing.corpus.reader import documents
    from zhixing.corpus.settings import TextSettings
    from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

    texts = [d.text for d, _ in zip(documents(TextSettings(), announce=False), range(200), strict=False)]
    tokenizer = train_tokenizer(TokenizerSettings(kind="bpe", vocab_size=vocab_size), texts)
    ids = np.concatenate([tokenizer.encode(text) for text in texts])
    rows = min(tokens, len(ids)) // length
    return ids[: rows * length].reshape(rows, length).astype(np.int32)


def hmmlearn_model(start: Parameters, vocab_size: int) -> Any:
    from hmmlearn.hmm import CategoricalHMM

    states = len(start.start)
    model = CategoricalHMM(states, n_features=vocab_size, n_iter=1, init_params="", tol=0.0)
    model.startprob_, model.transmat_, model.emissionprob_ = start.start, start.transition, start.emission
    return model


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = action()
    return time.perf_counter() - begin, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("states", 16), ("tokens", 200_000), ("vocab-size", 1024), ("length", 256), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    ids = pieces(args.tokens, args.vocab_size, args.length)
    draw, states = np.random.default_rng(0), args.states
    start = Parameters(
        draw.dirichlet(np.ones(states)),
        draw.dirichlet(np.ones(states), states),
        draw.dirichlet(np.ones(args.vocab_size), states),
    )
    flat, lengths = ids.reshape(-1, 1).astype(np.int64), [args.length] * len(ids)
    rates: dict[str, list[tuple[float, float]]] = {"baum-welch": [], "viterbi": []}
    for _ in range(args.rounds):
        seconds, counts = timed(lambda: _em(start, ids))
        other = hmmlearn_model(start, args.vocab_size)
        theirs, _ = timed(lambda model=other: model.fit(flat, lengths))
        rates["baum-welch"].append((ids.size / seconds, ids.size / theirs))
        assert abs(counts.nats / other.monitor_.history[0] - 1) < 1e-6, (counts.nats, other.monitor_.history)
        seconds, paths = timed(lambda: best_paths(start, ids))
        other = hmmlearn_model(start, args.vocab_size)
        theirs, (_, found) = timed(lambda model=other: model.decode(flat, lengths))
        rates["viterbi"].append((ids.size / seconds, ids.size / theirs))
        assert (np.asarray(paths).reshape(-1) == found).mean() > 0.999  # paths of equal probability may differ
    for name, found in rates.items():
        line = {
            "benchmark": f"hmm-{name}", "states": states, "vocab_size": args.vocab_size, "tokens": int(ids.size),
            "ours_tokens_per_second": round(statistics.median(a for a, _ in found)),
            "hmmlearn_tokens_per_second": round(statistics.median(b for _, b in found)),
            "ours_faster_by": round(statistics.median(a / b for a, b in found), 2),
            "machine": platform.machine(), "date": str(date.today()),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def _em(start: Parameters, ids: np.ndarray) -> Any:
    counts = expected_counts(start, ids)
    maximise(counts, 0.0)
    return counts


if __name__ == "__main__":
    main()
