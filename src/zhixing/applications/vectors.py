"""Asking word vectors: how alike two words are, which are near, what is to c as b is to a."""

from __future__ import annotations

from pathlib import Path

from zhixing.errors import reading
from zhixing.evaluation.word_pairs import (
    AnalogyResult,
    PairsResult,
    judge_analogies,
    judge_pairs,
    read_analogies,
    read_pairs,
    speller,
)
from zhixing.models.interop.fasttext import is_fasttext, read_fasttext
from zhixing.models.interop.vectors import read_vectors
from zhixing.models.word_vectors import WordVectors, load_word_vectors

Ranked = list[tuple[str, float]]


def open_vectors(source: str | Path) -> WordVectors:
    """Open a model folder of word vectors, or a file of word2vec, GloVe or fastText, text or binary.

    Raises:
        ModelFolderError: a folder that holds none.
        DataError: a file that cannot be read or is not whole.
    """
    path = Path(source)
    with reading(path):
        if not path.is_file():
            return load_word_vectors(path)
        with path.open("rb") as file:
            return (read_fasttext if is_fasttext(file.read(4)) else read_vectors)(path)


def similarity(model: WordVectors, first: str, second: str) -> float:
    """Return the cosine of two words, -1 to 1; the case of letters is the vectors' own.

    Raises:
        DataError: a word has no vector.
    """
    return model.similarity(_spelled(model, first), _spelled(model, second))


def neighbours(model: WordVectors, word: str, number: int = 10) -> Ranked:
    """Return the words nearest to a word, and their cosines.

    Raises:
        DataError: it has no vector.
    """
    return model.neighbours(_spelled(model, word), number)


def analogy(model: WordVectors, first: str, second: str, third: str, number: int = 5) -> Ranked:
    """Return what is to ``third`` as ``second`` is to ``first``, the best first.

    Raises:
        DataError: a word has no vector.
    """
    return model.analogy(_spelled(model, first), _spelled(model, second), _spelled(model, third), number)


def similarity_of_file(model: WordVectors, path: str | Path) -> PairsResult:
    """Return how the vectors rank the word pairs of a file."""
    return judge_pairs(model, read_pairs(path))


def analogies_of_file(model: WordVectors, path: str | Path) -> AnalogyResult:
    """Return how many analogies of a file the vectors answer."""
    return judge_analogies(model, read_analogies(path))


def _spelled(model: WordVectors, word: str) -> str:
    return speller(model)(word) or word
