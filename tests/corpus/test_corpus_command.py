import json
from pathlib import Path

from typer.testing import CliRunner

from zhixing.cli.corpus import app


def test_show_counts_and_first_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first [bold] document", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"body": "row"}\n{"body": 1}\n', encoding="utf-8")
    arguments = ["show", str(tmp_path), "--text-field", "body", "--on-error", "skip"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0
    payload = json.loads(result.stdout)
    assert (payload["documents"], payload["broken"], payload["text_bytes"]) == (2, 1, 24)
    assert [document["text"] for document in payload["first"]] == ["first [bold] document", "row"]
    shown = CliRunner().invoke(app, arguments)
    assert "first [bold] document" in shown.stdout
