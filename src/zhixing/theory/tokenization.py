"""Sub-words: byte-pair encoding, WordPiece, and the unigram model; learning pieces, and cutting words by them.

Byte-pair encoding: Sennrich, Haddow & Birch 2016, "Neural Machine Translation of Rare Words with Subword
Units", algorithm 1. A word is a tuple of symbols; the most frequent pair of neighbours in all words becomes a
new symbol, again and again. The paper leaves ties open; here, as in the ``tokenizers`` library, the pair whose
symbols came into the vocabulary first wins.

WordPiece: Schuster & Nakajima 2012, "Japanese and Korean voice search". Unigram: Kudo 2018, "Subword Regularization:
Improving Neural Network Translation Models with Multiple Subword Candidates". Both on a small corpus of words; the
statement is plain and slow.

The four words are the paper's own example:

>>> words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
>>> merges = learn_merges(words, 4)
>>> merges
[('e', 's'), ('es', 't'), ('l', 'o'), ('lo', 'w')]
>>> encode("lowest", merges)
['low', 'est']
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

Pair = tuple[str, str]


def pair_counts(words: Mapping[tuple[str, ...], int]) -> Counter[Pair]:
    """Return how often each pair of neighbours stands in all words: count(a, b) = Σ_w n(w) · #(a b in w).
    Equation (tokenization.1).

    >>> pair_counts({("l", "o", "w"): 5, ("l", "o", "t"): 2}).most_common(2)
    [(('l', 'o'), 7), (('o', 'w'), 5)]
    """
    counts: Counter[Pair] = Counter()
    for symbols, count in words.items():
        for pair in itertools.pairwise(symbols):
            counts[pair] += count
    return counts


def merge_pair(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    """Return ``symbols`` with every occurrence of ``pair`` joined, from the left. Equation (tokenization.2).

    >>> merge_pair("aaab", ("a", "a"))
    ('aa', 'a', 'b')
    """
    joined: list[str] = []
    position = 0
    while position < len(symbols):
        found = tuple(symbols[position : position + 2]) == pair
        joined.append(pair[0] + pair[1] if found else symbols[position])
        position += 2 if found else 1
    return tuple(joined)


def learn_merges(
    word_counts: Mapping[str, int], number: int, alphabet: Iterable[str] = (), min_frequency: int = 1
) -> list[Pair]:
    """Return at most ``number`` merges, in the order they were learned.

    ``alphabet`` gives symbols that exist though no word shows them; single symbols are numbered in sorted
    order. Equation (tokenization.3).
    """
    words = {tuple(word): count for word, count in word_counts.items()}
    symbols = sorted({*alphabet, *(symbol for word in words for symbol in word)})
    rank = {symbol: index for index, symbol in enumerate(symbols)}
    merges: list[Pair] = []
    while len(merges) < number and (counts := pair_counts(words)):
        best = min(counts, key=lambda pair: (-counts[pair], rank[pair[0]], rank[pair[1]]))
        if counts[best] < min_frequency:
            break
        merges.append(best)
        rank.setdefault(best[0] + best[1], len(rank))
        words = {merge_pair(word, best): count for word, count in words.items()}
    return merges


def encode(word: str, merges: Sequence[Pair]) -> list[str]:
    """Return the symbols of ``word``: the earliest learned of its pairs is merged, until none is left.

    Equation (tokenization.4).
    """
    rank = {pair: index for index, pair in enumerate(merges)}
    symbols: tuple[str, ...] = tuple(word)
    while known := [pair for pair in itertools.pairwise(symbols) if pair in rank]:
        symbols = merge_pair(symbols, min(known, key=rank.__getitem__))
    return list(symbols)


def encode_by_union(word: str, ranks: Mapping[str, int]) -> list[str]:
    """Return the symbols of ``word``, merging the neighbours whose *union* has the lowest rank: no list of
    merges is needed.

    Equal to ``encode`` where every symbol is made by one merge and is found when it is encoded alone, as
    after ``learn_merges``. Equation (tokenization.5).

    >>> encode_by_union("lowest", {"es": 0, "est": 1, "lo": 2, "low": 3})
    ['low', 'est']
    """
    symbols = list(word)
    while known := [(ranks[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(symbols)) if a + b in ranks]:
        _, position = min(known)
        symbols[position : position + 2] = [symbols[position] + symbols[position + 1]]
    return symbols


def wordpiece_symbols(word: str) -> tuple[str, ...]:
    """Return the characters of ``word``, all but the first marked as continuing. Equation (tokenization.6).

    >>> wordpiece_symbols("low")
    ('l', '##o', '##w')
    """
    return tuple(character if index == 0 else f"##{character}" for index, character in enumerate(word))


def wordpiece_scores(words: Mapping[tuple[str, ...], int]) -> dict[Pair, float]:
    """Return score(a, b) = count(a b) / (count(a) · count(b)) for each pair of neighbours.

    Joining the pair of the highest score raises the likelihood of the text under a unigram model the most per
    occurrence (Schuster & Nakajima 2012, section 3): not the frequent pair, but the one whose parts are rare apart.
    Equation (tokenization.7).

    >>> words = {("a", "b"): 1, ("a", "c"): 6, ("d", "c"): 6}
    >>> {pair: round(score, 4) for pair, score in wordpiece_scores(words).items()}
    {('a', 'b'): 0.1429, ('a', 'c'): 0.0714, ('d', 'c'): 0.0833}
    """
    single: Counter[str] = Counter()
    for symbols, count in words.items():
        for symbol in symbols:
            single[symbol] += count
    return {(a, b): count / (single[a] * single[b]) for (a, b), count in pair_counts(words).items()}


def wordpiece_gains(words: Mapping[tuple[str, ...], int]) -> dict[Pair, float]:
    """Return gain(a, b) = n(a b) log(n(a b) N / (n(a) n(b))) for each pair of neighbours, N being all symbols.

    The nats, to first order, by which the likelihood of the text under a unigram model rises when every a b becomes
    one symbol: the criterion of Schuster & Nakajima (2012, section 3), where ``wordpiece_scores`` ranks by the gain of
    a single occurrence. Equation (tokenization.8).

    >>> words = {("a", "b"): 1, ("a", "c"): 6, ("d", "c"): 6}
    >>> {pair: round(gain, 4) for pair, gain in wordpiece_gains(words).items()}
    {('a', 'b'): 1.3122, ('a', 'c'): 3.7142, ('d', 'c'): 4.6391}
    """
    single: Counter[str] = Counter()
    for symbols, count in words.items():
        for symbol in symbols:
            single[symbol] += count
    log = {symbol: math.log(count) for symbol, count in single.items()}
    total = math.log(single.total())
    return {
        (a, b): count * (math.log(count) - (log[a] + log[b])) + count * total
        for (a, b), count in pair_counts(words).items()
    }


Score = Callable[[Mapping[tuple[str, ...], int]], Mapping[Pair, float]]


def learn_wordpieces(word_counts: Mapping[str, int], number: int, score: Score = wordpiece_scores) -> list[str]:
    """Return the vocabulary: all symbols in sorted order, then at most ``number`` pieces in the order they were joined.

    ``score`` is ``wordpiece_scores`` or ``wordpiece_gains``. Of pairs with equal scores the more frequent wins, then
    the one whose symbols came first. Equation (tokenization.9).

    >>> learn_wordpieces({"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}, 2)
    ['##g', '##n', '##s', '##u', 'b', 'h', 'p', '##gs', 'pu']
    """
    words = {wordpiece_symbols(word): count for word, count in word_counts.items()}
    pieces = sorted({symbol for word in words for symbol in word})
    while number > 0 and (scores := score(words)):
        counts, rank = pair_counts(words), {piece: index for index, piece in enumerate(pieces)}
        best = min(scores, key=lambda pair: (-scores[pair], -counts[pair], rank[pair[0]], rank[pair[1]]))
        joined = best[0] + best[1].removeprefix("##")
        words = {_join(word, best, joined): count for word, count in words.items()}
        pieces += [joined] if joined not in pieces else []
        number -= 1
    return pieces


def _join(symbols: Sequence[str], pair: Pair, joined: str) -> tuple[str, ...]:
    return tuple(joined if symbol == pair[0] + pair[1] else symbol for symbol in merge_pair(symbols, pair))


def encode_wordpiece(word: str, vocabulary: Collection[str], unknown: str = "[UNK]") -> list[str]:
    """Return the pieces of ``word``: again and again the longest that fits what is left; or one ``unknown``.

    Greedy longest match first, as in BERT (Devlin et al. 2019, section 4.1; Song et al. 2021, section 3).
    Equation (tokenization.10).

    >>> encode_wordpiece("hugs", {"h", "hu", "##g", "##gs", "##s"})
    ['hu', '##gs']
    >>> encode_wordpiece("hut", {"h", "hu", "##g"})
    ['[UNK]']
    """
    pieces: list[str] = []
    begin = 0
    while begin < len(word):
        mark = "##" if begin else ""
        ends = (end for end in range(len(word), begin, -1) if mark + word[begin:end] in vocabulary)
        end = next(ends, None)
        if end is None:
            return [unknown]
        pieces.append(mark + word[begin:end])
        begin = end
    return pieces


def seed_pieces(word_counts: Mapping[str, int], longest: int = 8) -> dict[str, float]:
    """Return every substring of at most ``longest`` characters with its share of all occurrences.

    What the unigram model begins with: far too many pieces (Kudo 2018, section 3.2, step 1).
    Equation (tokenization.11).

    >>> {piece: round(p, 3) for piece, p in seed_pieces({"aab": 1}, longest=2).items()}
    {'a': 0.4, 'aa': 0.2, 'ab': 0.2, 'b': 0.2}
    """
    counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for begin in range(len(word)):
            for end in range(begin + 1, min(begin + longest, len(word)) + 1):
                counts[word[begin:end]] += count
    return {piece: count / counts.total() for piece, count in sorted(counts.items())}


def unigram_sums(word: str, probabilities: Mapping[str, float]) -> list[float]:
    """Return α_i = Σ_{j<i} α_j p(w_j…w_i), the probability of the first i characters, all ways of cutting summed.

    α_0 = 1; the last is p(word) = Σ over segmentations of Π p(piece) (Kudo 2018, equations 6 and 7).
    Equation (tokenization.12).

    >>> [round(sum_, 3) for sum_ in unigram_sums("ab", {"a": 0.5, "b": 0.3, "ab": 0.2})]
    [1.0, 0.5, 0.35]
    """
    sums = [1.0]
    for end in range(1, len(word) + 1):
        sums.append(sum(sums[begin] * probabilities.get(word[begin:end], 0.0) for begin in range(end)))
    return sums


def unigram_log_likelihood(word_counts: Mapping[str, int], probabilities: Mapping[str, float]) -> float:
    """Return L = Σ_w n(w) log p(w), in nats; minus infinity where a word cannot be cut. Kudo 2018, section 3.2.
    Equation (tokenization.13).

    >>> round(unigram_log_likelihood({"ab": 2}, {"a": 0.5, "b": 0.3, "ab": 0.2}), 4)  # 2 log 0.35
    -2.0996
    """
    totals = [(count, unigram_sums(word, probabilities)[-1]) for word, count in word_counts.items()]
    return sum(count * (math.log(total) if total > 0 else -math.inf) for count, total in totals)


def unigram_expected_counts(word_counts: Mapping[str, int], probabilities: Mapping[str, float]) -> dict[str, float]:
    """Return how often each piece is expected, over all ways of cutting: Σ_w n(w) α_i p(piece) β_j / p(w).

    The E step; β is α from the word's end. Equation (tokenization.14).

    >>> counts = unigram_expected_counts({"ab": 7}, {"a": 0.5, "b": 0.3, "ab": 0.2})
    >>> {piece: round(count, 4) for piece, count in counts.items()}  # "a b" has 0.15 of 0.35
    {'a': 3.0, 'ab': 4.0, 'b': 3.0}
    """
    counts: dict[str, float] = {}
    reversed_probabilities = {piece[::-1]: p for piece, p in probabilities.items()}
    for word, count in word_counts.items():
        before, after = unigram_sums(word, probabilities), unigram_sums(word[::-1], reversed_probabilities)[::-1]
        for begin, end in itertools.combinations(range(len(word) + 1), 2):
            if (piece := word[begin:end]) in probabilities and before[-1] > 0:
                share = before[begin] * probabilities[piece] * after[end] / before[-1]
                counts[piece] = counts.get(piece, 0.0) + count * share
    return counts


def unigram_em_step(word_counts: Mapping[str, int], probabilities: Mapping[str, float]) -> dict[str, float]:
    """Return p(piece) = expected count / sum of them: L never falls. Kudo 2018, section 3.2, step 2a.
    Equation (tokenization.15).

    >>> step = unigram_em_step({"ab": 7}, {"a": 0.5, "b": 0.3, "ab": 0.2})
    >>> {piece: round(p, 4) for piece, p in step.items()}
    {'a': 0.3, 'ab': 0.4, 'b': 0.3}
    """
    counts = unigram_expected_counts(word_counts, probabilities)
    return {piece: count / sum(counts.values()) for piece, count in counts.items() if count > 0}


def encode_unigram(word: str, probabilities: Mapping[str, float]) -> list[str]:
    """Return the most probable way of cutting ``word`` (Viterbi; Kudo 2018, equation 8); of equals the first found.
    Equation (tokenization.16).

    >>> encode_unigram("abab", {"a": 0.4, "b": 0.3, "ab": 0.2, "aba": 0.1})
    ['ab', 'ab']

    Raises:
        ValueError: the word cannot be cut into known pieces.
    """
    best: list[tuple[float, list[str]]] = [(1.0, [])]
    for end in range(1, len(word) + 1):
        arriving = [
            (best[begin][0] * probabilities.get(word[begin:end], 0.0), [*best[begin][1], word[begin:end]])
            for begin in range(end)
        ]
        best.append(max(arriving, key=lambda found: found[0]))
    if best[-1][0] == 0:
        raise ValueError(f"{word!r} cannot be cut into these pieces")
    return best[-1][1]


def pruning_loss(word_counts: Mapping[str, int], probabilities: Mapping[str, float], piece: str) -> float:
    """Return by how many nats L falls when ``piece`` goes and all else stays: L(p) - L(p without x), never below 0.

    Kudo 2018, section 3.2, step 2b. Infinite for a piece that nothing replaces. Equation (tokenization.17).

    >>> round(pruning_loss({"ab": 1}, {"a": 0.5, "b": 0.3, "ab": 0.2}, "ab"), 4)  # log 0.35 - log 0.15
    0.8473
    """
    others = {other: p for other, p in probabilities.items() if other != piece}
    return unigram_log_likelihood(word_counts, probabilities) - unigram_log_likelihood(word_counts, others)


def prune(word_counts: Mapping[str, int], probabilities: Mapping[str, float], number: int) -> dict[str, float]:
    """Return the ``number`` pieces with the largest losses, and every single character, renormalised.

    Single characters stay so that every word can be cut. Kudo 2018, section 3.2, step 2c. Equation (tokenization.18).

    >>> prune({"ab": 9, "ba": 1}, {"a": 0.25, "b": 0.125, "ab": 0.125, "ba": 0.5}, number=3)
    {'a': 0.5, 'b': 0.25, 'ab': 0.25}
    """
    long = [piece for piece in probabilities if len(piece) > 1]
    long.sort(key=lambda piece: pruning_loss(word_counts, probabilities, piece), reverse=True)
    room = number - (len(probabilities) - len(long))
    kept = {piece: p for piece, p in probabilities.items() if len(piece) == 1 or piece in long[: max(room, 0)]}
    return {piece: p / sum(kept.values()) for piece, p in kept.items()}
