"""Files of word pairs and analogies: the figures beside scipy's definition by hand, and lines that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zhixing.errors import DataError
from zhixing.evaluation.word_pairs import judge_analogies, judge_pairs, read_analogies, read_pairs
from zhixing.models.word_vectors import WordVectors

SHARED = Path("/work/shared/data/word")
TABLE = WordVectors(
    ["man", "woman", "king", "queen", "boy", "girl"],
    np.array([[0, 1, 0.1], [0, -1, 0.1], [1, 1, 0], [1, -1, 0], [0.3, 1, 0.6], [0.3, -1, 0.6]], np.float32),
)


def test_rank_correlation_is_that_of_the_ranks() -> None:
    pairs = [
        ("king", "queen", 5.0),
        ("man", "boy", 9.0),
        ("man", "woman", 1.0),
        ("King", "BOY", 5.0),
        ("x", "man", 2.0),
    ]
    found = judge_pairs(TABLE, pairs)
    assert (found.covered, found.total, found.interval) == (4, 5, None)
    cosines = [TABLE.similarity(a.lower(), b.lower()) for a, b, _ in pairs[:4]]
    ranks = np.argsort(np.argsort(cosines))
    assert found.spearman == pytest.approx(np.corrcoef(ranks, [1.5, 3, 0, 1.5])[0, 1])


def test_interval_holds_the_figure() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    model = WordVectors(words, rng.normal(size=(60, 8)).astype(np.float32))
    pairs = [(a, b, model.similarity(a, b) + rng.normal() * 0.3) for a, b in zip(words[::2], words[1::2], strict=True)]
    found = judge_pairs(model, pairs)
    assert found.interval is not None and found.interval[0] < found.spearman < found.interval[1]
    assert judge_pairs(model, [("w0", "w1", 1.0)]).spearman is None


def test_analogies_are_answered_by_section() -> None:
    found = judge_analogies(
        TABLE,
        {
            "a": [("man", "woman", "King", "queen"), ("man", "woman", "boy", "girl"), ("man", "king", "woman", "boy")],
            "b": [("man", "woman", "uncle", "aunt")],
        },
    )
    assert (found.right, found.covered, found.total) == (2, 3, 4)
    assert found.sections["b"].accuracy is None and found.sections["b"].interval is None
    assert found.accuracy == pytest.approx(2 / 3)
    low, high = found.interval
    assert 0 < low < 2 / 3 < high < 1


@pytest.mark.parametrize("separator", ["\t", ",", " "])
def test_pairs_in_their_usual_layouts(tmp_path, separator) -> None:
    lines = ["# a comment", separator.join(["Word1", "Word2", "Mean"]), separator.join(["a", "b", "1.5"])]
    (tmp_path / "p").write_text("\n".join(lines), encoding="utf-8-sig")
    assert read_pairs(tmp_path / "p") == [("a", "b", 1.5)]


@pytest.mark.parametrize(
    ("text", "line"), [("a b 1\nc d\n", 2), ("a b 1\nc d x\n", 2), ("a b nan\nc d e\n", 2), ("a b\n", 1)]
)
def test_a_pair_that_is_none_is_refused_with_its_line(tmp_path, text, line) -> None:
    (tmp_path / "p").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=f"p:{line}: "):
        read_pairs(tmp_path / "p")


def test_files_that_hold_nothing_or_are_not_there(tmp_path) -> None:
    (tmp_path / "p").write_text("# nothing\n", encoding="utf-8")
    for read in (read_pairs, read_analogies):
        with pytest.raises(DataError, match="holds no"):
            read(tmp_path / "p")
        with pytest.raises(DataError, match="cannot read"):
            read(tmp_path / "nowhere")
    (tmp_path / "p").write_text(": a\na b c\n", encoding="utf-8")
    with pytest.raises(DataError, match="p:2: "):
        read_analogies(tmp_path / "p")


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.exists(), reason="real data is not here")
def test_the_real_files_are_read() -> None:
    assert len(read_pairs(SHARED / "english" / "wordsim353.tsv")) == 353
    assert sum(map(len, read_analogies(SHARED / "english" / "questions-words.txt").values())) == 19544
    assert len(read_pairs(SHARED / "cwe_zh" / "240.txt")) >= 239
    assert "capital-common-countries" in read_analogies(SHARED / "cwe_zh" / "analogy.txt")
