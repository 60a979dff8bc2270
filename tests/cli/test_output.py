"""What a verb prints."""

import json
import math
from pathlib import Path

import pytest
from rich.table import Table

from zhixing.cli.output import emit


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    emit(True, {"out": Path("猫"), "text": "a\nb", "n": 1.5}, "for people")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"out": "猫", "text": "a\nb", "n": 1.5}
    assert "猫" in out


def test_what_is_not_json_is_never_printed_as_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        emit(True, {"loss": math.nan}, "")


def test_people_read_text_or_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    emit(False, {}, "done")
    emit(False, {}, "done\n")
    assert capsys.readouterr().out == "done\ndone\n"
    table = Table("name")
    table.add_row("gpt")
    emit(False, {}, table)
    assert "gpt" in capsys.readouterr().out
