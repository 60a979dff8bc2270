"""Byte-pair encoding agrees with production and library; WordPiece and unigram with library and brute force."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter

import pytest
import tokenizers

from zhixing.theory import tokenization as theory
from zhixing.theory.tokenization import encode, encode_by_union, learn_merges, merge_pair
from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, bytes_to_characters
from zhixing.tokenizers.train import SMALLEST, TokenizerSettings, train_tokenizer

TEN_WORDS = {
    "low": 5,
    "lower": 2,
    "lowest": 3,
    "new": 7,
    "newer": 4,
    "newest": 6,
    "wide": 1,
    "wider": 8,
    "widest": 9,
    "slow": 2,
}


def library_merges(words: dict[str, int], number: int) -> list[tuple[str, str]]:
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    size = number + len({symbol for word in words for symbol in word})
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, min_frequency=1, show_progress=False)
    learner.train_from_iterator([" ".join([word] * count) for word, count in words.items()], trainer)
    return [tuple(merge) for merge in json.loads(learner.to_str())["model"]["merges"]]


def test_the_same_merges_as_the_library_on_ten_words() -> None:
    assert learn_merges(TEN_WORDS, 12) == library_merges(TEN_WORDS, 12)


@pytest.mark.parametrize("seed", range(30))
def test_the_same_merges_as_the_library_on_random_words_with_ties(seed: int) -> None:
    draw = random.Random(seed)
    words = {"".join(draw.choices("abcd", k=draw.randint(1, 7))): draw.randint(1, 5) for _ in range(12)}
    expected = library_merges(words, 15)
    assert learn_merges(words, 15)[: len(expected)] == expected


def test_the_production_trainer_learns_the_theory_and_encodes_by_it() -> None:
    text = " ".join(word for word, count in TEN_WORDS.items() for _ in range(count))
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=SMALLEST + 10, min_frequency=1), [text])
    words = Counter(bytes_to_characters(word.encode()) for word in [" " + word for word in text.split()])
    words[bytes_to_characters(b" low")] -= 1  # the text's first word has no blank before it
    words["low"] += 1
    merges = learn_merges(words, 10, BYTE_CHARACTERS)
    learned = [tokenizer.token_bytes(256 + index) for index in range(10)]
    assert [bytes_to_characters(piece) for piece in learned] == [left + right for left, right in merges]
    for word in ("slowest", "newlow", "widewide"):
        pieces = [bytes_to_characters(tokenizer.token_bytes(index)) for index in tokenizer.encode(word)]
        assert pieces == encode(word, merges)


@pytest.mark.parametrize("seed", range(20))
def test_merging_by_rank_of_the_union_is_merging_by_the_list(seed: int) -> None:
    draw = random.Random(seed)
    words = {"".join(draw.choices("abc", k=draw.randint(2, 9))): draw.randint(1, 9) for _ in range(15)}
    merges = learn_merges(words, 20)
    ranks = {left + right: index for index, (left, right) in enumerate(merges)}
    assert len(ranks) == len(merges)
    for _ in range(50):
        word = "".join(draw.choices("abc", k=draw.randint(1, 20)))
        assert encode_by_union(word, ranks) == encode(word, merges)


def test_pairs_are_joined_from_the_left() -> None:
    assert merge_pair("aaaa", ("a", "a")) == ("aa", "aa")
    assert merge_pair("abab", ("b", "a")) == ("a", "ba", "b")


# ---------------------------------------------------------------- WordPiece


def spelled(pieces: list[str]) -> str:
    return "".join(piece.removeprefix("##") if index else piece for index, piece in enumerate(pieces))


@pytest.mark.parametrize("seed", range(10))
def test_greedy_longest_match_is_the_librarys(seed: int) -> None:
    draw = random.Random(seed)
    pieces = sorted({"".join(draw.choices("abc", k=draw.randint(1, 4))) for _ in range(12)})
    vocabulary = ["[UNK]", *pieces, *(f"##{piece}" for piece in pieces if draw.random() < 0.8)]
    library = tokenizers.models.WordPiece({piece: index for index, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    found = 0
    for _ in range(100):
        word = "".join(draw.choices("abc", k=draw.randint(1, 9)))
        expected = [token.value for token in library.tokenize(word)]
        assert theory.encode_wordpiece(word, vocabulary) == expected
        found += expected != ["[UNK]"]
    assert found > 5


def test_wordpieces_of_ten_words_spell_them() -> None:
    vocabulary = theory.learn_wordpieces(TEN_WORDS, 12)
    assert len(vocabulary) == len(set(vocabulary))
    for word in [*TEN_WORDS, "slowest", "slider"]:
        pieces = theory.encode_wordpiece(word, vocabulary)
        assert spelled(pieces) == word
        assert len(pieces) < len(word)


def test_the_rare_pair_that_belongs_together_goes_first() -> None:
    """ "qu" is rarer than "es", but q never stands without u: byte-pair encoding and WordPiece choose differently."""
    words = {"quit": 2, "best": 9, "rest": 9, "esse": 1, "set": 9, "bits": 9}
    assert learn_merges(words, 1) == [("e", "s")]
    symbols = {theory.wordpiece_symbols(word): count for word, count in words.items()}
    scores = theory.wordpiece_scores(symbols)
    assert max(scores, key=scores.__getitem__) == ("q", "##u")


def test_the_criterion_is_the_gain_in_likelihood_per_occurrence() -> None:
    """log score + log N is the pointwise mutual information of the pair."""
    symbols = {theory.wordpiece_symbols(word): count for word, count in TEN_WORDS.items()}
    total = sum(len(word) * count for word, count in symbols.items())
    single = Counter(symbol for word, count in symbols.items() for symbol in word for _ in range(count))
    for (a, b), score in theory.wordpiece_scores(symbols).items():
        share = theory.pair_counts(symbols)[a, b] / total
        information = math.log(share / (single[a] / total * single[b] / total))
        assert math.log(score) + math.log(total) == pytest.approx(information)


# ---------------------------------------------------------------- unigram


def every_cut(word: str) -> list[list[str]]:
    cuts = itertools.chain.from_iterable(itertools.combinations(range(1, len(word)), n) for n in range(len(word)))
    return [[word[a:b] for a, b in itertools.pairwise([0, *cut, len(word)])] for cut in cuts]


def probability(pieces: list[str], probabilities: dict[str, float]) -> float:
    return math.prod(probabilities.get(piece, 0.0) for piece in pieces)


def test_sums_and_counts_are_those_over_every_cut() -> None:
    probabilities = theory.seed_pieces(TEN_WORDS, longest=4)
    assert sum(probabilities.values()) == pytest.approx(1)
    expected: Counter[str] = Counter()
    for word, count in TEN_WORDS.items():
        cuts = [(probability(pieces, probabilities), pieces) for pieces in every_cut(word)]
        total = sum(p for p, _ in cuts)
        assert theory.unigram_sums(word, probabilities)[-1] == pytest.approx(total, rel=1e-12)
        for p, pieces in cuts:
            for piece in pieces:
                expected[piece] += count * p / total
    found = theory.unigram_expected_counts(TEN_WORDS, probabilities)
    assert found == pytest.approx({piece: count for piece, count in expected.items() if count > 0}, rel=1e-9)


def test_the_likelihood_never_falls() -> None:
    probabilities, values = theory.seed_pieces(TEN_WORDS), []
    for _ in range(12):
        values.append(theory.unigram_log_likelihood(TEN_WORDS, probabilities))
        probabilities = theory.unigram_em_step(TEN_WORDS, probabilities)
        assert sum(probabilities.values()) == pytest.approx(1)
    assert all(later >= earlier - 1e-9 for earlier, later in itertools.pairwise(values))
    assert values[-1] > values[0] + 10


@pytest.mark.parametrize("seed", range(10))
def test_the_best_cut_is_the_librarys_and_the_best_of_all(seed: int) -> None:
    draw = random.Random(seed)
    pieces = {*"abc", *("".join(draw.choices("abc", k=draw.randint(2, 4))) for _ in range(15))}
    weights = {piece: draw.random() ** 2 + 1e-3 for piece in sorted(pieces)}
    probabilities = {piece: weight / sum(weights.values()) for piece, weight in weights.items()}
    library = tokenizers.models.Unigram([("<unk>", -50.0), *((p, math.log(q)) for p, q in probabilities.items())], 0)
    for _ in range(30):
        word = "".join(draw.choices("abc", k=draw.randint(1, 9)))
        found = theory.encode_unigram(word, probabilities)
        expected = [token.value for token in library.tokenize(word)]
        best = max(probability(cut, probabilities) for cut in every_cut(word))
        # Of equals ("b bb", "bb b") each may take another.
        assert probability(found, probabilities) == pytest.approx(best)
        assert probability(expected, probabilities) == pytest.approx(best)


def test_pruning_takes_the_piece_that_is_missed_least() -> None:
    probabilities = theory.seed_pieces(TEN_WORDS, longest=5)
    for _ in range(3):
        probabilities = theory.unigram_em_step(TEN_WORDS, probabilities)
    single = {piece for word in TEN_WORDS for piece in word}
    probabilities = {piece: probabilities.get(piece, 1e-3) for piece in {*probabilities, *single}}
    losses = {p: theory.pruning_loss(TEN_WORDS, probabilities, p) for p in probabilities if len(p) > 1}
    kept = theory.prune(TEN_WORDS, probabilities, number=len(probabilities) - 10)
    gone = set(probabilities) - set(kept)
    assert len(gone) == 10 and single <= set(kept)
    assert max(losses[piece] for piece in gone) <= min(losses[piece] for piece in losses if piece in kept)
    assert math.isfinite(theory.unigram_log_likelihood(TEN_WORDS, theory.prune(TEN_WORDS, probabilities, 0)))


def test_a_piece_that_nothing_replaces_is_missed_without_end() -> None:
    assert theory.pruning_loss({"ab": 1}, {"a": 0.5, "b": 0.3, "ab": 0.2}, "a") < 1
    assert theory.pruning_loss({"ab": 1}, {"a": 0.5, "ab": 0.5}, "ab") == math.inf
    with pytest.raises(ValueError, match="cannot be cut"):
        theory.encode_unigram("ac", {"a": 1.0})
