from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from zhixing.cli.explain import app
from zhixing.errors import InputError
from zhixing.explain.topics import topics


def run(*words: str):
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "80"})


def test_without_a_topic_they_are_listed_by_family() -> None:
    outcome = run()
    assert outcome.exit_code == 0
    assert all(f"  {name} " in outcome.stdout for name in topics())
    lines = outcome.stdout.splitlines()
    assert [line.strip() for line in lines].index("Optimizers") < lines.index(next(x for x in lines if "  adamw " in x))


def test_json_of_all_and_of_one() -> None:
    (line,) = run("--json").stdout.splitlines()
    assert {one["name"]: one["family"] for one in json.loads(line)["topics"]}["adam"] == "optimizers"
    assert set(json.loads(line)["topics"][0]) == {"name", "family", "title"}
    (line,) = run("temperature", "--set", "temperature=2", "--json").stdout.splitlines()
    found = json.loads(line)
    assert found["inputs"]["temperature"] == 2.0
    assert sum(found["steps"][-1]["value"]) == pytest.approx(1)
    assert found["picture"]["kind"] == "Bars" and found["theory"][0]["line"] > 0


@pytest.mark.parametrize(("language", "words"), [("en", ("Formula", "Pitfalls")), ("zh", ("公式", "常见误区"))])
def test_one_topic_in_both_languages(language, words, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    outcome = run("momentum", "--set", "decay=0.5")
    assert outcome.exit_code == 0 and all(word in outcome.stdout for word in words)
    assert "v = μv + g" in outcome.stdout


def test_pages(tmp_path) -> None:
    outcome = run("adam", "--html", str(tmp_path / "adam.html"))
    assert outcome.exit_code == 0 and (tmp_path / "adam.html").is_file()
    (line,) = run("--html", str(tmp_path / "all"), "--json").stdout.splitlines()
    assert json.loads(line)["html"] == str(tmp_path / "all" / "index.html")
    assert (tmp_path / "all" / "adam.html").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("temprature",), "did you mean 'temperature'"),
        (("temperature", "--set", "temprature=1"), "did you mean"),
        (("--set", "temperature=1"), "--set needs a topic"),
        (("--html", "all.html"), "need a folder"),
    ],
)
def test_wrong_words_are_the_readers_to_mend(words, said) -> None:
    outcome = run(*words)
    assert isinstance(outcome.exception, InputError) and said in str(outcome.exception)
    assert outcome.exception.exit_code == 2
