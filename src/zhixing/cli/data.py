"""``zhixing data``: text to token shards, a look inside a batch, a check of data files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

if TYPE_CHECKING:
    from zhixing.data.check import FileCheck
    from zhixing.data.windows import Batch
    from zhixing.tokenizers.protocol import Tokenizer

app = typer.Typer(
    rich_markup_mode=None, help=tr("Turn text into token shards.", "把文本变成词元分片。"), no_args_is_help=True
)

TokenizerOption = Annotated[
    Path, typer.Option("--tokenizer", help=tr("tokenizer or model folder", "分词器或模型文件夹"))
]


@app.command(help=tr("Encode text into shards, resumable.", "把文本编码为分片，可续做。"))
def prepare(
    tokenizer: TokenizerOption,
    out: Annotated[Path, typer.Option(help=tr("folder for the shards", "存放分片的文件夹"))],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            help=tr("files, folders, globs; none: the default text", "文件、文件夹、通配符；缺省为默认文本")
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help=tr("a setting of the reading, such as on_error=skip", "读取设置，如 on_error=skip")),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=tr("threads", "线程数"))] = None,
    replace: Annotated[bool, typer.Option(help=tr("write over other shards in OUT", "覆盖 OUT 中的其他分片"))] = False,
    as_json: JsonFlag = False,
) -> None:
    """Prepare, or open what was prepared, and print the counts."""
    from zhixing.config import load_settings
    from zhixing.corpus.settings import TextSettings
    from zhixing.data.prepare import prepare as prepare_shards
    from zhixing.tokenizers.load import load_tokenizer

    text = load_settings(TextSettings, None, override or [])
    if paths:
        text = text.replace(paths=tuple(paths))
    prepared = prepare_shards(text, load_tokenizer(tokenizer), out, workers=workers, replace=replace)
    payload: dict[str, Any] = {"out": str(out), "report": prepared.report.to_dict()}
    for shards in (prepared.train, prepared.validation):
        payload[shards.folder.name] = {
            "documents": shards.document_count,
            "tokens": shards.token_count,
            "text_bytes": shards.text_bytes,
            "digest": shards.digest,
        }
    emit(as_json, payload, _counts(payload))


@app.command(help=tr("Show what a model sees in one batch.", "查看模型在一个批次中看到的内容。"))
def show(
    folder: Annotated[
        Path,
        typer.Argument(help=tr("train or validation folder of shards", "分片的 train 或 validation 文件夹")),
    ],
    tokenizer: TokenizerOption,
    batch: Annotated[int, typer.Option(min=0, help=tr("which batch", "第几个批次"))] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help=tr("windows in a batch", "批次中的窗口数"))] = 2,
    context_length: Annotated[int, typer.Option(min=1, help=tr("tokens in a window", "窗口的词元数"))] = 64,
    seed: Annotated[int, typer.Option(help=tr("seed of the order", "顺序的随机种子"))] = 0,
    shuffle: Annotated[bool, typer.Option(help=tr("shuffled order", "打乱顺序"))] = True,
    isolate: Annotated[bool, typer.Option(help=tr("hide documents from each other", "文档互不可见"))] = True,
    as_json: JsonFlag = False,
) -> None:
    """Decode one batch token by token, with weight, position and document."""
    from zhixing.data.prepare import same_tokenizer
    from zhixing.data.shards import TokenShards
    from zhixing.data.windows import TokenWindows
    from zhixing.tokenizers.load import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    split = folder if not (folder / "train").is_dir() else folder / "train"
    shards = TokenShards.open(split)
    same_tokenizer(shards, loaded)
    windows = TokenWindows(shards, context_length, seed, shuffle, isolate)
    found = windows.batch(batch * batch_size, batch_size)
    emit(as_json, _batch_values(found, loaded), _coloured(found, loaded))


@app.command(help=tr("Check data files row by row.", "逐行检查数据文件。"))
def check(
    files: Annotated[list[str], typer.Argument(help=tr("data files", "数据文件"))],
    text_field: Annotated[str, typer.Option(help=tr("field of plain text", "纯文本所在的字段"))] = "text",
    as_json: JsonFlag = False,
) -> None:
    """Guess each file's layout, name its unusable rows, end with 2 if there are any."""
    from zhixing.corpus.settings import TextSettings
    from zhixing.data.check import check_file

    results = [check_file(path, TextSettings(text_field=text_field)) for path in files]
    total = sum(result.problem_count for result in results)
    payload = {"files": [result.to_dict() for result in results], "problems": total}
    emit(as_json, payload, "\n".join(_findings(result) for result in results))
    if total:
        raise typer.Exit(2)


def _counts(payload: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("", tr("documents", "文档"), tr("tokens", "词元"), tr("bytes", "字节"))
    for split in ("train", "validation"):
        row = payload[split]
        table.add_row(split, *(f"{row[name]:,}" for name in ("documents", "tokens", "text_bytes")))
    return table


def _findings(result: FileCheck) -> str:
    head = tr(
        f"{result.path}: {result.layout or 'layout?'}, {result.rows} rows, {result.problem_count} problems",
        f"{result.path}：{result.layout or '未知格式'}，{result.rows} 行，{result.problem_count} 处问题",
    )
    more = result.problem_count - len(result.problems)
    tail = [tr(f"... and {more} more", f"……另有 {more} 处")] if more else []
    example = [tr("example:", "示例："), result.example] if result.example else []
    return "\n".join([head, *result.problems, *tail, *example])


def _batch_values(batch: Batch, tokenizer: Tokenizer) -> dict[str, Any]:
    def values(array: Any) -> Any:
        return None if array is None else array.tolist()

    return {
        "tokens": [[_piece(tokenizer, int(i)) for i in row] for row in batch.inputs],
        "inputs": values(batch.inputs),
        "targets": values(batch.targets),
        "weights": values(batch.weights),
        "documents": values(batch.documents),
        "positions": values(batch.positions),
    }


def _piece(tokenizer: Tokenizer, token_id: int) -> str:
    if token_id in tokenizer.special_ids:
        return "⏹"
    return tokenizer.token_bytes(token_id).decode("utf-8", "backslashreplace").replace("\n", "⏎")


def _coloured(batch: Batch, tokenizer: Tokenizer) -> Any:
    """Return the rows' tokens: coloured by document, struck out where the target does not count."""
    from rich.console import Group
    from rich.text import Text

    colours = ("cyan", "yellow", "green", "magenta")
    lines: list[Text] = []
    for row, ids in enumerate(batch.inputs):
        text = Text(tr(f"window {row}: ", f"窗口 {row}："), style="bold")
        for column, token_id in enumerate(ids):
            document = 0 if batch.documents is None else int(batch.documents[row, column])
            place = column if batch.positions is None else int(batch.positions[row, column])
            weight = "" if batch.weights[row, column] else "dim strike "
            if place % 10 == 0:
                text.append(f"[{document}:{place}]", style="bright_black")
            text.append(_piece(tokenizer, int(token_id)), style=weight + colours[document % len(colours)])
            text.append("·", style="bright_black")
        lines.append(text)
    return Group(*lines)
