"""Word vectors: word2vec's text and binary files, and fastText's, both ways.

Parity is gensim's where it is installed, else that of the file read back: the largest difference of a number, words
that are not in the table among them where there are n-grams, and whether the nearest neighbours are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zhixing.exchange.formats import Made, Options, file_of
from zhixing.exchange.parity import Measure, Parity
from zhixing.language import tr
from zhixing.models.interop.fasttext import read_fasttext, write_fasttext
from zhixing.models.interop.vectors import read_vectors, write_vectors
from zhixing.models.save import word_vector_files
from zhixing.models.word_vectors import WordVectors, load_word_vectors

_ASKED = 50
_NEIGHBOURS = 10
_BOUND = 2e-6

Form = Literal["text", "binary", "fasttext"]


@dataclass(frozen=True)
class There:
    """A table of vectors in another program."""

    vector: Callable[[str], Any]
    neighbours: Callable[[str], list[str]]


@dataclass(frozen=True)
class VectorFormat:
    """One kind of file; offers what ``FormatModule`` asks for."""

    form: Form
    file: str

    def export_files(self, source: Path, options: Options) -> Made:
        """Return the one file; errors as ``load_word_vectors``, ``write_vectors`` and ``write_fasttext``."""
        model = load_word_vectors(source)
        return Made({self.file: lambda path: self._write(model, path)})

    def import_files(self, source: Path, options: Options) -> Made:
        """Return a model folder of word vectors; errors as ``read_vectors`` and ``read_fasttext``."""
        return Made(word_vector_files(self._read(self._path(source))))

    def check(self, ours: Path, theirs: Path, options: Options) -> Parity:
        """Compare a model folder with the file, opened by gensim or read back."""
        model, path = load_word_vectors(ours), self._path(theirs)
        lost = model.grams is not None and self.form != "fasttext"
        notes = (tr("n-grams stay behind: the format has none", "字符 n 元未带上：该格式没有"),) if lost else ()
        try:
            import gensim
        except ImportError:
            note = tr(
                "the file was read back by this program only: gensim is not installed",
                "仅由本程序读回核对：未安装 gensim",
            )
            return Parity(tr("this program", "本程序"), _compare(model, _ours(self._read(path)), lost), (*notes, note))
        return Parity(f"gensim {gensim.__version__}", _compare(model, self._gensim(path), lost), notes)

    def _path(self, source: Path) -> Path:
        return file_of(source, self.file)

    def _write(self, model: WordVectors, path: Path) -> None:
        if self.form == "fasttext":
            write_fasttext(model, path)
        else:
            write_vectors(model, path, self.form)

    def _read(self, path: Path) -> WordVectors:
        return read_fasttext(path) if self.form == "fasttext" else read_vectors(path, self.form)

    def _gensim(self, path: Path) -> There:
        from gensim.models import KeyedVectors
        from gensim.models.fasttext import load_facebook_vectors

        if self.form == "fasttext":
            table = load_facebook_vectors(str(path))
        else:
            table = KeyedVectors.load_word2vec_format(str(path), binary=self.form == "binary")
        return There(
            lambda word: table[word], lambda word: [one for one, _ in table.most_similar(word, topn=_NEIGHBOURS)]
        )


TEXT = VectorFormat("text", "vectors.vec")
BINARY = VectorFormat("binary", "vectors.bin")
FASTTEXT = VectorFormat("fasttext", "fasttext.bin")


def _ours(model: WordVectors) -> There:
    return There(model.vector, lambda word: [one for one, _ in model.neighbours(word, _NEIGHBOURS)])


def _compare(model: WordVectors, there: There, lost: bool) -> tuple[Measure, ...]:
    unseen = [] if model.grams is None or lost else [f"{word}{word[::-1]}" for word in model.words[:: _step(model)]]
    worst, where = 0.0, ""
    for word in [*model.words, *unseen]:
        difference = np.abs(model.vector(word).astype(np.float64) - np.asarray(there.vector(word), np.float64)).max()
        if not difference <= worst:
            worst, where = float(difference), f"'{word}'"
    largest = float(np.abs(model.vectors).max())
    asked = [word for word in model.words[:: _step(model)] if np.any(model.vector(word))]
    same = [
        [one for one, _ in model.neighbours(word, _NEIGHBOURS)] == there.neighbours(word)[: len(model) - 1]
        for word in asked
    ]
    return (
        Measure(
            "vector_difference",
            tr("largest difference of a number", "数值的最大差"),
            worst,
            _BOUND * max(1.0, largest),
            note=where,
        ),
        Measure("words", tr("words compared", "比较的词数"), len(model) + len(unseen)),
        Measure(
            "equal_neighbours",
            tr("words with the same neighbours", "近邻相同的词"),
            sum(same) / max(len(same), 1),
            0.9,
            at_least=True,
            note=tr(f"{sum(same)} of {len(same)}", f"{len(same)} 个中 {sum(same)} 个"),
        ),
    )


def _step(model: WordVectors) -> int:
    return max(1, len(model) // _ASKED)
