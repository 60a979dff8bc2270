"""Measures and paired tests against ``zhixing.evaluation`` (NumPy, float64).

Texts are made of few words, so that long runs match. Production cuts them at spaces, and every word is a letter, so
that words and characters are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.evaluation import edit_distance, label_measures, perplexity, significance, text_measures
from zhixing.theory import measures as theory
from zhixing.theory import text_measures as text_theory

DOCUMENTS, RESAMPLES = 40, 10_000
"""So few documents that production draws all its resamples in one portion, which the formula can draw
again."""


def _scores(losses: Any, tokens: Any, text_bytes: Any) -> perplexity.Scores:
    return perplexity.Scores(losses=losses, tokens=tokens, text_bytes=text_bytes)


def _one_document(measure: str) -> Any:
    def practice(log_probs: Any, text_bytes: int) -> float:
        scores = _scores(np.array([-log_probs.sum()]), np.array([len(log_probs)]), np.array([text_bytes]))
        return float(getattr(scores, measure))

    return practice


def _pairs(rng: np.random.Generator) -> dict[str, Any]:
    size = rng.integers(20, 200, size=DOCUMENTS)
    first = size * rng.uniform(0.8, 1.6, size=DOCUMENTS)
    return {
        "first": first,
        "second": first + 0.1 * size * (rng.normal(size=DOCUMENTS) + 0.3),
        "size": size,
        "seed": 5,
    }


def _compare(first: Any, second: Any, size: Any, seed: int) -> Any:
    both = [_scores(losses, size, size) for losses in (first, second)]
    found = significance.compare("first", both[0], "second", both[1], seed=seed)
    return [found.difference, found.low, found.high, found.p_value]


def _compare_theory(first: Any, second: Any, size: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    resamples = rng.integers(0, DOCUMENTS, (RESAMPLES, DOCUMENTS))
    signs = rng.integers(0, 2, (RESAMPLES, DOCUMENTS), dtype=np.int8) * 2.0 - 1.0
    first, second = first / np.log(2), second / np.log(2)
    interval = theory.paired_bootstrap(first, second, size, resamples)
    return [*interval, theory.permutation_p(first, second, signs)]


def _mcnemar_theory(right_a: Any, right_b: Any) -> Any:
    return theory.mcnemar(int((right_a & ~right_b).sum()), int((~right_a & right_b).sum()))


TEXTS = 8


def _texts(rng: np.random.Generator) -> dict[str, Any]:
    """Eight texts with two references each, of 4 to 16 words out of five; a text and its reference are akin."""
    references, others, candidates = [], [], []
    for _ in range(TEXTS):
        words = rng.choice(list("abcde"), size=rng.integers(6, 16))
        references.append(words.tolist())
        others.append(np.roll(words, 2)[: rng.integers(4, len(words) + 1)].tolist())
        candidates.append(words[rng.random(len(words)) < 0.8].tolist() or ["a"])
    return {"candidates": candidates, "references": references, "others": others}


def _joined(texts: Any) -> list[str]:
    return [" ".join(text) for text in texts]


def _bleu(smoothing: Any) -> Row:
    return Row(
        name=f"measures.bleu_{smoothing.replace('-', '_')}",
        family="measures",
        states=(
            text_theory.bleu,
            text_theory.ngrams,
            text_theory.clipped_matches,
            text_theory.closest_length,
            text_theory.brevity_penalty,
            text_theory.smoothed_precisions,
            text_theory.share,
        ),
        theory=lambda candidates, references, others: text_theory.bleu(
            candidates, list(zip(references, others, strict=True)), smoothing=smoothing
        ),
        practice=lambda candidates, references, others: (
            text_measures.bleu(
                _joined(candidates),
                list(zip(_joined(references), _joined(others), strict=True)),
                tokenisation="spaces",
                smoothing=smoothing,
            ).score
        ),
        inputs=_texts,
        tolerance=16.0,
        reason="the same counts; logarithms and an exponential of four quotients",
        takes="arrays",
    )


def _rouge_theory(candidates: Any, references: Any, others: Any) -> Any:
    pairs = list(zip(candidates, references, strict=True))
    kinds = [[text_theory.rouge_n(c, r, n) for c, r in pairs] for n in (1, 2)]
    kinds.append([text_theory.rouge_l(c, r) for c, r in pairs])
    return [np.mean(kind, axis=0) for kind in kinds]


def _rouge(candidates: Any, references: Any, others: Any) -> Any:
    found = text_measures.rouge(_joined(candidates), _joined(references), tokenisation="spaces")
    return [np.array([f.precision, f.recall, f.f1]) for f in (found.rouge_1, found.rouge_2, found.rouge_l)]


def _labels(rng: np.random.Generator) -> dict[str, Any]:
    target = rng.integers(5, size=200)
    return {"predicted": np.where(rng.random(200) < 0.6, target, rng.integers(5, size=200)), "target": target}


def _label_theory(predicted: Any, target: Any) -> Any:
    labels = range(5)
    each = [text_theory.precision_recall_f1(*text_theory.outcomes(predicted, target, label)) for label in labels]
    averages = (text_theory.micro_average, text_theory.macro_average)
    return np.array([*each, *(average(predicted, target, list(labels)) for average in averages)])


def _label_practice(predicted: Any, target: Any) -> Any:
    report = label_measures.label_report(predicted.tolist(), target.tolist(), labels=list(range(5)))
    each = [*report.labels.values(), report.micro, report.macro]
    return np.array([[scores.precision, scores.recall, scores.f1] for scores in each])


ROWS: tuple[Row, ...] = (
    Row(
        name="measures.perplexity",
        family="measures",
        states=(theory.perplexity,),
        theory=lambda log_probs, text_bytes: theory.perplexity(log_probs),
        practice=_one_document("perplexity"),
        inputs=draw(log_probs=lambda rng: -rng.exponential(size=60), text_bytes=200),
        tolerance=64.0,
        reason="a mean of 60 numbers inside an exponential",
        takes="arrays",
    ),
    Row(
        name="measures.bits_per_byte",
        family="measures",
        states=(theory.bits_per_byte,),
        theory=theory.bits_per_byte,
        practice=_one_document("bits_per_byte"),
        inputs=draw(log_probs=lambda rng: -rng.exponential(size=60), text_bytes=200),
        tolerance=64.0,
        reason="a sum of 60 numbers",
        takes="arrays",
    ),
    Row(
        name="measures.paired_tests",
        family="measures",
        states=(theory.paired_bootstrap, theory.permutation_p),
        theory=_compare_theory,
        practice=_compare,
        inputs=_pairs,
        tolerance=256.0,
        reason="sums of 40 losses and a quantile between two of 10,000 such sums",
        takes="arrays",
    ),
    Row(
        name="measures.mcnemar",
        family="measures",
        states=(theory.mcnemar,),
        theory=_mcnemar_theory,
        practice=lambda right_a, right_b: significance.mcnemar(right_a, right_b),
        inputs=lambda rng: {
            "right_a": rng.random(90) < 0.6,
            "right_b": rng.random(90) < 0.5,
        },
        tolerance=1e4,
        reason="production sums exponentials of differences of log-gammas of up to 200",
        takes="arrays",
    ),
    _bleu("none"),
    _bleu("exponential"),
    _bleu("add-one"),
    Row(
        name="measures.rouge",
        family="measures",
        states=(text_theory.rouge_n, text_theory.rouge_l, text_theory.common_subsequence),
        theory=_rouge_theory,
        practice=_rouge,
        inputs=_texts,
        tolerance=16.0,
        reason="the same counts, a mean of eight quotients",
        takes="arrays",
    ),
    Row(
        name="measures.chrf",
        family="measures",
        states=(text_theory.chrf, text_theory.f_measure),
        theory=lambda candidates, references, others: text_theory.chrf(_joined(candidates), _joined(references)),
        practice=lambda candidates, references, others: text_measures.chrf(_joined(candidates), _joined(references)),
        inputs=_texts,
        tolerance=16.0,
        reason="the same counts, means of six quotients",
        takes="arrays",
    ),
    Row(
        name="measures.edit_distance",
        family="measures",
        states=(text_theory.edit_distance, text_theory.edit_table),
        theory=lambda candidates, references, others: [
            text_theory.edit_distance(c, r) for c, r in zip(candidates, others, strict=True)
        ],
        practice=lambda candidates, references, others: [
            edit_distance.edit_distance(c, r) for c, r in zip(candidates, others, strict=True)
        ],
        inputs=_texts,
        tolerance=0.0,
        reason="whole numbers",
        takes="arrays",
    ),
    Row(
        name="measures.word_error_rate",
        family="measures",
        states=(text_theory.word_error_rate,),
        theory=lambda candidates, references, others: text_theory.word_error_rate(candidates, others),
        practice=lambda candidates, references, others: text_measures.word_error_rate(
            _joined(candidates), _joined(others), tokenisation="spaces"
        ),
        inputs=_texts,
        tolerance=2.0,
        reason="one quotient of whole numbers",
        takes="arrays",
    ),
    Row(
        name="measures.labels",
        family="measures",
        states=(
            text_theory.precision_recall_f1,
            text_theory.outcomes,
            text_theory.micro_average,
            text_theory.macro_average,
        ),
        theory=_label_theory,
        practice=_label_practice,
        inputs=_labels,
        tolerance=16.0,
        reason="the same counts; the harmonic mean is taken of the quotients or of the counts",
        takes="arrays",
    ),
    Row(
        name="measures.ndcg",
        family="measures",
        states=(text_theory.ndcg, text_theory.discounted_gain),
        theory=lambda gains: np.mean([text_theory.ndcg(row, 5) for row in gains]),
        practice=lambda gains: label_measures.ndcg(gains, 5),
        inputs=draw(gains=lambda rng: rng.integers(4, size=(6, 10)).astype(np.float64)),
        tolerance=16.0,
        reason="sums of five quotients, divided by each other",
        takes="arrays",
    ),
)
