import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zhixing.cli.data import app
from zhixing.tokenizers.bytes import ByteTokenizer


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str, str]:
    text, tokenizer = tmp_path / "text", tmp_path / "tokenizer"
    text.mkdir()
    tokenizer.mkdir()
    for n in range(30):
        (text / f"{n:02}.txt").write_text(f"a document, number {n}", encoding="utf-8")
    ByteTokenizer().save(tokenizer)
    return str(text), str(tokenizer), str(tmp_path / "out")


def test_prepare_then_show(folders: tuple[str, str, str]) -> None:
    text, tokenizer, out = folders
    result = CliRunner().invoke(app, ["prepare", text, "--tokenizer", tokenizer, "--out", out, "--json"])
    assert result.exit_code == 0, result.stdout
    payload = json.loads(result.stdout)
    assert payload["train"]["documents"] + payload["validation"]["documents"] == 30
    command = ["show", out, "--tokenizer", tokenizer, "--context-length", "32", "--no-shuffle"]
    batch = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert "".join(batch["tokens"][0]).startswith("⏹a document, number ")
    assert batch["documents"][0][-1] == 1
    shown = CliRunner().invoke(app, command).stdout
    assert "[0:0]" in shown
    assert "[1:0]" in shown


def test_check_names_the_row_and_ends_with_two(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "add", "output": "2"}\n{"instruction": "add"}\n', encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    assert f"{path}:2: field 'output' missing" in result.stdout
    payload = json.loads(CliRunner().invoke(app, ["check", str(path), "--json"]).stdout)
    assert (payload["problems"], payload["files"][0]["layout"]) == (1, "alpaca")
    path.write_text('{"instruction": "add", "output": "2"}\n', encoding="utf-8")
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 0
