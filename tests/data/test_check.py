import json
from pathlib import Path
from typing import Any

import pytest

from zhixing.corpus.settings import TextSettings
from zhixing.data.check import check_file

GOOD: dict[str, dict[str, Any]] = {
    "messages": {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
    "preference": {"prompt": "p", "chosen": "good", "rejected": "bad"},
    "alpaca": {"instruction": "add", "input": "1 1", "output": "2"},
    "plain": {"text": "学而时习之"},
}


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("layout", GOOD)
def test_good_rows_are_recognised_and_rendered(tmp_path: Path, layout: str) -> None:
    found = check_file(write(tmp_path / "a.jsonl", *[GOOD[layout]] * 10), TextSettings())
    assert (found.layout, found.rows, found.problem_count) == (layout, 10, 0)
    assert found.example
    json.dumps(found.to_dict())


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("alpaca", {"instruction": "x", "outptu": "y"}, "field 'output' missing; did you mean 'outptu'"),
    ("alpaca", {"instruction": "x", "output": " "}, "field 'output' is blank"),
    ("messages", {"messages": [{"role": "user"}]}, "'messages[0].content'"),
    ("messages", {"messages": "hi"}, "must be a list"),
    ("sharegpt", {"conversations": []}, "must be a list"),
    ("preference", {"chosen": "same", "rejected": "same"}, "are equal"),
    ("preference", {"chosen": "x", "rejected": ""}, "'rejected' is empty"),
    ("plain", {"text": 3}, "holds int"),
]


@pytest.mark.parametrize(("layout", "bad", "message"), BAD)
def test_a_bad_row_is_named(tmp_path: Path, layout: str, bad: dict[str, Any], message: str) -> None:
    good = GOOD[layout]
    path = write(tmp_path / "a.jsonl", good, good, bad, good)
    found = check_file(path, TextSettings())
    assert found.layout == layout
    assert found.problem_count == 1
    assert found.problems[0].startswith(f"{path}:3: ")
    assert message in found.problems[0]


def test_unknown_fields_json_in_text_and_json_arrays(tmp_path: Path) -> None:
    assert "foo" in check_file(write(tmp_path / "a.jsonl", {"foo": 1}), TextSettings()).problems[0]
    assert ".jsonl" in check_file(write(tmp_path / "b.txt", GOOD["alpaca"]), TextSettings()).problems[0]
    assert ".jsonl" in check_file(write(tmp_path / "c.json", [1]), TextSettings()).problems[0]
    assert check_file(write(tmp_path / "d.bin"), TextSettings()).problem_count == 1


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("words", encoding="utf-8")
    assert check_file(str(tmp_path / "good.txt"), TextSettings()).problems == []
    (tmp_path / "bad.txt").write_bytes(b"wor\xffds")
    assert "1" in check_file(str(tmp_path / "bad.txt"), TextSettings()).problems[0]
    (tmp_path / "empty.txt").write_bytes(b"")
    assert check_file(str(tmp_path / "empty.txt"), TextSettings()).problem_count == 1
