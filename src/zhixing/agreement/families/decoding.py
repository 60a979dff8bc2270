"""Decoding rules against ``zhixing.generation``: filters, sampling, beam search (NumPy, float64).

Production works on log-probabilities and removes a token by -inf; the formulas work on probabilities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw, normal
from zhixing.generation import beam, filters, sampling
from zhixing.generation.settings import GenerationSettings
from zhixing.models.ngram import NgramModel
from zhixing.theory import decoding as theory
from zhixing.theory.networks import log_softmax, softmax
from zhixing.tokenizers.bytes import ByteTokenizer

VOCABULARY = 50
SCORES = normal(VOCABULARY, scale=2.0)


def _ids(rng: np.random.Generator) -> Any:
    return rng.choice(VOCABULARY, size=9, replace=False)


def _reshaping(name: str, rule: Any, practice: Any, value: float, states: tuple[Any, ...]) -> Row:
    return Row(
        name=f"decoding.{name}",
        family="decoding",
        states=states,
        theory=lambda scores: rule(scores, value),
        practice=lambda scores: softmax(practice(log_softmax(scores), value)),
        inputs=draw(scores=SCORES),
        tolerance=64.0,
        reason="a sum of 50 exponentials, and a quotient by it",
        takes="arrays",
    )


def _race(scores: Any, seed: int) -> Any:
    numbers = np.random.Generator(np.random.Philox(key=seed)).standard_exponential((40, VOCABULARY))
    return [theory.exponential_race(softmax(scores), row) for row in numbers]


def _draws(scores: Any, seed: int) -> Any:
    draw_one = sampling.Draw(seed)
    return [draw_one.choose(scores) for _ in range(40)]


BEAMS, LIMIT, ALPHA = 3, 8, 0.8
PROMPT = "ab"


def _trigram(ids: Any) -> tuple[NgramModel, ByteTokenizer]:
    """A trigram model of texts of four letters, cut where a 0 stands."""
    tokenizer = ByteTokenizer()
    stream = np.where(ids == 0, tokenizer.separator_id, ids + ord("a") - 1)
    return NgramModel.fit([stream], tokenizer.vocab_size, tokenizer.separator_id, order=3), tokenizer


def _search_theory(ids: Any) -> Any:
    """Every hypothesis is read from its beginning, so that no state can go astray."""
    model, tokenizer = _trigram(ids)
    prompt = (tokenizer.separator_id, *tokenizer.encode(PROMPT))
    never = sorted(tokenizer.special_ids - {tokenizer.separator_id})

    def next_log_probs(so_far: tuple[int, ...]) -> Any:
        row = model.next_log_probs(np.array([[*prompt, *so_far]]), model.initial_state(1))[0][0].astype(np.float64)
        row[never] = -np.inf
        return row

    found = theory.beam_search(next_log_probs, BEAMS, LIMIT, tokenizer.separator_id, ALPHA)
    return [[np.array(so_far), theory.penalised((so_far, total), ALPHA)] for so_far, total in found]


def _search(ids: Any) -> Any:
    model, tokenizer = _trigram(ids)
    settings = GenerationSettings(temperature=0.0, max_new_tokens=LIMIT, n=BEAMS)
    found = beam.beam_search(model, tokenizer, [PROMPT], settings, beams=BEAMS, alpha=ALPHA)
    return [[np.array(g.ids), sum(g.log_probs) / beam.length_penalty(len(g.ids), ALPHA)] for g in found]


ROWS: tuple[Row, ...] = (
    _reshaping("temperature", theory.softmax, lambda s, v: filters.temperature(s, v), 0.7, (theory.softmax,)),
    _reshaping(
        "top_k",
        lambda s, k: theory.top_k(softmax(s), k),
        lambda s, k: filters.top_k(s, k),
        8,
        (theory.top_k, theory.renormalise),
    ),
    _reshaping(
        "top_p",
        lambda s, mass: theory.top_p(softmax(s), mass),
        lambda s, mass: filters.top_p(s, mass),
        0.8,
        (theory.top_p, theory.renormalise),
    ),
    _reshaping(
        "min_p",
        lambda s, fraction: theory.min_p(softmax(s), fraction),
        lambda s, fraction: filters.min_p(s, fraction),
        0.1,
        (theory.min_p, theory.renormalise),
    ),
    Row(
        name="decoding.repetition_penalty",
        family="decoding",
        states=(theory.repetition_penalty,),
        theory=lambda scores, seen: theory.repetition_penalty(scores, seen, 1.3),
        practice=lambda scores, seen: filters.repetition(scores, seen, 1.3),
        inputs=draw(scores=SCORES, seen=_ids),
        tolerance=2.0,
        reason="one product or quotient",
        takes="arrays",
    ),
    Row(
        name="decoding.count_penalties",
        family="decoding",
        states=(theory.count_penalties,),
        theory=lambda scores, ids, counts: theory.count_penalties(scores, np.repeat(ids, counts), 0.4, 0.3),
        practice=lambda scores, ids, counts: filters.presence_frequency(scores, ids, counts, 0.4, 0.3),
        inputs=draw(scores=SCORES, ids=_ids, counts=lambda rng: rng.integers(1, 4, size=9)),
        tolerance=4.0,
        reason="one product and two differences",
        takes="arrays",
    ),
    Row(
        name="decoding.exponential_race",
        family="decoding",
        states=(theory.exponential_race,),
        theory=_race,
        practice=_draws,
        inputs=draw(scores=SCORES, seed=11),
        tolerance=0.0,
        reason="the same token wins each of 40 races run with the same numbers",
        takes="arrays",
    ),
    Row(
        name="decoding.beam_search",
        family="decoding",
        states=(theory.beam_search, theory.penalised, theory.length_penalty),
        theory=_search_theory,
        practice=_search,
        inputs=draw(ids=lambda rng: rng.choice(5, size=400, p=(0.04, 0.24, 0.24, 0.24, 0.24))),
        tolerance=16.0,
        reason="the same three texts; a sum of eight numbers divided by a power",
        takes="arrays",
    ),
)
