"""Byte-pair encoding, by dictionaries in ``theory`` and by fast engines in ``zhixing.tokenizers``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.theory import tokenization as theory
from zhixing.tokenizers import train
from zhixing.tokenizers.byte_alphabet import BYTE_CHARACTERS, bytes_to_characters

MERGES = 15


def _words(number: int) -> Any:
    """Words of few letters, so that pairs tie often."""
    return lambda rng: ["".join(rng.choice(list("abcd"), size=rng.integers(1, 9))) for _ in range(number)]


def _learned(corpus: list[str]) -> list[tuple[str, str]]:
    """Every word but the text's first carries the blank before it."""
    words = [corpus[0], *(f" {word}" for word in corpus[1:])]
    counts = Counter(bytes_to_characters(word.encode()) for word in words)
    return theory.learn_merges(counts, MERGES, BYTE_CHARACTERS)


def _trained(corpus: list[str]) -> Any:
    settings = train.TokenizerSettings(vocab_size=train.SMALLEST + MERGES, min_frequency=1)
    return train.train_tokenizer(settings, [" ".join(corpus)])


def _numbers(pieces: list[str]) -> Any:
    """The pieces as code points, a bar after each: one array that is equal if and only if the pieces are."""
    return np.array([ord(character) for piece in pieces for character in f"{piece}|"])


def _merges_practice(corpus: list[str]) -> Any:
    tokenizer = _trained(corpus)
    return _numbers([bytes_to_characters(tokenizer.token_bytes(256 + index)) for index in range(MERGES)])


def _encode(corpus: list[str], text: list[str]) -> Any:
    merges = _learned(corpus)
    return _numbers([piece for word in text for piece in theory.encode(word, merges)])


def _encode_by_union(corpus: list[str], text: list[str]) -> Any:
    ranks = {left + right: index for index, (left, right) in enumerate(_learned(corpus))}
    return _numbers([piece for word in text for piece in theory.encode_by_union(word, ranks)])


def _encode_practice(corpus: list[str], text: list[str]) -> Any:
    tokenizer = _trained(corpus)
    ids = [token for word in text for token in tokenizer.encode(word)]
    return _numbers([bytes_to_characters(tokenizer.token_bytes(token)) for token in ids])


def _encode_batch_practice(corpus: list[str], text: list[str]) -> Any:
    """The bulk engine, which merges by the rank of the union."""
    tokenizer = _trained(corpus)
    ids = [int(token) for word in tokenizer.encode_batch(text) for token in word]
    return _numbers([bytes_to_characters(tokenizer.token_bytes(token)) for token in ids])


def _row(name: str, states: tuple[Any, ...], formula: Any, practice: Any, **inputs: Any) -> Row:
    return Row(
        name=f"tokenization.{name}",
        family="tokenization",
        states=states,
        theory=formula,
        practice=practice,
        inputs=draw(corpus=_words(40), **inputs),
        tolerance=0.0,
        reason="pieces are the same or not",
        takes="arrays",
    )


ROWS: tuple[Row, ...] = (
    _row(
        "learn_merges",
        (theory.learn_merges, theory.pair_counts, theory.merge_pair),
        lambda corpus: _numbers([left + right for left, right in _learned(corpus)]),
        _merges_practice,
    ),
    _row("encode", (theory.encode,), _encode, _encode_practice, text=_words(30)),
    _row("encode_batch", (theory.encode_by_union,), _encode_by_union, _encode_batch_practice, text=_words(30)),
)
