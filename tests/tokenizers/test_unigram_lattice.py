"""The sums over all ways of cutting are those of the formulas, word by word and piece by piece."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from zhixing.theory import tokenization as theory
from zhixing.tokenizers import unigram_seeds
from zhixing.tokenizers.unigram_lattice import BYTES, Lattice
from zhixing.tokenizers.unigram_seeds import seed_lattice
from zhixing.tokenizers.words import Words

WORDS = {"low": 5, "lower": 2, "lowest": 3, "newest": 6, "banana": 4, "nana": 1, "oooooo": 2, "w": 3}


def lattice_of(words: dict[str, int], longest: int) -> Lattice:
    return seed_lattice(Words.of(words), longest, min_frequency=1, number=10**6)[0]


def random_probabilities(words: dict[str, int], longest: int, seed: int) -> dict[str, float]:
    draw = random.Random(seed)
    weights = {piece: draw.random() ** 2 + 1e-4 for piece in theory.seed_pieces(words, longest)}
    return {piece: weight / sum(weights.values()) for piece, weight in weights.items()}


def logarithms(lattice: Lattice, probabilities: dict[str, float]) -> np.ndarray:
    return np.array([math.log(probabilities.get(piece.decode("latin-1"), 1e-300)) for piece in lattice.pieces])


def by_piece(lattice: Lattice, values: np.ndarray) -> dict[str, float]:
    return {piece.decode("latin-1"): float(value) for piece, value in zip(lattice.pieces, values, strict=True) if value}


def test_seeds_are_every_run_with_its_count() -> None:
    words = Words.of(WORDS)
    lattice, counts = seed_lattice(words, longest=4, min_frequency=1, number=10**6)
    expected = theory.seed_pieces(WORDS, longest=4)
    assert by_piece(lattice, counts / counts.sum()) == pytest.approx(expected, rel=1e-12)
    rare, rare_counts = seed_lattice(words, longest=4, min_frequency=7, number=10**6)
    total = counts.sum()
    long = {piece: share * total for piece, share in expected.items() if len(piece) > 1 and share * total > 6.5}
    assert {p: c for p, c in by_piece(rare, rare_counts).items() if len(p) > 1} == pytest.approx(long)


def test_of_too_many_seeds_those_with_the_largest_count_times_length_stay() -> None:
    everything, counts = seed_lattice(Words.of(WORDS), 6, 1, 10**6)
    some, _ = seed_lattice(Words.of(WORDS), 6, 1, 5)
    value = {p: c * len(p) for p, c in by_piece(everything, counts).items() if len(p) > 1}
    kept = {piece.decode() for piece in some.pieces[BYTES:]}
    assert len(kept) == 5
    assert min(value[piece] for piece in kept) >= max(value[piece] for piece in value.keys() - kept)


def test_no_seed_ends_inside_a_character() -> None:
    lattice, _ = seed_lattice(Words.of({"知行合一": 3, "é知行": 2, "a🙂b": 2}), 12, 1, 10**6)
    for piece in lattice.pieces[BYTES:]:
        assert piece.decode("utf-8")
    assert {"知", "知行", "🙂", "é知行"} <= {piece.decode("utf-8") for piece in lattice.pieces[BYTES:]}


@pytest.mark.parametrize("seed", range(5))
def test_expected_counts_and_likelihood(seed: int) -> None:
    lattice, probabilities = lattice_of(WORDS, 4), random_probabilities(WORDS, 4, seed)
    counts, log_likelihood = lattice.expected_counts(logarithms(lattice, probabilities))
    assert log_likelihood == pytest.approx(theory.unigram_log_likelihood(WORDS, probabilities), rel=1e-12)
    assert by_piece(lattice, counts) == pytest.approx(theory.unigram_expected_counts(WORDS, probabilities), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_losses_are_those_of_taking_each_piece_out(seed: int) -> None:
    lattice, probabilities = lattice_of(WORDS, 4), random_probabilities(WORDS, 4, seed)
    if seed == 0:  # one that is nearly always used
        probabilities["low"] = 1e6
    losses = lattice.losses(logarithms(lattice, probabilities))
    assert np.isinf(losses[:BYTES]).all()
    for piece, loss in zip(lattice.pieces[BYTES:], losses[BYTES:], strict=True):
        expected = theory.pruning_loss(WORDS, probabilities, piece.decode())
        assert loss == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_lattice_without_some_pieces_is_that_of_the_others() -> None:
    lattice, probabilities = lattice_of(WORDS, 5), random_probabilities(WORDS, 5, 1)
    mask = np.array([len(piece) == 1 or piece[0] not in b"ae" for piece in lattice.pieces])
    kept = {piece: p for piece, p in probabilities.items() if len(piece) == 1 or piece[0] not in "ae"}
    smaller = lattice.keep(mask)
    counts, log_likelihood = smaller.expected_counts(logarithms(smaller, kept))
    assert log_likelihood == pytest.approx(theory.unigram_log_likelihood(WORDS, kept), rel=1e-12)
    assert by_piece(smaller, counts) == pytest.approx(theory.unigram_expected_counts(WORDS, kept), rel=1e-9)


def test_blocks_and_threads_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities = random_probabilities(WORDS, 4, 2)
    one = lattice_of(WORDS, 4)
    monkeypatch.setattr(unigram_seeds, "_BLOCK", 10)
    many = lattice_of(WORDS, 4)
    assert len(many._blocks) > 3 and len(one._blocks) == 1
    for together, apart in zip(
        one.expected_counts(logarithms(one, probabilities)), many.expected_counts(logarithms(many, probabilities)),
        strict=True,
    ):  # fmt: skip
        assert np.allclose(together, apart, rtol=1e-12, atol=0)
    assert np.allclose(
        one.losses(logarithms(one, probabilities)), many.losses(logarithms(many, probabilities)), rtol=1e-9
    )


def test_a_long_rare_word_does_not_underflow() -> None:
    lattice = lattice_of({"x" * 60 + "y": 1}, 1)
    log_probability = np.full(BYTES, -20.0)
    assert lattice.expected_counts(log_probability)[1] == pytest.approx(-20.0 * 61)
