from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from zhixing.cli.verify import app
from zhixing.errors import ConfigError
from zhixing.nn import attention


def test_json_is_one_line_with_every_row() -> None:
    outcome = CliRunner().invoke(app, ["--only", "attention", "--json"])
    assert outcome.exit_code == 0
    (line,) = outcome.stdout.splitlines()
    found = json.loads(line)
    assert found["ok"] is True
    assert {row["name"] for row in found["rows"]} >= {"attention.grouped_query", "attention.document_mask"}
    assert all(row["ok"] and row["error"] <= row["bound"] for row in found["rows"])


def test_a_failing_row_is_named_and_the_exit_code_is_one(monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "en")
    monkeypatch.setattr(attention, "document_mask", lambda documents: documents.bool())
    outcome = CliRunner().invoke(app, ["--only", "attention"])
    assert outcome.exit_code == 1
    words = " ".join(outcome.stdout.split())
    assert "production functions differ from their formula" in words
    assert "explains: attention.document_mask" in words
    as_json = CliRunner().invoke(app, ["--only", "document_mask", "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["rows"][0]["error"] is None  # an infinite error is not a number in JSON


@pytest.mark.parametrize(("language", "word"), [("en", "formulas"), ("zh", "公式")])
def test_plain_words_in_both_languages(language, word, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    outcome = CliRunner().invoke(app, ["--only", "rms_norm", "--dtype", "bfloat16"])
    assert outcome.exit_code == 0
    assert word in outcome.stdout.split("\n\n")[-1]


def test_an_unknown_row_is_the_users_error() -> None:
    outcome = CliRunner().invoke(app, ["--only", "atention"])
    assert isinstance(outcome.exception, ConfigError)
