"""Theory and production of byte-pair encoding agree: the same merges, the same symbols."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import tokenizers

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
