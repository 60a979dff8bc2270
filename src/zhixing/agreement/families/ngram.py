"""N-gram smoothing, by dictionaries in ``theory`` and by sorted arrays in ``zhixing.models.ngram``."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.models import ngram as practice
from zhixing.theory import ngram as theory

VOCABULARY, ORDER, SEPARATOR = 7, 3, 0
DOCUMENTS, LENGTH, HELD_OUT = 12, 30, 25


def _texts(rows: int, length: int) -> Any:
    """Ids of which small ones are common, so that the counts are as uneven as those of words."""

    def generate(rng: np.random.Generator) -> Any:
        share = np.array([0.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.0])  # the last id is never met
        texts = rng.choice(VOCABULARY, p=share / share.sum(), size=(rows, length))
        texts[:, 0] = texts[:, -1] = SEPARATOR
        return texts

    return generate


def _kneser_ney(corpus: Any, text: Any) -> Any:
    model = theory.kneser_ney(corpus.tolist(), ORDER, SEPARATOR, VOCABULARY)
    return [
        [
            np.log([model.probability(word, tuple(row[max(0, end - ORDER + 1) : end])) for word in range(VOCABULARY)])
            for end in range(1, len(row))
        ]
        for row in text.tolist()
    ]


def _kneser_ney_practice(corpus: Any, text: Any) -> Any:
    """Read the text id by id, as decoding does."""
    model = practice.NgramModel.fit(list(corpus), VOCABULARY, SEPARATOR, ORDER)
    found = []
    for row in text:
        state = model.initial_state(1)
        for token in row[:-1]:
            log_probs, state = model.next_log_probs(np.array([[token]]), state)
            found.append(log_probs[0])
    return found


def _scores(corpus: Any, text: Any) -> Any:
    by_position = np.array(_kneser_ney(corpus, text))
    return np.take_along_axis(by_position, text[:, 1:, None], axis=2)[..., 0]


ROWS: tuple[Row, ...] = (
    Row(
        name="ngram.kneser_ney",
        family="ngram",
        states=(
            theory.kneser_ney,
            theory.count_ngrams,
            theory.adjusted_counts,
            theory.counts_of_counts,
            theory.modified_discounts,
            theory.single_discount,
        ),
        theory=_kneser_ney,
        practice=_kneser_ney_practice,
        inputs=draw(corpus=_texts(DOCUMENTS, LENGTH), text=_texts(2, HELD_OUT)),
        tolerance=8.0,
        reason="probabilities and back-off weights are stored in float32, and at most three are multiplied",
        takes="arrays",
        coarsest="float32",
    ),
    Row(
        name="ngram.score",
        family="ngram",
        states=(theory.kneser_ney,),
        theory=_scores,
        practice=lambda corpus, text: practice.NgramModel.fit(list(corpus), VOCABULARY, SEPARATOR, ORDER).score(text),
        inputs=draw(corpus=_texts(DOCUMENTS, LENGTH), text=_texts(2, HELD_OUT)),
        tolerance=8.0,
        reason="as above",
        takes="arrays",
        coarsest="float32",
    ),
)
