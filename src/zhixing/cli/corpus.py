"""``zhixing corpus``: look at text before anything is made of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(rich_markup_mode=None, help=tr("Read and inspect text.", "读取与检查文本。"), no_args_is_help=True)

FIRST = 5


@app.callback()
def corpus() -> None:
    """Keep ``show`` a command of its own although it is the only one."""


@app.command(help=tr("Count what is in files, folders or globs.", "统计文件、文件夹或通配符中的文本。"))
def show(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help=tr("files, folders, globs; none: the default text", "文件、文件夹、通配符；缺省为默认文本")
        ),
    ] = None,
    text_field: Annotated[
        str, typer.Option(help=tr("field that holds the text in rows", "行中存放文本的字段"))
    ] = "text",
    on_error: Annotated[
        str, typer.Option(help=tr("broken rows: fail or skip", "遇到损坏的行：fail 停止或 skip 跳过"))
    ] = "fail",
    as_json: JsonFlag = False,
) -> None:
    """Read everything once and show the counts and the first documents."""
    from zhixing.config import load_settings
    from zhixing.corpus.reader import documents
    from zhixing.corpus.report import ReadReport
    from zhixing.corpus.settings import TextSettings

    overrides = [f"text_field={text_field}", f"on_error={on_error}"]
    settings = load_settings(TextSettings, None, overrides).replace(paths=tuple(paths or ()))
    report = ReadReport()
    first: list[dict[str, Any]] = []
    for document in documents(settings, report):
        if len(first) < FIRST:
            first.append({"source": document.source, "bytes": document.utf8_bytes, "text": document.text[:200]})
    emit(as_json, report.to_dict() | {"first": first}, _table(report.to_dict(), first))


def _table(counts: dict[str, Any], first: list[dict[str, Any]]) -> Any:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False)
    for name, value in counts.items():
        if value or name in ("files", "documents", "text_bytes"):
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            table.add_row(name, escape(shown))
    examples = Table(tr("source", "来源"), tr("bytes", "字节"), tr("begins with", "开头"))
    for document in first:
        begins = escape(document["text"][:80].replace("\n", "⏎"))
        examples.add_row(escape(document["source"]), f"{document['bytes']:,}", begins)
    return Group(table, examples)
