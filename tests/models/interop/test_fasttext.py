"""fastText's binary file: what is written comes back, byte for byte in the authors' layout; damage is named."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from zhixing.errors import DataError
from zhixing.models.interop.fasttext import read_fasttext, write_fasttext
from zhixing.models.word_vectors import WordVectors, mean_of_grams

RNG = np.random.default_rng(0)
WORDS = ("where", "知行", "a", "</s>")
GRAMS = RNG.normal(size=(64, 6)).astype(np.float32)
TABLE = WordVectors(WORDS, RNG.normal(size=(4, 6)).astype(np.float32), GRAMS, (3, 5))
HEADER = 8 + 12 * 4 + 8 + 3 * 4 + 2 * 8


@pytest.fixture
def path(tmp_path):
    write_fasttext(TABLE, tmp_path / "v.bin")
    return tmp_path / "v.bin"


def test_there_and_back(path) -> None:
    found = read_fasttext(path)
    assert found.words == WORDS and found.lengths == (3, 5)
    assert np.array_equal(found.grams, GRAMS)
    np.testing.assert_allclose(found.vectors, TABLE.vectors, atol=1e-6)
    np.testing.assert_allclose(found.vector("nowhere"), TABLE.vector("nowhere"), atol=1e-6)


def test_the_layout_is_fasttexts(path) -> None:
    data = path.read_bytes()
    assert struct.unpack_from("<2i", data) == (793712314, 12)
    settings = struct.unpack_from("<12i", data, 8)
    assert settings[0] == 6 and settings[7:11] == (2, 64, 3, 5)
    assert struct.unpack_from("<3i2q", data, 8 + 48 + 8) == (4, 4, 0, 10, -1)
    assert data[HEADER:].startswith(b"where\0" + struct.pack("<qb", 4, 0) + "知行".encode() + b"\0")
    rows = HEADER + sum(len(word.encode()) + 10 for word in WORDS)
    assert struct.unpack_from("<b2q", data, rows) == (0, 68, 6)
    own = np.frombuffer(data, "<f4", 6, rows + 17)  # of "where": with its 3 + 5 + ... n-grams, the mean
    grams = ["<wh", "<whe", "<wher", "whe", "wher", "where", "her", "here", "here>", "ere", "ere>", "re>"]
    together = (own + len(grams) * mean_of_grams(grams, GRAMS)) / (len(grams) + 1)
    np.testing.assert_allclose(together, TABLE.vectors[0], atol=1e-5)


def test_without_grams(tmp_path) -> None:
    write_fasttext(WordVectors(WORDS, TABLE.vectors), tmp_path / "v.bin")
    found = read_fasttext(tmp_path / "v.bin")
    assert found.grams is None and np.array_equal(found.vectors, TABLE.vectors)


@pytest.mark.parametrize("size", [4, 30, 70, HEADER + 2, HEADER + 10, HEADER + 60, 400, 1000])
def test_a_file_cut_short_is_refused(path, size) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"v\.bin: (ends|announces|no fastText)"):
        read_fasttext(path)


@pytest.mark.parametrize(
    ("place", "layout", "value", "message"),
    [
        (0, "i", 5, "no fastText file"),
        (4, "i", 11, "version 12"),
        (8 + 7 * 4, "i", 3, "classifier"),
        (8 + 9 * 4, "i", 1, "letters"),
        (64, "i", 2**30, "announces"),
        (64 + 20, "q", 7, "pruned"),
        (HEADER, "6s", b"\xffhere\0", "word 1 is not UTF-8"),
        (HEADER + 15, "16s", b"where\0" + bytes(10), "same as word 1"),
    ],
)
def test_damage_is_named(path, place, layout, value, message) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(f"<{layout}", data, place, value)
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_fasttext(path)


def test_values_that_are_not_finite(path) -> None:
    data = bytearray(path.read_bytes())
    rows = HEADER + sum(len(word.encode()) + 10 for word in WORDS) + 17
    struct.pack_into("<f", data, rows + 4 * 6 * 2, float("nan"))
    path.write_bytes(data)
    with pytest.raises(DataError, match="row 3 has a value that is not finite"):
        read_fasttext(path)


def test_what_cannot_be_written(tmp_path) -> None:
    with pytest.raises(DataError, match="white space"):
        write_fasttext(WordVectors(["a b"], np.ones((1, 2), np.float32)), tmp_path / "v.bin")
    with pytest.raises(DataError, match="one letter"):
        write_fasttext(WordVectors(["a"], np.ones((1, 6), np.float32), GRAMS, (1, 3)), tmp_path / "v.bin")
    with pytest.raises(DataError, match="cannot read"):
        read_fasttext(tmp_path / "nowhere.bin")
