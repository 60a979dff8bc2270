"""Vector files: what is written is read back; what is not whole is refused with its line."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.errors import DataError
from zhixing.models.interop.vectors import read_vectors, write_vectors
from zhixing.models.word_vectors import WordVectors

RNG = np.random.default_rng(0)
TABLE = WordVectors(["the", "知行", "naïve", "x"], RNG.normal(size=(4, 5)).astype(np.float32))


@pytest.mark.parametrize(("form", "name"), [("text", "v.vec"), ("binary", "v.bin")])
def test_round_trip_is_exact(tmp_path, form, name) -> None:
    write_vectors(TABLE, tmp_path / name, form)
    found = read_vectors(tmp_path / name)
    assert found.words == TABLE.words and np.array_equal(found.vectors, TABLE.vectors)


@pytest.mark.parametrize(("form", "name"), [("text", "v.vec"), ("binary", "v.bin")])
def test_gensim_reads_ours_and_we_read_gensims(tmp_path, form, name) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    write_vectors(TABLE, tmp_path / name, form)
    theirs = keyed.load_word2vec_format(str(tmp_path / name), binary=form == "binary")
    assert theirs.index_to_key == list(TABLE.words) and np.allclose(theirs.vectors, TABLE.vectors, rtol=1e-6)
    theirs.save_word2vec_format(str(tmp_path / f"g{name}"), binary=form == "binary", sort_attr="count")
    ours = read_vectors(tmp_path / f"g{name}")
    assert set(ours.words) == set(TABLE.words)
    assert np.allclose(ours.vector("x"), TABLE.vector("x"), rtol=1e-6)


def test_binary_without_line_feeds_is_read(tmp_path) -> None:
    entries = b"".join(w.encode() + b" " + v.tobytes() for w, v in zip(TABLE.words, TABLE.vectors, strict=True))
    (tmp_path / "v.bin").write_bytes(b"4 5\n" + entries)
    assert np.array_equal(read_vectors(tmp_path / "v.bin").vectors, TABLE.vectors)


def test_gloves_own_files_have_no_first_line(tmp_path) -> None:
    (tmp_path / "v.txt").write_text("a 1 2 3\nb 4 5 6\n", encoding="utf-8")
    found = read_vectors(tmp_path / "v.txt")
    assert found.words == ("a", "b") and found.vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("2 2\na 1 2\n", 2, "ends after 1 of 2"),
        ("1 2\na 1 2\nb 3 4\n", 3, "beyond the 1 words"),
        ("2 2\na 1 2\na 3 4\n", 3, "repeats the word 'a' of line 2"),
        ("2 2\na 1 2\nb nan 4\n", 3, "not finite"),
        ("2 2\na 1 2\nb 1e39 4\n", 3, "not finite"),
        ("2 2\na 1 2\nb 3\n", 3, "has 1 numbers, not 2"),
        ("2 2\na 1 2\nb 3 4x\n", 3, "no number"),
        ("2 2\n 1 2\nb 3 4\n", 2, "has no word"),
        ("0 2\n", 1, "number of words and the width"),
        ("999999 300\na 1 2\n", 1, "cut short"),
        ("2 x\na 1 2\n", 1, "number of words and the width"),
        ("", 1, "no words"),
    ],
)
def test_text_that_is_not_whole_is_refused_with_its_line(tmp_path, text, line, message) -> None:
    (tmp_path / "v.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        read_vectors(tmp_path / "v.txt")
    assert f"v.txt:{line}: " in str(error.value)


def _binary(*entries: tuple[bytes, list[float]]) -> bytes:
    return b"".join(word + b" " + np.array(values, "<f4").tobytes() + b"\n" for word, values in entries)


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"2 2\n" + _binary((b"a", [1, 2]), (b"b", [3, 4]))[:-3], 2, "ends after 1 of 2"),
        (b"2 2\n" + _binary((b"a", [1, 2])) + b"b" * 9, 2, "ends after 1 of 2"),
        (b"1 2\n" + _binary((b"a", [1, 2]), (b"b", [3, 4])), 2, "goes on"),
        (b"2 2\n" + _binary((b"a", [1, 2]), (b"a", [3, 4])), 2, "repeats the word 'a' of line 1"),
        (b"1 2\n" + _binary((b"a", [1, np.nan])), 1, "not finite"),
        (b"1 2\n" + _binary((b"\xff", [1, 2])), 1, "not UTF-8"),
        (b"9 900\n" + _binary((b"a", [1, 2])), 1, "cut short"),
    ],
)
def test_binary_that_is_not_whole_is_refused_with_its_entry(tmp_path, data, line, message) -> None:
    (tmp_path / "v.bin").write_bytes(data)
    with pytest.raises(DataError, match=message) as error:
        read_vectors(tmp_path / "v.bin")
    assert f"v.bin:{line}: " in str(error.value)


def test_a_word_with_a_space_cannot_be_written(tmp_path) -> None:
    with pytest.raises(DataError, match="white space"):
        write_vectors(WordVectors(["a b"], np.ones((1, 2), np.float32)), tmp_path / "v.vec")
    assert not (tmp_path / "v.vec").exists()
    with pytest.raises(DataError, match="cannot read"):
        read_vectors(tmp_path / "nowhere.vec")
