"""The topics, one file per family of ``theory``, in the order in which a course would tell them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zhixing.explain.topic import Topic
from zhixing.explain.topics import (
    attention,
    compression,
    decoding,
    hmm,
    learning_losses,
    losses,
    measures,
    mixture,
    networks,
    ngram,
    normalisation,
    optimizers,
    positions,
    recurrent,
    regularisation,
    schedules,
    search,
    text_measures,
    tokenization,
    transformer,
    trust,
    warm_start,
    window_models,
    words,
)

MAKERS: tuple[Callable[[], Topic[Any]], ...] = (
    *tokenization.TOPICS,
    *ngram.TOPICS,
    *hmm.TOPICS,
    *words.TOPICS,
    *networks.TOPICS,
    *losses.TOPICS,
    *learning_losses.TOPICS,
    *optimizers.TOPICS,
    *schedules.TOPICS,
    *regularisation.TOPICS,
    *window_models.TOPICS,
    *recurrent.TOPICS,
    *attention.TOPICS,
    *positions.TOPICS,
    *normalisation.TOPICS,
    *transformer.TOPICS,
    *decoding.TOPICS,
    *search.TOPICS,
    *measures.TOPICS,
    *text_measures.TOPICS,
    *mixture.TOPICS,
    *warm_start.TOPICS,
    *compression.TOPICS,
    *trust.TOPICS,
)


def topics() -> dict[str, Topic[Any]]:
    """Return every topic by name, in the language of the moment."""
    return {topic.name: topic for topic in (make() for make in MAKERS)}
