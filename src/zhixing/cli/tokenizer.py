"""``zhixing tokenizer``: train one, report on one, look at what it does to a text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from zhixing.tokenizers.report import TokenizerReport

app = typer.Typer(
    rich_markup_mode=None,
    help=tr("Train, inspect and report on tokenizers.", "训练、检查分词器并出具报告。"),
    add_completion=False,
    no_args_is_help=True,
)

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        help=tr(
            "files, folders or globs; none: Python's standard library",
            "文件、文件夹或通配符；不给则用 Python 标准库",
        )
    ),
]
Folder = Annotated[Path, typer.Argument(help=tr("folder that holds the tokenizer", "分词器所在文件夹"))]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help=tr("a setting, as name=value", "一项设置，写作 名称=值")),
]


@app.command(help=tr("Learn a tokenizer from text.", "从文本学习分词器。"))
def train(
    out: Annotated[Path, typer.Option("--out", help=tr("folder to write", "输出文件夹"))],
    paths: Paths = None,
    vocab_size: Annotated[int, typer.Option(help=tr("ids in the vocabulary", "词表大小"))] = 4096,
    kind: Annotated[
        str,
        typer.Option(
            help=tr("bpe, unigram, wordpiece, byte or character", "bpe、unigram、wordpiece、byte 或 character")
        ),
    ] = "bpe",
    settings: Sets = None,
    as_json: JsonFlag = False,
) -> None:
    """Train on ``paths`` and write the folder."""
    from zhixing.config import load_settings
    from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

    _refuse_to_overwrite(out)
    overrides = [f"vocab_size={vocab_size}", f"kind={kind}", *(settings or [])]
    chosen = load_settings(TokenizerSettings, None, overrides)
    tokenizer = train_tokenizer(chosen, _texts(paths))
    tokenizer.save(out)
    payload = {
        "out": str(out),
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "fingerprint": tokenizer.fingerprint,
        "settings": chosen.model_dump(mode="json"),
    }
    human = tr(
        f"{out}: {tokenizer.kind}, {tokenizer.vocab_size} tokens\nnext: zhixing tokenizer report {out}",
        f"{out}：{tokenizer.kind}，{tokenizer.vocab_size} 个词元\n下一步：zhixing tokenizer report {out}",
    )
    emit(as_json, payload, human)


@app.command(help=tr("Measure a tokenizer on text.", "在文本上度量分词器。"))
def report(
    folder: Folder,
    paths: Paths = None,
    worst: Annotated[
        int, typer.Option(min=0, help=tr("how many of the worst strings to list", "列出多少个最差字符串"))
    ] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Show compression by script, losses, and the worst strings."""
    from zhixing.tokenizers.load import load_tokenizer
    from zhixing.tokenizers.report import tokenizer_report

    found = tokenizer_report(load_tokenizer(folder), _texts(paths), worst)
    emit(as_json, found.to_dict(), _rendered(found))


@app.command(help=tr("Show how a text is cut into tokens.", "显示文本如何被切成词元。"))
def encode(
    folder: Folder,
    text: Annotated[str, typer.Argument(help=tr("the text", "文本"))],
    as_json: JsonFlag = False,
) -> None:
    """Show ids and pieces; special tokens typed in the text are ordinary text."""
    from zhixing.tokenizers.load import load_tokenizer

    tokenizer = load_tokenizer(folder)
    ids = tokenizer.encode(text)
    pieces = [tokenizer.token_bytes(index).decode("utf-8", errors="backslashreplace") for index in ids]
    payload = {"ids": ids, "pieces": pieces, "tokens": len(ids), "utf8_bytes": len(text.encode("utf-8"))}
    human = "\n".join(f"{index:>8}  {piece!r}" for index, piece in zip(ids, pieces, strict=True))
    emit(as_json, payload, f"{human}\n{len(ids)} {tr('tokens', '个词元')}")


def _texts(paths: list[str] | None) -> Iterator[str]:
    from zhixing.corpus.reader import documents
    from zhixing.corpus.settings import TextSettings

    for document in documents(TextSettings(paths=tuple(paths or ()))):
        yield document.text


def _refuse_to_overwrite(out: Path) -> None:
    from zhixing.errors import DataError

    if (out / "tokenizer.json").exists():
        raise DataError(
            tr(
                f"{out} already holds a tokenizer, and a model may depend on it; choose another folder",
                f"{out} 中已有分词器，可能有模型依赖它；请另选文件夹",
            )
        )


def _rendered(found: TokenizerReport) -> Group:
    from rich.console import Group

    summary = [
        (
            tr("vocabulary", "词表"),
            f"{found.vocab_size:,} ({100 * found.vocabulary_use:.1f} % {tr('used', '被使用')})",
        ),
        (
            tr("text", "文本"),
            f"{found.texts:,} · {found.utf8_bytes:,} {tr('bytes', '字节')} · {found.tokens:,} {tr('tokens', '词元')}",
        ),
        (tr("bytes per token", "每词元字节"), f"{found.bytes_per_token:.3f}"),
        (tr("characters per token", "每词元字符"), f"{found.characters_per_token:.3f}"),
        (tr("unknown tokens", "未知词元"), f"{found.unknown_tokens:,}"),
        (tr("texts that do not come back", "无法还原的文本"), f"{found.round_trip_failures:,}"),
    ]
    scripts = [
        (
            row.script,
            f"{row.characters:,}",
            f"{row.tokens:,.0f}",
            f"{row.characters_per_token:.3f}",
            f"{row.bytes_per_token:.3f}",
        )
        for row in found.scripts
    ]
    worst = [(repr(row.text), f"{row.count:,}", str(row.tokens), f"{row.bytes_per_token:.2f}") for row in found.worst]
    return Group(
        _table("", ["", ""], summary),
        _table(
            tr("by script", "按文字"),
            [
                tr("script", "文字"),
                tr("characters", "字符"),
                tr("tokens", "词元"),
                tr("characters/token", "字符/词元"),
                tr("bytes/token", "字节/词元"),
            ],
            scripts,
        ),
        _table(
            tr("worst strings", "最差字符串"),
            [
                tr("string", "字符串"),
                tr("seen", "出现"),
                tr("tokens", "词元"),
                tr("bytes/token", "字节/词元"),
            ],
            worst,
        ),
    )


def _table(title: str, columns: list[str], rows: list[Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, show_header=any(columns))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
