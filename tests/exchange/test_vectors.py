"""Word vectors to files and back, beside gensim where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from zhixing.errors import DataError, ModelFolderError
from zhixing.exchange.run import export_model, import_model
from zhixing.model_folder import write_folder
from zhixing.models.save import word_vector_files
from zhixing.models.word_vectors import WordVectors, load_word_vectors

FORMATS = {"word2vec": "vectors.vec", "word2vec-binary": "vectors.bin", "fasttext": "fasttext.bin"}


@pytest.fixture(params=["plain", "grams"])
def source(request, tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(60)] + ["知行", "naïve"]
    grams = rng.normal(size=(500, 8)).astype(np.float32) if request.param == "grams" else None
    model = WordVectors(words, rng.normal(size=(len(words), 8)).astype(np.float32), grams, (3, 5))
    write_folder(tmp_path / "vectors", word_vector_files(model), facts={})
    return tmp_path / "vectors"


@pytest.mark.parametrize("engine", ["gensim", "this program"])
@pytest.mark.parametrize("name", FORMATS)
def test_there_and_back(source, name, engine, options, tmp_path, monkeypatch) -> None:
    if engine == "gensim":
        pytest.importorskip("gensim")
    else:
        monkeypatch.setitem(sys.modules, "gensim", None)
    sent = export_model(source, name, tmp_path / "there", options)
    back = import_model(tmp_path / "there" / FORMATS[name], tmp_path / "back", options=options)
    again = import_model(tmp_path / "there", tmp_path / "again", options=options)
    for found in (sent, back, again):
        assert found.ok and found.format == name and found.parity.checked_with.startswith(engine)
        measures = {one.name: one for one in found.parity.measures}
        assert measures["vector_difference"].value < 2e-6 and measures["equal_neighbours"].value == 1
    one, other = load_word_vectors(source), load_word_vectors(tmp_path / "back")
    assert one.words == other.words
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)
    if one.grams is not None:
        assert (other.grams is not None) == (name == "fasttext")
        assert ("n-grams stay behind" in sent.render()) == (name != "fasttext")


def test_damage_is_refused_with_its_line(tmp_path, options) -> None:
    (tmp_path / "v.vec").write_text("2 2\na 1 2\na 3 4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"v.vec:3: repeats"):
        import_model(tmp_path / "v.vec", tmp_path / "out", options=options)
    (tmp_path / "v.vec").write_text("2 2\na 1 nan\nb 3 4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"v.vec:2"):
        import_model(tmp_path / "v.vec", tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_a_language_model_holds_no_vectors(make, options) -> None:
    with pytest.raises(ModelFolderError, match="not word vectors"):
        export_model(make("gpt2"), "word2vec", options=options)
