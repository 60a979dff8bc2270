"""``zhixing compare``: one JSON line, notices on standard error, exit codes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zhixing.cli.compare import app, recipe_fields
from zhixing.errors import ConfigError


@pytest.fixture(scope="module")
def recipe(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(
        f"""\
text: {{paths: ['{tiny_text}'], validation_fraction: 0.3}}
tokenizer: {{kind: byte}}
models:
  - {{name: bigram, model: {{family: ngram, order: 2}}}}
  - {{name: trigram, model: {{family: ngram, order: 3}}}}
""",
        encoding="utf-8",
    )
    return path


def run(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "100"})


def test_json_then_a_table(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run(recipe, "--out", out, "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["out"] == str(out) and told["best"] in ("bigram", "trigram") and Path(told["page"]).is_file()
    wanted = {"model", "family", "bits_per_byte", "accuracy", "parameters", "seconds", "kilojoules",
              "tokens_per_second", "megabytes"}  # fmt: skip
    assert all(wanted <= set(row) for row in told["rows"]) and len(told["rows"]) == 2
    smaller = min(row["parameters"] for row in told["rows"])
    table = run(recipe, "--out", out, "--max-params", str(smaller))
    assert table.exit_code == 0
    assert "bits/byte" in table.stdout and "Within your limits" in table.stdout and "Left out: trigram" in table.stdout


def test_all_failed(recipe: Path, tmp_path: Path) -> None:
    models = "models=[{name: a, model: {family: recurrent, vocab_size: 2}}]"
    found = run(recipe, "--out", tmp_path / "out", "--set", models, "--set", "budget.minutes=0.01", "--json")
    assert found.exit_code == 1
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["best"] is None and "smaller than the tokenizer's" in told["rows"][0]["error"]


def test_wrong_input(recipe: Path, tmp_path: Path) -> None:
    found = run(recipe, "--out", tmp_path / "out", "--set", "budgte.minutes=1")
    assert isinstance(found.exception, ConfigError) and "did you mean 'budget'?" in str(found.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_lists_the_fields(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    lines = recipe_fields().splitlines()
    for wanted in ("  budget.tokens = null [tokens]", "  models[].name", "  models[].model.cell = \"lstm\"",
                   "  training.optimizer.learning_rate", "  evaluation.part = \"all\""):  # fmt: skip
        assert any(line.startswith(wanted) for line in lines), wanted
    assert not any(line.startswith("  models[].training.") for line in lines)
    assert "bits" not in recipe_fields() or language == "en"
    assert "--max-latency" in run("--help").stdout
