"""Asking an encoder of sentences: how alike two are, which of several is nearest, how well it ranks judged pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zhixing.errors import reading
from zhixing.evaluation.word_pairs import PairsResult, judge_cosines, read_pairs
from zhixing.models.sentence_embedding import SentenceEncoder, unit

Ranked = list[tuple[str, float]]


def holds_encoder(source: str | Path) -> bool:
    """Say whether ``source`` is the folder of a model that reads sentences on both sides, such as a BERT.

    Raises:
        ModelFolderError: its ``config.json`` is damaged.
        DataError: it cannot be read.
    """
    from zhixing.model_folder import read_config
    from zhixing.models.families import ENCODERS, NEURAL

    folder = Path(source)
    with reading(folder):
        if not (folder / "config.json").is_file():
            return False
        return NEURAL.get(str(read_config(folder).get("model_type"))) in ENCODERS


def nearest(encoder: SentenceEncoder, text: str, others: Sequence[str]) -> Ranked:
    """Return the other texts and their cosines with ``text``, the nearest first.

    Raises:
        ContextLengthError: a text is longer than the model can see.
    """
    cosines = encoder.similarity(text, others)[0]
    return [(others[index], float(cosines[index])) for index in np.argsort(-cosines, kind="stable")]


def similarity_of_file(encoder: SentenceEncoder, path: str | Path) -> PairsResult:
    """Return how the vectors' cosines rank the pairs of a file: lines of two sentences and a score, with tabs between.

    Raises:
        DataError: a line is none of these.
        ContextLengthError: a sentence is longer than the model can see.
    """
    pairs = read_pairs(path)
    first, second = unit(encoder([a for a, _, _ in pairs])), unit(encoder([b for _, b, _ in pairs]))
    cosines = (first.astype(np.float64) * second).sum(axis=1)
    return judge_cosines(cosines, np.array([score for _, _, score in pairs]), len(pairs))
