"""Tables of vectors: settings, nearness, unseen words, and folders that are damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from zhixing.errors import DataError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models.load import load
from zhixing.models.save import word_vector_files
from zhixing.models.word_vectors import WordVectors, WordVectorSettings, load_word_vectors

WORDS = ["king", "queen", "man", "woman", "apple"]
VECTORS = np.array([[1, 1, 0], [1, -1, 0], [0, 1, 0.1], [0, -1, 0.1], [0, 0, 3]], np.float32)


@pytest.fixture
def table() -> WordVectors:
    return WordVectors(WORDS, VECTORS, made_by={"kind": "cbow"})


def test_similarity_is_the_cosine(table) -> None:
    assert table.similarity("king", "queen") == pytest.approx(0.0, abs=1e-7)
    assert table.similarity("king", "man") == pytest.approx(1 / np.sqrt(2 * 1.01), rel=1e-6)


def test_neighbours_leave_the_word_itself_out(table) -> None:
    found = table.neighbours("king", 10)
    assert [word for word, _ in found][:1] == ["man"]
    assert len(found) == 4 and "king" not in dict(found)
    assert [c for _, c in found] == sorted((c for _, c in found), reverse=True)


def test_analogy(table) -> None:
    assert table.analogy("man", "woman", "king")[0][0] == "queen"


def test_unknown_word_is_refused_and_with_n_grams_has_a_vector() -> None:
    with pytest.raises(DataError, match="'kink' has no vector"):
        WordVectors(WORDS, VECTORS).vector("kink")
    grams = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    open_table = WordVectors(WORDS, VECTORS, grams)
    assert open_table.vector("kink").shape == (3,) and np.abs(open_table.vector("kink")).max() > 0
    assert open_table.similarity("kinking", "kink") > open_table.similarity("kinking", "zzz")
    with pytest.raises(DataError, match="has no vector"):
        open_table.vector("")


@pytest.mark.parametrize("grams", [None, np.ones((4, 3), np.float32)])
def test_a_folder_gives_back_the_same_table(table, grams, tmp_path) -> None:
    made = WordVectors(["king", "知行", "naïve", "a\u2028b", "x"], VECTORS, grams, (2, 4), {"kind": "glove"})
    write_folder(tmp_path / "model", word_vector_files(made), facts={})
    found = load_word_vectors(tmp_path / "model")
    assert found.words == made.words and found.made_by == made.made_by
    assert np.array_equal(found.vectors, made.vectors)
    assert (found.grams is None) == (grams is None)
    assert grams is None or found.lengths == (2, 4)


def _with(folder, **changes) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | changes), encoding="utf-8")
    (folder / "MANIFEST.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "not word vectors"),
        ({"width": 4}, "do not fit config.json"),
        ({"buckets": 9, "gram_lengths": [3, 6]}, "do not fit config.json"),
        ({"gram_lengths": [0, "x"]}, "gram_lengths"),
        ({"settings": [1]}, "settings should be an object"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(table, tmp_path, changes, message) -> None:
    write_folder(tmp_path / "model", word_vector_files(table), facts={})
    _with(tmp_path / "model", **changes)
    with pytest.raises(ModelFolderError, match=message):
        load_word_vectors(tmp_path / "model")


def test_words_that_do_not_fit_are_refused(table, tmp_path) -> None:
    write_folder(tmp_path / "model", word_vector_files(table), facts={})
    _with(tmp_path / "model")
    (tmp_path / "model" / "vocabulary.txt").write_text("king\nking\na\nb\nc\n", encoding="utf-8")
    with pytest.raises(ModelFolderError, match="one different word"):
        load_word_vectors(tmp_path / "model")
    (tmp_path / "model" / "vocabulary.txt").write_bytes("国王\n".encode("gb18030"))
    with pytest.raises(ModelFolderError, match=r"vocabulary.txt is not UTF-8"):
        load_word_vectors(tmp_path / "model")


def test_a_table_is_no_language_model(table, tmp_path) -> None:
    write_folder(tmp_path / "model", word_vector_files(table), facts={})
    with pytest.raises(ModelFolderError, match="word vectors"):
        load(tmp_path / "model")
    with pytest.raises(ModelFolderError, match="no model folder"):
        load_word_vectors(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "glove", "subwords": True},
        {"kind": "glove", "loss": "hierarchical_softmax"},
        {"shortest_gram": 5, "longest_gram": 4},
        {"width": 0},
        {"learning_rate": 0.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        WordVectorSettings(**wrong)


def test_each_kind_has_its_rate() -> None:
    assert WordVectorSettings().rate == 0.025
    assert WordVectorSettings(kind="cbow").rate == 0.1
    assert WordVectorSettings(learning_rate=0.5).rate == 0.5
