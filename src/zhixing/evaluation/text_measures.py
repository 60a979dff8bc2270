"""Measures of a whole corpus of texts against references: BLEU, ROUGE, chrF, word error rate.

All lie between 0 and 1, save for the error rate; papers print BLEU and chrF times 100. Texts are cut by a named rule
(``splitting``), which for Chinese must be ``zh`` or ``characters``: cut at spaces, a Chinese sentence is one word and
every score is 0 or 1. Formulas and papers: ``zhixing.theory.text_measures``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zhixing.errors import DataError
from zhixing.evaluation.edit_distance import common_subsequence, edit_distance
from zhixing.evaluation.splitting import Tokenisation, splitter
from zhixing.language import tr

Smoothing = Literal["none", "exponential", "add-one"]
References = Sequence[str] | Sequence[Sequence[str]]
"""For every candidate one reference, or several."""


@dataclass(frozen=True)
class Bleu:
    """BLEU and what it is made of. ``signature`` says how it was computed; print it beside the number."""

    score: float
    precisions: tuple[float, ...]
    brevity_penalty: float
    candidate_length: int
    reference_length: int
    signature: str


@dataclass(frozen=True)
class Fraction:
    """Precision, recall and their F-measure."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Rouge:
    """Means over the texts, as the field reports ROUGE: not sums as in BLEU."""

    rouge_1: Fraction
    rouge_2: Fraction
    rouge_l: Fraction
    signature: str


def bleu(
    candidates: Sequence[str],
    references: References,
    *,
    tokenisation: Tokenisation = "13a",
    smoothing: Smoothing = "exponential",
    order: int = 4,
) -> Bleu:
    """Return the corpus BLEU of the candidates (``theory.text_measures.bleu``).

    Equal to sacrebleu's with ``tokenize`` 13a, zh, char (``characters``) or none (``spaces``) and ``smooth_method``
    exp, none, or add-k.

    Raises:
        DataError: no texts, not as many references as candidates, or a text without reference.
        ConfigError: an unknown tokenisation.
    """
    split = splitter(tokenisation)
    matches, totals = [0] * order, [0] * order
    written = wanted = 0
    for candidate, several in _paired(candidates, references):
        tokens, others = split(candidate), [split(reference) for reference in several]
        written += len(tokens)
        wanted += min((len(other) for other in others), key=lambda size: (abs(size - len(tokens)), size))
        for n in range(1, order + 1):
            matches[n - 1] += _clipped(tokens, others, n)
            totals[n - 1] += max(0, len(tokens) - n + 1)
    precisions = _smoothed(matches, totals, smoothing)
    penalty = math.exp(min(0.0, 1.0 - wanted / written)) if written else 0.0
    found = any(matches) and min(precisions) > 0.0
    score = penalty * math.exp(sum(map(math.log, precisions)) / order) if found else 0.0
    signature = f"BLEU-{order}|tokens:{tokenisation}|smoothing:{smoothing}|{_texts(references)}"
    return Bleu(score, tuple(precisions), penalty, written, wanted, signature)


def rouge(candidates: Sequence[str], references: References, *, tokenisation: Tokenisation = "letters") -> Rouge:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L, means over the texts; of several references the one with the best F1.

    On texts in ASCII, equal to the package rouge-score without stemming, which drops every other letter.

    Raises:
        DataError: as ``bleu``. ConfigError: an unknown tokenisation.
    """
    split = splitter(tokenisation)
    rows = []
    for candidate, several in _paired(candidates, references):
        tokens, others = split(candidate), [split(reference) for reference in several]
        kinds = [[_overlap(tokens, other, n) for other in others] for n in (1, 2)]
        kinds.append([_subsequence(tokens, other) for other in others])
        rows.append([max(kind, key=lambda fraction: fraction.f1) for kind in kinds])
    means = [_mean([row[kind] for row in rows]) for kind in range(3)]
    return Rouge(means[0], means[1], means[2], f"ROUGE|tokens:{tokenisation}|{_texts(references)}")


def chrf(candidates: Sequence[str], references: References, *, order: int = 6, beta: float = 2.0) -> float:
    """Return chrF of the corpus (``theory.text_measures.chrf``); needs no tokenisation, so it suits Chinese as it is.

    Of several references each text takes the one that suits it best. Equal to sacrebleu's chrF2 without word n-grams.

    Raises:
        DataError: as ``bleu``.
    """
    sums = [[0, 0, 0] for _ in range(order)]  # matches, candidate's, reference's
    for candidate, several in _paired(candidates, references):
        text = _character_ngrams(candidate, order)
        choices = [_character_counts(text, _character_ngrams(reference, order)) for reference in several]
        best = max(choices, key=lambda counts: _character_f(counts, beta)) if len(choices) > 1 else choices[0]
        sums = [[a + b for a, b in zip(old, new, strict=True)] for old, new in zip(sums, best, strict=True)]
    return _character_f(sums, beta)


def word_error_rate(candidates: Sequence[str], references: Sequence[str], *, tokenisation: Tokenisation) -> float:
    """Return edits per reference token over the corpus, 0 or more; ``characters`` gives the character error rate.

    Raises:
        DataError: as ``bleu``, or all references are empty. ConfigError: an unknown tokenisation.
    """
    split = splitter(tokenisation)
    edits = wanted = 0
    for candidate, (reference, *_) in _paired(candidates, references):
        tokens = split(reference)
        edits += edit_distance(split(candidate), tokens)
        wanted += len(tokens)
    if not wanted:
        raise DataError(tr("the references hold no token; give texts", "参考文本中没有任何词元；请给出文本"))
    return edits / wanted


def _paired(candidates: Sequence[str], references: References) -> list[tuple[str, Sequence[str]]]:
    if isinstance(candidates, str) or isinstance(references, str):
        raise DataError(tr("give lists of texts, not one text", "请给出文本列表，而不是单个文本"))
    if len(candidates) != len(references) or not candidates:
        counts = len(candidates), len(references)
        raise DataError(
            tr(
                f"{counts[0]} texts but {counts[1]} references; give one entry for each text, and at least one text",
                f"文本 {counts[0]} 个，参考 {counts[1]} 个；须一一对应，且至少有一个文本",
            )
        )
    several = [[reference] if isinstance(reference, str) else list(reference) for reference in references]
    empty = next((number for number, each in enumerate(several) if not each), None)
    if empty is not None:
        raise DataError(tr(f"text {empty} has no reference; give one", f"第 {empty} 个文本没有参考；请补上"))
    return list(zip(candidates, several, strict=True))


def _texts(references: References) -> str:
    return f"texts:{len(references)}"


def _ngrams(tokens: Sequence[str], n: int) -> Counter[Any]:
    return Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) if n > 1 else Counter(tokens)


def _clipped(tokens: Sequence[str], references: Sequence[Sequence[str]], n: int) -> int:
    allowed = _ngrams(references[0], n)
    for reference in references[1:]:
        allowed |= _ngrams(reference, n)
    return _common(_ngrams(tokens, n), allowed)


def _common(first: Counter[Any], second: Counter[Any]) -> int:
    """Size of the intersection; several times faster than ``(first & second).total()``."""
    shared = first.keys() & second.keys()
    return sum(map(min, map(first.__getitem__, shared), map(second.__getitem__, shared)))


def _smoothed(matches: Sequence[int], totals: Sequence[int], smoothing: Smoothing) -> list[float]:
    precisions, zeros = [], 0
    for n, (match, total) in enumerate(zip(matches, totals, strict=True), start=1):
        added = int(smoothing == "add-one" and n > 1)
        zeros += match == 0
        if smoothing == "exponential" and match == 0 and any(matches) and total:
            precisions.append(1.0 / (2.0**zeros * total))
        else:
            precisions.append((match + added) / (total + added) if total + added else 0.0)
    return precisions


def _fraction(common: int, written: int, wanted: int) -> Fraction:
    precision, recall = common / written if written else 0.0, common / wanted if wanted else 0.0
    return Fraction(precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0)


def _overlap(tokens: Sequence[str], reference: Sequence[str], n: int) -> Fraction:
    common = _common(_ngrams(tokens, n), _ngrams(reference, n))
    return _fraction(common, max(0, len(tokens) - n + 1), max(0, len(reference) - n + 1))


def _subsequence(tokens: Sequence[str], reference: Sequence[str]) -> Fraction:
    return _fraction(common_subsequence(tokens, reference), len(tokens), len(reference))


def _mean(fractions: Sequence[Fraction]) -> Fraction:
    count = len(fractions)
    return Fraction(
        sum(fraction.precision for fraction in fractions) / count,
        sum(fraction.recall for fraction in fractions) / count,
        sum(fraction.f1 for fraction in fractions) / count,
    )


def _character_ngrams(text: str, order: int) -> list[Counter[str]]:
    text = "".join(text.split())
    return [Counter([text[i : i + n] for i in range(len(text) - n + 1)]) for n in range(1, order + 1)]


def _character_counts(text: Sequence[Counter[str]], reference: Sequence[Counter[str]]) -> list[list[int]]:
    """For every order: matches, n-grams of the text (0 where the reference is too short to have any), and of it."""
    pairs = zip(text, reference, strict=True)
    return [[_common(one, other), one.total() if other else 0, other.total()] for one, other in pairs]


def _character_f(counts: Sequence[Sequence[int]], beta: float) -> float:
    usable = [(common / written, common / wanted) for common, written, wanted in counts if written and wanted]
    if not usable:
        return 0.0
    precision, recall = (sum(column) / len(usable) for column in zip(*usable, strict=True))
    below = beta**2 * precision + recall
    return (1 + beta**2) * precision * recall / below if below else 0.0
