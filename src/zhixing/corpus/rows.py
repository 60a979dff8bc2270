"""Rows of .jsonl, .csv and .parquet files, numbered; a broken one is a Problem that names file and row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zhixing.corpus.document import BrokenFileError, Problem
from zhixing.corpus.encodings import repair
from zhixing.corpus.find import InputFile
from zhixing.corpus.plain import lines
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.corpus.streams import check_expansion, load_arrow, seekable
from zhixing.errors import nearest
from zhixing.language import tr

BATCH_ROWS = 64
"""Parquet rows held at a time: few, since one row may be a whole book."""


@dataclass(frozen=True)
class Row:
    """The fields of one row; ``number`` counts lines (.jsonl, .csv) or rows (.parquet) from 1."""

    number: int
    fields: Mapping[str, Any]


def rows(
    file: InputFile, settings: TextSettings, report: ReadReport, fields: Sequence[str] | None = None
) -> Iterator[Row | Problem]:
    """Yield the rows of ``file`` in order; ``fields``: the only ones that are needed.

    Raises:
        BrokenFileError: the file as a whole cannot be read on; rows before the damage have been yielded.
    """
    readers: dict[str, Callable[..., Iterator[Row | Problem]]]
    readers = {"jsonl": _json_rows, "csv": _csv_rows, "parquet": _parquet_rows}
    return readers[file.layout](file, settings, report, fields)


def row_pair(file: InputFile, row: Row, settings: TextSettings, report: ReadReport) -> tuple[str, str] | Problem:
    """Return source and target of ``row``, or what is wrong with it; neither may be blank."""
    found = []
    for field in (settings.source_field, settings.target_field):
        text = row_text(file, row, field, settings, report)
        if isinstance(text, Problem):
            return text
        if not text.strip():
            return Problem(
                f"{file.path}:{row.number}",
                tr(
                    f"field '{field}' is blank; a pair needs both a source and a target",
                    f"字段 '{field}' 为空白；每对须同时有源与目标",
                ),
            )
        found.append(text)
    return found[0], found[1]


def row_text(file: InputFile, row: Row, field: str, settings: TextSettings, report: ReadReport) -> str | Problem:
    """Return the text in ``field`` of ``row``, lone surrogates repaired, or what is wrong with it."""
    where = f"{file.path}:{row.number}"
    if field not in row.fields:
        return Problem(where, _missing(field, row.fields, settings))
    text = row.fields[field]
    if not isinstance(text, str):
        kind = "null" if text is None else type(text).__name__
        return Problem(
            where,
            tr(f"field '{field}' holds {kind}, not text", f"字段 '{field}' 是 {kind}，不是文本"),
        )
    nul = text.count("\0")
    clean, invalid = repair(text.replace("\0", "") if nul else text)
    report.add_repairs(file.path, invalid, nul)
    return clean.replace("\r\n", "\n").replace("\r", "\n") if "\r" in clean else clean


def _missing(field: str, fields: Mapping[str, Any], settings: TextSettings) -> str:
    names = nearest(field, [str(name) for name in fields])
    if settings.source_field:
        return tr(
            f"field '{field}' is missing; {names} (text.source_field and text.target_field name the two)",
            f"缺少字段 '{field}'；{names}（两个字段由 text.source_field 与 text.target_field 指明）",
        )
    return tr(
        f"field '{field}' is missing; {names} (name the right one: --text-field, or text_field in a recipe)",
        f"缺少字段 '{field}'；{names}（请指明存放文本的字段：--text-field，或配方中的 text_field）",
    )


def _json_rows(
    file: InputFile, settings: TextSettings, report: ReadReport, fields: Sequence[str] | None
) -> Iterator[Row | Problem]:
    for number, line in lines(file, settings, report):
        if isinstance(line, Problem):
            yield line
        elif line.strip():
            yield _json_row(file, number, line)


def _json_row(file: InputFile, number: int, line: str) -> Row | Problem:
    where = f"{file.path}:{number}"
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = _json_reason(error)
        return Problem(where, tr(f"not a JSON object: {reason}", f"不是 JSON 对象：{reason}"))
    if not isinstance(fields, dict):
        kind = type(fields).__name__
        return Problem(
            where,
            tr(f"a JSON {kind}; each line must be an object", f"是 JSON {kind}；每行应是一个对象"),
        )
    return Row(number, fields)


def _json_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return tr(f"{error.msg} at column {error.colno}", f"第 {error.colno} 列：{error.msg}")
    return tr("nested too deeply", "嵌套过深") if isinstance(error, RecursionError) else str(error)


def _csv_rows(
    file: InputFile, settings: TextSettings, report: ReadReport, fields: Sequence[str] | None
) -> Iterator[Row | Problem]:
    """Read with a header line; comma, semicolon or tab separates, whichever gives the header most columns."""
    csv.field_size_limit(max(csv.field_size_limit(), settings.max_line_bytes))
    problems: list[Problem] = []

    def clean() -> Iterator[str]:
        for _, line in lines(file, settings, report):
            if isinstance(line, Problem):
                problems.append(line)
            yield "" if isinstance(line, Problem) else line + "\n"

    source = clean()
    first = next(source, "")
    names = max((next(csv.reader([first], delimiter=mark), []) for mark in ",;\t"), key=len)
    mark = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(source, delimiter=mark, strict=True)
    while True:
        number = reader.line_num + 2
        try:
            values = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield Problem(f"{file.path}:{number}", tr(f"not valid CSV: {error}", f"CSV 无效：{error}"))
            continue
        if values:
            yield _csv_row(file, number, names, values)
        yield from problems
        problems.clear()
    yield from problems


def _csv_row(file: InputFile, number: int, names: list[str], values: list[str]) -> Row | Problem:
    if len(values) == len(names):
        return Row(number, dict(zip(names, values, strict=True)))
    have, want = len(values), len(names)
    return Problem(
        f"{file.path}:{number}",
        tr(
            f"{have} values for {want} columns; quote values that hold the separator",
            f"有 {have} 个值而表头有 {want} 列；请给含分隔符的值加引号",
        ),
    )


def _parquet_rows(
    file: InputFile, settings: TextSettings, report: ReadReport, fields: Sequence[str] | None
) -> Iterator[Row | Problem]:
    purpose = tr("reading .parquet files", "读取 .parquet 文件")
    arrow, parquet = load_arrow(purpose), load_arrow(purpose, "pyarrow.parquet")
    number = 0
    try:
        with seekable(file, settings, report) as raw:
            table = parquet.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20)
            _check_parquet(file, table, settings, raw.seek(0, 2), fields)
            columns = None if fields is None else list(fields)
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except (arrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BrokenFileError(
            f"{file.path}:{number + 1}",
            tr(
                f"the parquet file is cut or damaged from this row on ({reason})",
                f"parquet 文件从此行起不完整或已损坏（{reason}）",
            ),
        ) from error


def _check_parquet(
    file: InputFile, table: Any, settings: TextSettings, size: int, fields: Sequence[str] | None
) -> None:
    names = table.schema_arrow.names
    for field in fields or ():
        if field not in names:
            raise BrokenFileError(file.path, _missing(field, dict.fromkeys(names), settings))
    metadata = table.metadata
    total = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    check_expansion(file.path, total, size, settings)
