"""WordPiece and the unigram model, by dictionaries in ``theory`` and by arrays in ``zhixing.tokenizers``."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.theory import tokenization as theory
from zhixing.tokenizers import unigram, unigram_seeds, unigram_training, wordpiece, wordpiece_training
from zhixing.tokenizers.layout import pre_tokenizer, wordpiece_pre_tokenizer
from zhixing.tokenizers.words import Words

JOINS = 15
LONGEST = 4
KEPT = 10
LETTERS = "abcdefgh"


def _words(number: int) -> Any:
    """Words of few letters, so that pairs tie and pieces repeat."""
    return lambda rng: ["".join(rng.choice(list("abcd"), size=rng.integers(1, 9))) for _ in range(number)]


def _isograms(number: int) -> Any:
    """Words without a letter twice, so that no two ways of cutting are equally good."""
    return lambda rng: ["".join(rng.permutation(list(LETTERS))) for _ in range(number)]


def _weights(rng: np.random.Generator) -> Any:
    return rng.uniform(0.05, 1.0, size=4000)


def _numbers(pieces: Any) -> Any:
    """The pieces as code points, a bar after each: one array that is equal if and only if the pieces are."""
    return np.array([ord(character) for piece in pieces for character in f"{piece}|"], dtype=np.float64)


def _table(values: dict[Any, float]) -> Any:
    """Names and values in the order of names."""
    names = sorted(values)
    return np.concatenate([_numbers(names), [values[name] for name in names]])


# ---------------------------------------------------------------- WordPiece


def _symbols(corpus: list[str]) -> dict[tuple[str, ...], int]:
    return {theory.wordpiece_symbols(word): count for word, count in Counter(corpus).items()}


def _named(piece: tuple[bool, bytes]) -> str:
    return ("##" if piece[0] else "") + piece[1].decode()


def _pair_scores(corpus: list[str], score: Any) -> Any:
    text = wordpiece_training.LinkedWords(Words.of(Counter(corpus)), 64)
    pairs = text.pair_scores(score).items()
    return _table({(_named(text.pieces[a]), _named(text.pieces[b])): value for (a, b), value in pairs})


def _learned(corpus: list[str], score: Any) -> list[str]:
    counts = Counter(corpus)
    return theory.learn_wordpieces(counts, JOINS, score)[len(theory.learn_wordpieces(counts, 0)) :]


def _learn(corpus: list[str], score: Any, number: int) -> Any:
    words = Words.of(Counter(corpus))
    return wordpiece_training.learn_wordpieces(words, number, 64, 1, score)


def _encode_wordpiece(corpus: list[str], text: list[str]) -> Any:
    vocabulary = {*"abcd", *(f"##{letter}" for letter in "abcd"), *_learned(corpus, theory.wordpiece_gains)}
    return _numbers([piece for word in text for piece in theory.encode_wordpiece(word, vocabulary)])


def _encode_wordpiece_practice(corpus: list[str], text: list[str]) -> Any:
    learned = _learn(corpus, "gain", len(_learned(corpus, theory.wordpiece_gains)))
    tokenizer = wordpiece.from_pieces(learned, wordpiece_pre_tokenizer("gpt2"))
    found: list[str] = []
    for word in text:
        pieces = [tokenizer.token_bytes(token).decode() for token in tokenizer.encode(word)]
        found += [f"##{piece}" if index else piece for index, piece in enumerate(pieces)]
    return _numbers(found)


# ---------------------------------------------------------------- unigram


def _probabilities(corpus: list[str], weights: Any, longest: int = LONGEST) -> dict[str, float]:
    """Any probabilities of all pieces of the words."""
    pieces = theory.seed_pieces(Counter(corpus), longest)
    total = float(np.sum(weights[: len(pieces)]))
    return {piece: float(weight) / total for piece, weight in zip(pieces, weights, strict=False)}


def _lattice(corpus: list[str], weights: Any) -> tuple[Any, Any]:
    """The lattice of the words with all their pieces, and the logarithms of the same probabilities."""
    lattice, _ = unigram_seeds.seed_lattice(Words.of(Counter(corpus)), LONGEST, 1, 10**6)
    probabilities = _probabilities(corpus, weights)
    shares = np.array([probabilities.get(piece.decode("latin-1"), 0.0) for piece in lattice.pieces])
    return lattice, unigram_training.log_shares(shares)


def _by_piece(lattice: Any, values: Any, smallest: float = 1e-12) -> Any:
    pairs = zip(lattice.pieces, values.tolist(), strict=True)
    return _table({piece.decode("latin-1"): value for piece, value in pairs if value > smallest})


def _seeds_practice(corpus: list[str]) -> Any:
    lattice, counts = unigram_seeds.seed_lattice(Words.of(Counter(corpus)), LONGEST, 1, 10**6)
    return _by_piece(lattice, counts / counts.sum())


def _log_likelihood(corpus: list[str], weights: Any) -> Any:
    return theory.unigram_log_likelihood(Counter(corpus), _probabilities(corpus, weights))


def _log_likelihood_practice(corpus: list[str], weights: Any) -> Any:
    lattice, log_probability = _lattice(corpus, weights)
    return lattice.expected_counts(log_probability)[1]


def _expected(corpus: list[str], weights: Any) -> Any:
    return _table(theory.unigram_expected_counts(Counter(corpus), _probabilities(corpus, weights)))


def _expected_practice(corpus: list[str], weights: Any) -> Any:
    lattice, log_probability = _lattice(corpus, weights)
    return _by_piece(lattice, lattice.expected_counts(log_probability)[0])


def _step(corpus: list[str], weights: Any) -> Any:
    return _table(theory.unigram_em_step(Counter(corpus), _probabilities(corpus, weights)))


def _step_practice(corpus: list[str], weights: Any) -> Any:
    lattice, log_probability = _lattice(corpus, weights)
    return _by_piece(lattice, np.exp(unigram_training.em_step(lattice, log_probability)[0]))


def _losses(corpus: list[str], weights: Any) -> Any:
    counts, probabilities = Counter(corpus), _probabilities(corpus, weights)
    long = [piece for piece in probabilities if len(piece) > 1]
    return _table({piece: theory.pruning_loss(counts, probabilities, piece) for piece in long})


def _losses_practice(corpus: list[str], weights: Any) -> Any:
    lattice, log_probability = _lattice(corpus, weights)
    losses = lattice.losses(log_probability)
    pairs = zip(lattice.pieces, losses.tolist(), strict=True)
    return _table({piece.decode("latin-1"): loss for piece, loss in pairs if len(piece) > 1})


def _pruned(corpus: list[str], weights: Any) -> Any:
    counts = Counter(corpus)
    number = KEPT + len(set("".join(corpus)))
    return _table(theory.prune(counts, _probabilities(corpus, weights), number))


def _pruned_practice(corpus: list[str], weights: Any) -> Any:
    lattice, log_probability = _lattice(corpus, weights)
    kept, found = unigram_training.pruned(lattice, log_probability, KEPT)
    return _by_piece(kept, np.exp(found))


def _encode_unigram(corpus: list[str], weights: Any, text: list[str]) -> Any:
    probabilities = _probabilities([*corpus, LETTERS], weights)
    return _numbers([piece for word in text for piece in theory.encode_unigram(word, probabilities)])


def _encode_unigram_practice(corpus: list[str], weights: Any, text: list[str]) -> Any:
    probabilities = _probabilities([*corpus, LETTERS], weights)
    others = {bytes([byte]).decode("latin-1"): 1e-9 for byte in range(256)}
    pieces = [(piece.encode("latin-1"), math.log(p)) for piece, p in (others | probabilities).items()]
    tokenizer = unigram.from_pieces(pieces, pre_tokenizer("gpt2"))
    return _numbers([tokenizer.token_bytes(token).decode() for word in text for token in tokenizer.encode(word)])


SAME = "pieces are the same or not"
SUMS = "sums of some hundred terms, by logarithms here and by products there"


def _row(name: str, states: tuple[Any, ...], formula: Any, practice: Any, tolerance: float, **inputs: Any) -> Row:
    return Row(
        name=f"tokenization.{name}",
        family="tokenization",
        states=states,
        theory=formula,
        practice=practice,
        inputs=draw(**inputs),
        tolerance=tolerance,
        reason=SUMS if tolerance else SAME,
        takes="arrays",
    )


ROWS: tuple[Row, ...] = (
    _row(
        "wordpiece_scores",
        (theory.wordpiece_scores, theory.wordpiece_symbols),
        lambda corpus: _table(theory.wordpiece_scores(_symbols(corpus))),
        lambda corpus: _pair_scores(corpus, "ratio"),
        4.0,
        corpus=_words(30),
    ),
    _row(
        "wordpiece_gains",
        (theory.wordpiece_gains,),
        lambda corpus: _table(theory.wordpiece_gains(_symbols(corpus))),
        lambda corpus: _pair_scores(corpus, "gain"),
        16.0,
        corpus=_words(30),
    ),
    _row(
        "learn_wordpieces",
        (theory.learn_wordpieces,),
        lambda corpus: _numbers(_learned(corpus, theory.wordpiece_gains)),
        lambda corpus: _numbers(map(_named, _learn(corpus, "gain", len(_learned(corpus, theory.wordpiece_gains))))),
        0.0,
        corpus=_words(30),
    ),
    _row(
        "encode_wordpiece",
        (theory.encode_wordpiece,),
        _encode_wordpiece,
        _encode_wordpiece_practice,
        0.0,
        corpus=_words(30),
        text=_words(30),
    ),
    _row(
        "seed_pieces",
        (theory.seed_pieces,),
        lambda corpus: _table(theory.seed_pieces(Counter(corpus), LONGEST)),
        _seeds_practice,
        4.0,
        corpus=_words(30),
    ),
    _row(
        "unigram_log_likelihood",
        (theory.unigram_log_likelihood, theory.unigram_sums),
        _log_likelihood,
        _log_likelihood_practice,
        64.0,
        corpus=_words(30),
        weights=_weights,
    ),
    _row(
        "unigram_expected_counts",
        (theory.unigram_expected_counts,),
        _expected,
        _expected_practice,
        64.0,
        corpus=_words(30),
        weights=_weights,
    ),
    _row(
        "unigram_em_step", (theory.unigram_em_step,), _step, _step_practice, 64.0, corpus=_words(30), weights=_weights
    ),
    _row("pruning_loss", (theory.pruning_loss,), _losses, _losses_practice, 256.0, corpus=_words(12), weights=_weights),
    _row("prune", (theory.prune,), _pruned, _pruned_practice, 64.0, corpus=_words(12), weights=_weights),
    _row(
        "encode_unigram",
        (theory.encode_unigram,),
        _encode_unigram,
        _encode_unigram_practice,
        0.0,
        corpus=_isograms(20),
        weights=_weights,
        text=_isograms(20),
    ),
)
