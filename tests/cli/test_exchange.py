"""``zhixing export`` and ``zhixing import``: what is printed, and the exit codes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from zhixing.cli.export import app as export_app
from zhixing.errors import ConfigError, DataError, InputError
from zhixing.exchange import vectors
from zhixing.exchange.parity import Measure, Parity
from zhixing.model_folder import write_folder
from zhixing.models.save import word_vector_files
from zhixing.models.word_vectors import WordVectors

import_app = importlib.import_module("zhixing.cli.import").app


@pytest.fixture
def model(tmp_path) -> Path:
    table = WordVectors(["one", "two", "知"], np.eye(3, dtype=np.float32))
    write_folder(tmp_path / "model", word_vector_files(table), facts={})
    return tmp_path / "model"


def run(app, *words, language="en"):
    return CliRunner().invoke(app, [str(word) for word in words], env={"ZHIXING_LANG": language})


def test_there_and_back(model, tmp_path) -> None:
    sent = run(export_app, model, "--format", "word2vec", "--out", tmp_path / "there")
    assert sent.exit_code == 0 and "largest difference of a number" in sent.stdout and "vectors.vec" in sent.stdout
    back = run(import_app, tmp_path / "there" / "vectors.vec", tmp_path / "back", "--json")
    found = json.loads(back.stdout.splitlines()[-1])
    assert back.exit_code == 0 and found["format"] == "word2vec" and found["parity"]["ok"]
    assert found["parity"] == {
        name: value
        for name, value in json.loads((tmp_path / "back" / "parity.json").read_text(encoding="utf-8")).items()
        if name in found["parity"]
    }


def test_in_chinese(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    sent = run(export_app, model, "--format", "word2vec-binary", language="zh")
    assert "数值的最大差" in sent.stdout and (tmp_path / "model-word2vec-binary" / "vectors.bin").exists()


def test_a_failed_check_ends_with_1(model, tmp_path, monkeypatch) -> None:
    bad = Parity("a program", (Measure("vector_difference", "difference", 0.5, 1e-6),))
    monkeypatch.setattr(vectors.VectorFormat, "check", lambda *rest: bad)
    sent = run(export_app, model, "--format", "word2vec", "--out", tmp_path / "there", "--json")
    assert sent.exit_code == 1 and json.loads(sent.stdout.splitlines()[-1])["parity"]["ok"] is False
    assert "do not compute the same" in sent.stderr and "there.failed" in sent.stderr
    assert not (tmp_path / "there").exists()


def test_bad_input(model, tmp_path) -> None:
    assert isinstance(run(export_app, model, "--format", "ggfu").exception, ConfigError)
    assert isinstance(run(export_app, model, "--format", "gguf", "--precision", "f8").exception, ConfigError)
    assert isinstance(run(export_app, model, "--format", "word2vec", "--out", model).exception, InputError)
    text = tmp_path / "nowhere.txt"
    assert isinstance(run(export_app, model, "--format", "word2vec", "--text", text).exception, DataError)
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    text = tmp_path / "empty.txt"
    assert isinstance(run(export_app, model, "--format", "word2vec", "--text", text).exception, DataError)
    assert isinstance(run(import_app, tmp_path / "nowhere", tmp_path / "out").exception, InputError)
