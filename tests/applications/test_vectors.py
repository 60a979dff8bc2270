"""Asking vectors from a folder and from a file."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.applications import vectors
from zhixing.errors import DataError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models.interop.fasttext import write_fasttext
from zhixing.models.interop.vectors import write_vectors
from zhixing.models.save import word_vector_files
from zhixing.models.word_vectors import WordVectors

TABLE = WordVectors(
    ["man", "woman", "king", "queen", "Paris"],
    np.array([[0, 1, 0.1], [0, -1, 0.1], [1, 1, 0], [1, -1, 0], [0, 0, 2]], np.float32),
)


@pytest.fixture(params=["folder", "v.vec", "v.bin"])
def opened(request, tmp_path) -> WordVectors:
    if request.param == "folder":
        write_folder(tmp_path / "folder", word_vector_files(TABLE), facts={})
    else:
        write_vectors(TABLE, tmp_path / request.param, "binary" if request.param.endswith("bin") else "text")
    return vectors.open_vectors(tmp_path / request.param)


def test_the_three_questions(opened) -> None:
    assert vectors.similarity(opened, "man", "king") == pytest.approx(TABLE.similarity("man", "king"))
    assert vectors.neighbours(opened, "king", 1)[0][0] == "man"
    assert vectors.analogy(opened, "man", "woman", "king", 1)[0][0] == "queen"


def test_case_is_the_vectors_own() -> None:
    assert vectors.similarity(TABLE, "Man", "MAN") == pytest.approx(1)
    assert vectors.neighbours(TABLE, "Paris", 1)
    with pytest.raises(DataError, match="'paris' has no vector"):
        vectors.neighbours(TABLE, "paris", 1)


def test_files_of_questions(tmp_path) -> None:
    (tmp_path / "p.tsv").write_text("man\tking\t9\nman\tqueen\t1\nman\tx\t5\n", encoding="utf-8")
    found = vectors.similarity_of_file(TABLE, tmp_path / "p.tsv")
    assert (found.spearman, found.covered, found.total) == (pytest.approx(1), 2, 3)
    (tmp_path / "a.txt").write_text(": s\nman woman king queen\n", encoding="utf-8")
    assert vectors.analogies_of_file(TABLE, tmp_path / "a.txt").accuracy == 1


def test_nothing_there(tmp_path) -> None:
    with pytest.raises(ModelFolderError, match="no model folder"):
        vectors.open_vectors(tmp_path / "nowhere")


def test_a_fasttext_file_is_known_by_its_beginning(tmp_path) -> None:
    draw = np.random.default_rng(0)
    grams = draw.normal(size=(64, 6)).astype(np.float32)
    model = WordVectors(("where", "here", "a"), draw.normal(size=(3, 6)).astype(np.float32), grams, (3, 5))
    write_fasttext(model, tmp_path / "v.bin")
    found = vectors.open_vectors(tmp_path / "v.bin")
    assert vectors.similarity(found, "where", "here") == pytest.approx(model.similarity("where", "here"), abs=1e-5)
    assert len(vectors.neighbours(found, "unseen", 2)) == 2  # only n-grams give it a vector
