"""Is this data file fit for training? Guesses its layout, names every unusable row, renders one example."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from zhixing.corpus.document import BrokenFileError, Problem
from zhixing.corpus.find import InputFile, classify, find_files
from zhixing.corpus.plain import lines
from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.rows import Row, rows
from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError, nearest
from zhixing.language import tr

SAMPLE = 100
"""Rows looked at to guess the layout."""
SHOWN = 20
"""Problems kept of one file."""
EXAMPLE_CHARACTERS = 600


@dataclass
class FileCheck:
    """What was found in one file; ``problems`` are the first few of ``problem_count``."""

    path: str
    layout: str = ""
    rows: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    example: str = ""

    def add(self, problem: Problem) -> None:
        """Count a problem and keep the first few."""
        self.problem_count += 1
        if len(self.problems) < SHOWN:
            self.problems.append(str(problem))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class RowLayout:
    """A known kind of row: the fields it must have, what else is wrong with it, how it reads."""

    required: tuple[str, ...]
    check: Callable[[Mapping[str, Any]], Iterator[str]]
    render: Callable[[Mapping[str, Any]], str]


def check_file(path: str, settings: TextSettings) -> FileCheck:
    """Check one file from its first to its last row.

    Raises:
        DataError: there is no such file.
    """
    check = FileCheck(path)
    if not Path(path).is_file():
        find_files((path,), ReadReport())  # names the nearest file
    file = classify(path)
    if file is None:
        check.add(Problem(path, _unknown_type(path)))
        return check
    try:
        if file.layout in ("text", "html"):
            _check_text(file, settings, check)
        else:
            _check_rows(file, settings, check)
    except BrokenFileError as error:
        check.add(error.problem)
    return check


def _check_text(file: InputFile, settings: TextSettings, check: FileCheck) -> None:
    check.layout = file.layout
    if file.layout == "text" and (problem := _json_in_text(file, settings)):
        check.add(problem)
    report = ReadReport()
    skipping = settings.replace(on_error="skip")
    try:
        for document in documents(skipping, report, [file], announce=False):
            check.rows += 1
            check.example = check.example or _shorten(document.text)
    except DataError as error:
        check.add(Problem(file.path, str(error)))
    for example in report.broken_examples:
        check.add(Problem(*example.split(": ", 1)))
    if report.repaired_files:
        message = tr("invalid bytes or NUL characters: ", "无效字节或 NUL 字符：")
        check.add(Problem(file.path, f"{message}{report.repaired_bytes + report.removed_nul_characters}"))


def _json_in_text(file: InputFile, settings: TextSettings) -> Problem | None:
    first = next(
        (line for _, line in lines(file, settings, ReadReport()) if isinstance(line, Problem) or line.strip()),
        "",
    )
    if isinstance(first, Problem) or not first.lstrip().startswith(("{", "[")):
        return None
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return None
    return Problem(
        f"{file.path}:1",
        tr("JSON in a text file; rename it to .jsonl", "文本文件中是 JSON；请改名为 .jsonl"),
    )


def _check_rows(file: InputFile, settings: TextSettings, check: FileCheck) -> None:
    known = _row_layouts(settings.text_field)
    sample = [row for row in islice(rows(file, settings, ReadReport()), SAMPLE) if isinstance(row, Row)]
    check.layout = _guess(sample, known)
    if not check.layout:
        fields = ", ".join(sample[0].fields) if sample else "-"
        check.add(Problem(f"{file.path}:{sample[0].number if sample else 1}", _unknown_layout(fields)))
    for row in rows(file, settings, ReadReport()):
        check.rows += 1
        if isinstance(row, Problem):
            check.add(row)
        elif check.layout:
            _check_row(file, row, known[check.layout], check)


def _check_row(file: InputFile, row: Row, layout: RowLayout, check: FileCheck) -> None:
    where = f"{file.path}:{row.number}"
    missing = [name for name in layout.required if name not in row.fields]
    for name in missing:
        hint = nearest(name, row.fields)
        check.add(Problem(where, tr(f"field '{name}' missing; {hint}", f"缺少字段 '{name}'；{hint}")))
    found = [] if missing else list(layout.check(row.fields))
    for message in found:
        check.add(Problem(where, message))
    if not missing and not found and not check.example:
        check.example = _shorten(layout.render(row.fields))


def _guess(sample: list[Row], known: Mapping[str, RowLayout]) -> str:
    """Return the layout whose fields most rows have, some of them at least; "" if no row has any."""

    def votes(layout: RowLayout) -> float:
        return sum(sum(n in row.fields for n in layout.required) / len(layout.required) for row in sample)

    best = max(known, key=lambda name: votes(known[name]))
    return best if votes(known[best]) > 0 else ""


def _row_layouts(text_field: str) -> dict[str, RowLayout]:
    return {
        "messages": RowLayout(("messages",), _turns("messages", "role", "content"), _render_turns),
        "sharegpt": RowLayout(("conversations",), _turns("conversations", "from", "value"), _render_turns),
        "preference": RowLayout(("chosen", "rejected"), _present("chosen", "rejected"), _render_fields),
        "alpaca": RowLayout(("instruction", "output"), _texts("instruction", "output"), _render_fields),
        "plain": RowLayout((text_field,), _texts(text_field), lambda fields: str(fields[text_field])),
    }


def _texts(*names: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    def check(fields: Mapping[str, Any]) -> Iterator[str]:
        for name in names:
            value = fields[name]
            if not isinstance(value, str):
                kind = type(value).__name__
                yield tr(f"field '{name}' holds {kind}, not text", f"字段 '{name}' 是 {kind}，不是文本")
            elif not value.strip():
                yield tr(f"field '{name}' is blank", f"字段 '{name}' 为空")

    return check


def _present(*names: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    def check(fields: Mapping[str, Any]) -> Iterator[str]:
        for name in names:
            if not fields[name]:
                yield tr(f"field '{name}' is empty", f"字段 '{name}' 为空")
        if fields[names[0]] == fields[names[1]]:
            yield tr(f"'{names[0]}' and '{names[1]}' are equal", f"'{names[0]}' 与 '{names[1]}' 相同")

    return check


def _turns(name: str, speaker: str, text: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    def check(fields: Mapping[str, Any]) -> Iterator[str]:
        turns = fields[name]
        if not isinstance(turns, list) or not turns:
            yield tr(f"field '{name}' must be a list of turns", f"字段 '{name}' 应为由多轮组成的列表")
            return
        for place, turn in enumerate(turns):
            for key in (speaker, text):
                if not isinstance(turn, dict) or not isinstance(turn.get(key), str):
                    field_name = f"{name}[{place}].{key}"
                    yield tr(f"field '{field_name}' is missing or not text", f"字段 '{field_name}' 缺失或不是文本")

    return check


def _render_turns(fields: Mapping[str, Any]) -> str:
    turns = fields.get("messages") or fields["conversations"]
    return "\n".join(": ".join(str(value) for value in turn.values()) for turn in turns)


def _render_fields(fields: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in fields.items() if value)


def _shorten(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else text[:EXAMPLE_CHARACTERS] + "…"


def _unknown_type(path: str) -> str:
    if path.lower().endswith(".json"):
        return tr(
            "a .json file; write one object per line and name it .jsonl",
            "这是 .json 文件；请改为每行一个对象，并命名为 .jsonl",
        )
    return tr(
        "not a type that can be read; use .jsonl, .csv, .parquet or text",
        "无法读取此类型；请使用 .jsonl、.csv、.parquet 或文本",
    )


def _unknown_layout(fields: str) -> str:
    return tr(
        f"no known layout: its fields are {fields}; set the text field, or use messages, conversations, "
        "instruction and output, or chosen and rejected",
        f"不是已知的格式：字段为 {fields}；请指定文本字段，或使用 messages、conversations、"
        "instruction 与 output、chosen 与 rejected",
    )
