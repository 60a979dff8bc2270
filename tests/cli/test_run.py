"""``zhixing run``: answers, JSON, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from zhixing.cli.run import app
from zhixing.errors import ConfigError, DataError
from zhixing.models.interop.vectors import write_vectors
from zhixing.models.word_vectors import WordVectors


@pytest.fixture
def file(tmp_path) -> str:
    values = np.array([[0, 1, 0.1], [0, -1, 0.1], [1, 1, 0], [1, -1, 0]], np.float32)
    write_vectors(WordVectors(["man", "woman", "king", "queen"], values), tmp_path / "v.vec")
    return str(tmp_path / "v.vec")


def run(*words: str):
    return CliRunner().invoke(app, list(words), env={"ZHIXING_LANG": "en"})


def found(*words: str) -> dict:
    (line,) = run(*words, "--json").stdout.splitlines()
    return json.loads(line)


def test_questions(file) -> None:
    assert found("similarity", file, "man", "man")["similarity"] == pytest.approx(1)
    assert found("neighbours", file, "king", "--n", "2")["neighbours"][0]["word"] == "man"
    assert found("analogy", file, "man", "woman", "king", "--n", "1")["answers"][0]["word"] == "queen"
    assert run("analogy", file, "man", "woman", "king", "--n", "1").stdout.split()[1] == "queen"


def test_files(file, tmp_path) -> None:
    (tmp_path / "p").write_text("man king 9\nman queen 1\n", encoding="utf-8")
    assert found("similarity", file, "--file", str(tmp_path / "p"))["spearman"] == pytest.approx(1)
    assert "2 of 2 pairs" in run("similarity", file, "--file", str(tmp_path / "p")).stdout
    (tmp_path / "a").write_text(": royal\nman woman king queen\n", encoding="utf-8")
    assert found("analogy", file, "--file", str(tmp_path / "a"))["sections"]["royal"]["accuracy"] == 1
    assert "royal: 100.0 %" in run("analogy", file, "--file", str(tmp_path / "a")).stdout


@pytest.mark.parametrize("words", [("similarity", "man"), ("analogy", "man", "king"), ("similarity",)])
def test_wrong_number_of_words(file, words) -> None:
    outcome = run(words[0], file, *words[1:])
    assert isinstance(outcome.exception, ConfigError) and "--file" in str(outcome.exception)


def test_unknown_word(file) -> None:
    assert isinstance(run("neighbours", file, "knight").exception, DataError)


def test_sources_are_words_or_the_lines_of_a_file(tmp_path) -> None:
    """Said before a model is opened."""
    (tmp_path / "blank").write_text("one\n\nthree\n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "none").write_text("", encoding="utf-8")
    for words, said in [
        ((), "either sources, or --file"),
        (("a", "--file", "b"), "either sources, or --file"),
        (("--file", str(tmp_path / "missing")), "cannot read"),
        (("--file", str(tmp_path / "bytes")), "cannot read"),
        (("--file", str(tmp_path / "blank")), "blank:2: no source"),
        (("--file", str(tmp_path / "none")), "none:1: no source"),
    ]:
        outcome = run("text2text", "nowhere", *words)
        assert isinstance(outcome.exception, ConfigError | DataError) and said in str(outcome.exception), words
