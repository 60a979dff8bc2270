r"""How good labels, translations, summaries, transcripts and rankings are, measured against what a person wrote.

All lie between 0 and 1 (papers that print BLEU or chrF from 0 to 100 multiply by 100), save for the word error rate,
which has no upper end. A text is a sequence of tokens: words, characters, or what a tokenizer makes of it; scores
under different tokenizations must not be compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

Tokens = Sequence[Hashable]
Scores = tuple[float, float, float]
"""Precision, recall, F1."""


def share(part: float, whole: float) -> float:
    r"""``part / whole``, and 0 where there is no whole: no prediction of a class has precision 0, not NaN.
    Equation (text_measures.1).

    >>> share(1, 4), share(0, 0)
    (0.25, 0.0)
    """
    return part / whole if whole else 0.0


def f_measure(precision: float, recall: float, beta: float = 1.0) -> float:
    r"""$F_\beta = \frac{(1+\beta^2) P R}{\beta^2 P + R}$: recall weighs $\beta$ times as much as precision.

    van Rijsbergen (1979), chapter 7. Equation (text_measures.2).

    >>> f_measure(0.5, 1.0), f_measure(0.5, 1.0, beta=2.0)
    (0.6666666666666666, 0.8333333333333334)
    """
    return share((1.0 + beta**2) * precision * recall, beta**2 * precision + recall)


def outcomes(predicted: ArrayLike, target: ArrayLike, label: Hashable) -> tuple[int, int, int]:
    """True positives, false positives and false negatives of one label; both arrays (N,). Equation (text_measures.3).

    >>> outcomes([1, 1, 0, 1], [1, 0, 1, 1], label=1)
    (2, 1, 1)
    """
    said, right = np.asarray(predicted) == label, np.asarray(target) == label
    return int((said & right).sum()), int((said & ~right).sum()), int((~said & right).sum())


def precision_recall_f1(true_positives: int, false_positives: int, false_negatives: int) -> Scores:
    r"""$P = \frac{TP}{TP+FP}$, $R = \frac{TP}{TP+FN}$, and their harmonic mean. Equation (text_measures.4).

    >>> precision_recall_f1(2, 0, 2)
    (1.0, 0.5, 0.6666666666666666)
    """
    precision = share(true_positives, true_positives + false_positives)
    recall = share(true_positives, true_positives + false_negatives)
    return precision, recall, f_measure(precision, recall)


def micro_average(predicted: ArrayLike, target: ArrayLike, labels: Sequence[Hashable]) -> Scores:
    """Scores of the outcomes added up over the labels: every item weighs the same.

    Over all labels, one for each item, all three equal the accuracy. Equation (text_measures.5).

    >>> micro_average([0, 0, 0, 1], [0, 0, 1, 2], labels=[0, 1, 2])
    (0.5, 0.5, 0.5)
    """
    added = np.sum([outcomes(predicted, target, label) for label in labels], axis=0)
    return precision_recall_f1(*map(int, added))


def macro_average(predicted: ArrayLike, target: ArrayLike, labels: Sequence[Hashable]) -> Scores:
    """Mean of the labels' scores: every label weighs the same. Its F1 is the mean of the F1s.
    Equation (text_measures.6).

    >>> p, r, f = macro_average([0, 0, 0, 1], [0, 0, 1, 2], labels=[0, 1, 2])  # only label 0 is ever right
    >>> round(p, 4), round(r, 4), round(f, 4)
    (0.2222, 0.3333, 0.2667)
    """
    each = [precision_recall_f1(*outcomes(predicted, target, label)) for label in labels]
    precision, recall, f1 = np.mean(each, axis=0).tolist()
    return precision, recall, f1


def ngrams(tokens: Tokens, n: int) -> Counter[tuple[Hashable, ...]]:
    """How often each run of n tokens occurs. Equation (text_measures.7).

    >>> ngrams("abab", 2)
    Counter({('a', 'b'): 2, ('b', 'a'): 1})
    """
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def clipped_matches(candidate: Tokens, references: Sequence[Tokens], n: int) -> tuple[int, int]:
    """Runs of n tokens of the candidate that a reference has too, at most as often as there; and all its runs.

    Papineni et al. (2002), section 2.1. Equation (text_measures.8). Their example:

    >>> clipped_matches("the the the the the the the".split(), ["the cat is on the mat".split()], 1)
    (2, 7)
    """
    written = ngrams(candidate, n)
    allowed = reduce(Counter.__or__, (ngrams(reference, n) for reference in references))
    return (written & allowed).total(), written.total()


def closest_length(candidate: Tokens, references: Sequence[Tokens]) -> int:
    """Length of the reference nearest in length to the candidate; of two equally near, the shorter.
    Equation (text_measures.9).

    >>> closest_length("abc", ["ab", "abcd", "abcdef"])
    2
    """
    return min((len(reference) for reference in references), key=lambda r: (abs(r - len(candidate)), r))


def brevity_penalty(candidate_length: int, reference_length: int) -> float:
    r"""1 if the candidate is longer ($c > r$), else $e^{1 - r/c}$. Papineni et al. (2002), section 2.3.
    Equation (text_measures.10).

    >>> brevity_penalty(5, 5), round(brevity_penalty(4, 5), 4)
    (1.0, 0.7788)
    """
    return math.exp(min(0.0, 1.0 - reference_length / candidate_length)) if candidate_length else 0.0


def smoothed_precisions(matches: Sequence[int], totals: Sequence[int], smoothing: str = "none") -> list[float]:
    r"""$p_n$ for n = 1, 2, ...: matches by totals, with something done about zeros.

    ``none``: zero stays zero, and so does BLEU (Papineni et al. 2002). ``exponential``: the k-th zero becomes
    $\frac{1}{2^k \cdot \text{total}}$ (NIST's mteval; Chen and Cherry 2014, method 3). ``add-one``: one is added to
    matches and totals of n > 1 (Lin and Och 2004). Equation (text_measures.11).

    >>> smoothed_precisions([3, 1, 0, 0], [4, 3, 2, 1], "exponential")
    [0.75, 0.3333333333333333, 0.25, 0.25]
    """
    if smoothing == "add-one":
        added = [int(n > 0) for n in range(len(matches))]
        return [share(m + a, t + a) for m, t, a in zip(matches, totals, added, strict=True)]
    values = [share(m, t) for m, t in zip(matches, totals, strict=True)]
    zeros = np.cumsum([m == 0 for m in matches])
    if smoothing == "exponential" and any(matches):
        return [v or share(1.0, 2.0**k * t) for v, k, t in zip(values, zeros.tolist(), totals, strict=True)]
    return values


def bleu(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], order: int = 4, smoothing: str = "none"
) -> float:
    r"""$\mathrm{BP} \cdot \exp(\frac1N \sum_{n=1}^N \log p_n)$ of a whole corpus; N = ``order``.

    Matches, totals and lengths are summed over all sentences before anything is divided; the mean of sentences'
    BLEUs is another number. Papineni et al. (2002), section 2.3. Equation (text_measures.12).

    >>> candidate, reference = "the cat sat on the mat".split(), "the cat sat on a mat".split()
    >>> round(bleu([candidate], [[reference]]), 4)  # (5/6 * 3/5 * 2/4 * 1/3) ** (1/4)
    0.5373
    """
    pairs = list(zip(candidates, references, strict=True))
    counts = np.array([[clipped_matches(c, r, n) for n in range(1, order + 1)] for c, r in pairs]).sum(axis=0)
    precisions = smoothed_precisions(counts[:, 0].tolist(), counts[:, 1].tolist(), smoothing)
    if not counts[:, 0].any() or min(precisions) == 0.0:
        return 0.0
    penalty = brevity_penalty(sum(map(len, candidates)), sum(closest_length(c, r) for c, r in pairs))
    return penalty * math.exp(sum(map(math.log, precisions)) / order)


def rouge_n(candidate: Tokens, reference: Tokens, n: int) -> Scores:
    """Precision, recall and F1 of the runs of n tokens. Lin (2004), section 2, where only recall is defined.
    Equation (text_measures.13).

    >>> rouge_n("the cat sat".split(), "the cat lay down".split(), n=1)
    (0.6666666666666666, 0.5, 0.5714285714285715)
    """
    written, wanted = ngrams(candidate, n), ngrams(reference, n)
    common = (written & wanted).total()
    precision, recall = share(common, written.total()), share(common, wanted.total())
    return precision, recall, f_measure(precision, recall)


def common_subsequence(first: Tokens, second: Tokens) -> int:
    r"""Length of the longest common subsequence: $L_{ij} = L_{i-1,j-1} + 1$ on a match, else the larger neighbour.
    Equation (text_measures.14).

    >>> common_subsequence("abcbd", "acd")
    3
    """
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=np.int64)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


def rouge_l(candidate: Tokens, reference: Tokens) -> Scores:
    """Precision, recall and F1 of the longest common subsequence: word order counts, gaps do not.

    Lin (2004), section 3.1, with beta 1; their example, where ROUGE-2 cannot tell the two apart:
    Equation (text_measures.15).

    >>> reference = "police killed the gunman".split()
    >>> rouge_l("police kill the gunman".split(), reference)[2], rouge_l("the gunman kill police".split(), reference)[2]
    (0.75, 0.5)
    """
    common = common_subsequence(candidate, reference)
    precision, recall = share(common, len(candidate)), share(common, len(reference))
    return precision, recall, f_measure(precision, recall)


def chrf(candidates: Sequence[str], references: Sequence[str], order: int = 6, beta: float = 2.0) -> float:
    r"""$F_\beta$ of the mean precision and the mean recall of character n-grams, n = 1 ... ``order``, over a corpus.

    Spaces are removed. Lengths that no candidate or no reference reaches are left out of the means; a candidate's
    n-grams count only where its own reference has some of that length. Popović (2015), section 2.
    Equation (text_measures.16).

    >>> round(chrf(["abc"], ["abd"]), 4)  # n = 1: 2/3, n = 2: 1/2, n = 3: 0
    0.3889
    """
    pairs = [("".join(c.split()), "".join(r.split())) for c, r in zip(candidates, references, strict=True)]
    precisions, recalls = [], []
    for n in range(1, order + 1):
        each = [(ngrams(c, n), ngrams(r, n)) for c, r in pairs]
        common = sum((c & r).total() for c, r in each)
        written, wanted = sum(c.total() for c, r in each if r), sum(r.total() for _, r in each)
        if written and wanted:
            precisions.append(common / written)
            recalls.append(common / wanted)
    return f_measure(float(np.mean(precisions)), float(np.mean(recalls)), beta) if precisions else 0.0


def edit_table(first: Tokens, second: Tokens) -> NDArray[np.int64]:
    r"""$D_{ij} = \min(D_{i-1,j} + 1,\ D_{i,j-1} + 1,\ D_{i-1,j-1} + [a_i \ne b_j])$; (m + 1, n + 1).

    $D_{ij}$ is the fewest insertions, deletions and substitutions that turn the first i tokens of one into the first
    j of the other. Levenshtein (1966); Wagner and Fischer (1974). Equation (text_measures.17).

    >>> edit_table("ab", "cb")
    array([[0, 1, 2],
           [1, 1, 2],
           [2, 2, 1]])
    """
    table = np.add.outer(np.arange(len(first) + 1), np.arange(len(second) + 1))
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            table[i + 1, j + 1] = min(table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a != b))
    return table


def edit_distance(first: Tokens, second: Tokens) -> int:
    """The last entry of the table. Equation (text_measures.18).

    >>> edit_distance("kitten", "sitting")
    3
    """
    return int(edit_table(first, second)[-1, -1])


def word_error_rate(candidates: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    """Edits needed by all candidates, per token of all references; above 1 where too much was written.

    With characters for tokens it is the character error rate, the usual one for Chinese. Equation (text_measures.19).

    >>> word_error_rate(["the cat sad".split(), "hi".split()], ["the cat sat".split(), "hi there".split()])
    0.4
    """
    edits = sum(edit_distance(c, r) for c, r in zip(candidates, references, strict=True))
    return edits / sum(map(len, references))


def discounted_gain(relevances: ArrayLike) -> float:
    r"""$\sum_{i=1}^k \frac{g_i}{\log_2(i + 1)}$ of a ranked list, best first; (k,).

    Järvelin and Kekäläinen (2002), section 2.2, with the discount that has become usual. Equation (text_measures.20).

    >>> discounted_gain([3.0, 0.0, 2.0])  # 3/1 + 0 + 2/2
    4.0
    """
    gains = np.asarray(relevances, np.float64)
    return float((gains / np.log2(np.arange(len(gains)) + 2.0)).sum())


def ndcg(relevances: ArrayLike, k: int) -> float:
    """Discounted gain of the first k results over that of the best order of all results; 0 if nothing is relevant.

    ``relevances`` (N,): gain of each result, in the order in which they were returned. Equation (text_measures.21).

    >>> round(ndcg([2.0, 0.0, 3.0], k=3), 4)  # (2 + 3/2) / (3 + 2/1.585)
    0.8212
    """
    gains = np.asarray(relevances, np.float64)
    return share(discounted_gain(gains[:k]), discounted_gain(np.sort(gains)[::-1][:k]))
