"""``zhixing train`` and ``zhixing resume``: one JSON line, notices on standard error, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zhixing.cli.train import recipe_fields
from zhixing.config import describe_fields
from zhixing.pretraining.recipe import schema

PROGRAM = [sys.executable, "-c", "from zhixing.cli.app import main; main()"]


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return path


def zhixing(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, **environment},
    )


def test_train_then_resume(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = zhixing("train", recipe, "--out", out, "--set", "training.steps=3", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    facts = json.loads(done.stdout)
    assert (facts["out"], facts["steps"], facts["family"]) == (str(out), 3, "llama")
    assert set(facts) >= {"recipe", "data", "tokenizer", "seed", "versions", "machine", "kilojoules"}
    assert "steps: 3" in done.stderr  # the whole recipe, resolved
    assert "learning_rate: 0.004" in done.stderr
    assert "machine: cpu, float32, not compiled, 1 threads" in done.stderr
    again = zhixing("resume", out, "--json")
    assert (again.returncode, again.stdout) == (2, "")
    assert "the run is finished" in again.stderr


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_run_ends_with_what_was_learned_and_what_to_do_next(recipe: Path, tmp_path: Path, language: str) -> None:
    out, ids = tmp_path / "run", tmp_path / "ids"
    words = ("train", recipe, "--out", out, "--ids", ids, "--set", "training.steps=2", "--set", "training.log_every=1")
    done = zhixing(*words, ZHIXING_LANG=language)
    assert done.returncode == 0, done.stderr
    told = done.stdout
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for name in ("loss", "validation_loss"):
        newest = [record[name] for record in records if name in record][-1]
        assert f"{newest:.4f}" in told
    for command in (f"zhixing evaluate {out} --data {ids}/shards", f"zhixing serve {out}", f"zhixing generate {out} "):
        assert f"\n  {command}" in told
    assert ("trained for" in told, "训练用时" in told) == (language == "en", language == "zh")
    assert zhixing("evaluate", out, "--data", ids / "shards", "--json").returncode == 0


def test_a_wrong_recipe(recipe: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(recipe.read_text(encoding="utf-8") + "  stpes: 3\n", encoding="utf-8")
    done = zhixing("train", wrong, "--out", tmp_path / "run", "--json", ZHIXING_LANG="zh")
    assert (done.returncode, done.stdout) == (2, "")
    line = len(wrong.read_text(encoding="utf-8").splitlines())
    assert done.stderr == f"zhixing: {wrong}:{line}：未知的键 'training.stpes'；是否想写 'steps'？\n"
    assert not (tmp_path / "run").exists()


def test_a_device_that_is_not_here(recipe: Path, tmp_path: Path) -> None:
    done = zhixing("train", recipe, "--out", tmp_path / "run", "--set", "training.device=quantum")
    assert (done.returncode, done.stdout) == (2, "")
    assert "training.device = 'quantum' cannot be used here" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_resume(tmp_path: Path) -> None:
    done = zhixing("resume", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        f"zhixing: {tmp_path} holds no run: there is no recipe.yaml\n",
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_help_lists_every_field(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    told = recipe_fields().splitlines()
    for name, default, unit, meaning in describe_fields(schema()):
        line = f"  {name}{f' = {default}' if default else ''}{f' [{unit}]' if unit else ''}"
        assert line in told
        if meaning:
            assert f"      {meaning}" in told


def test_help_shows_the_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    done = zhixing("train", "--help")
    for line in recipe_fields().splitlines():
        assert line.strip() in done.stdout
