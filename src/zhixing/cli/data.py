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

_MOST_TOKENS = 1 << 20
"""Of a batch of shards: more than anybody looks at, and little memory."""
TokenizerOption = Annotated[
    Path, typer.Option("--tokenizer", help=tr("tokenizer or model folder", "分词器或模型文件夹"))
]
WindowsOption = Annotated[
    int | None, typer.Option(min=1, help=tr("shards: windows in a batch; 2", "分片：批次中的窗口数；2"))
]
ContextOption = Annotated[
    int | None, typer.Option(min=1, help=tr("shards: tokens in a window; 64", "分片：窗口的词元数；64"))
]
SeedOption = Annotated[int | None, typer.Option(help=tr("shards: seed of the order; 0", "分片：顺序的随机种子；0"))]
ShuffleOption = Annotated[
    bool | None, typer.Option("--shuffle/--no-shuffle", help=tr("shards: shuffled order", "分片：打乱顺序"))
]
IsolateOption = Annotated[
    bool | None,
    typer.Option("--isolate/--no-isolate", help=tr("shards: hide documents from each other", "分片：文档互不可见")),
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
    source: Annotated[
        Path,
        typer.Argument(
            help=tr(
                "a recipe (YAML), the folder of a run, or a folder of shards", "配方（YAML）、训练文件夹或分片文件夹"
            )
        ),
    ],
    override: Annotated[
        list[str] | None, typer.Option("--set", help=tr("change a field of the recipe: a.b=c", "更改配方字段：a.b=c"))
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            "--ids",
            "--out",
            help=tr("recipe: folder of tokenizer and shards, kept", "配方：保留分词器与分片的文件夹"),
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=0, help=tr("which batch", "第几个批次"))] = 0,
    rows: Annotated[int, typer.Option(min=1, help=tr("recipe: rows of the batch to show", "配方：显示的行数"))] = 2,
    places: Annotated[
        str | None, typer.Option(help=tr("recipe: only these places, FROM:TO", "配方：只看这些位置，起:止"))
    ] = None,
    attention: Annotated[
        bool, typer.Option("--attention", help=tr("recipe: draw who sees whom, all of it", "配方：画出完整的可见关系"))
    ] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help=tr("shards: tokenizer or model folder", "分片：分词器或模型文件夹")),
    ] = None,
    batch_size: WindowsOption = None,
    context_length: ContextOption = None,
    seed: SeedOption = None,
    shuffle: ShuffleOption = None,
    isolate: IsolateOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Decode one batch token by token: what is asked, where it stands, who sees whom."""
    of_shards = {
        "--tokenizer": tokenizer, "--batch-size": batch_size, "--context-length": context_length, "--seed": seed,
        "--shuffle": shuffle, "--isolate": isolate,
    }  # fmt: skip
    recipe = _recipe_of(source)
    if recipe is not None:
        _refuse(of_shards, tr("set these in the recipe (--set)", "请在配方中设置（--set）"))
        _show_recipe(recipe, source, override or [], ids, batch, rows, places, attention, as_json)
        return
    of_recipe = {"--set": override or None, "--ids": ids, "--places": places, "--attention": attention or None}
    _refuse(of_recipe, tr("these go with a recipe", "这些选项用于配方"))
    found, loaded = _read_shards(
        source, tokenizer, batch, batch_size or 2, context_length or 64, seed or 0, shuffle is not False,
        isolate is not False,
    )  # fmt: skip
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


def _recipe_of(source: Path) -> Path | None:
    """Return the recipe that ``source`` is, or that the run in it was made by; None: it holds shards."""
    from zhixing.errors import ConfigError

    try:
        if source.is_dir():
            return source / "recipe.yaml" if (source / "recipe.yaml").is_file() else None
    except OSError as error:
        raise ConfigError(
            tr(f"cannot read {source}: {error.strerror}", f"无法读取 {source}：{error.strerror}")
        ) from error
    return source


def _refuse(options: dict[str, Any], why: str) -> None:
    from zhixing.errors import ConfigError

    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(tr(f"{', '.join(given)}: {why}", f"{'、'.join(given)}：{why}"))


def _show_recipe(
    path: Path,
    source: Path,
    override: list[str],
    ids: Path | None,
    batch: int,
    rows: int,
    places: str | None,
    attention: bool,
    as_json: bool,
) -> None:
    from zhixing.config import load_settings
    from zhixing.pretraining import preview
    from zhixing.pretraining.recipe import Recipe

    chosen = None if places is None else preview.places_from(places)
    recipe = load_settings(Recipe, path, override)
    preview.refuse_counted(recipe)
    with preview.ids_of(recipe, ids or preview.ids_of_run(source)) as made:
        shown = preview.preview(recipe, made, batch, rows)
        if as_json:
            emit(True, preview.as_json(shown), "")
            return
        # Imported here: whoever wants values needs no terminal.
        from zhixing.pretraining.terminal import draw

        emit(False, {}, draw(shown, chosen, attention))


def _read_shards(
    folder: Path,
    tokenizer: Path | None,
    batch: int,
    size: int,
    context_length: int,
    seed: int,
    shuffle: bool,
    isolate: bool,
) -> tuple[Batch, Tokenizer]:
    from zhixing.data.prepare import same_tokenizer
    from zhixing.data.shards import TokenShards
    from zhixing.data.windows import TokenWindows
    from zhixing.errors import ConfigError
    from zhixing.tokenizers.load import load_tokenizer

    if size * context_length > _MOST_TOKENS:
        raise ConfigError(
            tr(
                f"--batch-size {size} × --context-length {context_length}: at most {_MOST_TOKENS:,} tokens are shown",
                f"--batch-size {size} × --context-length {context_length}：至多显示 {_MOST_TOKENS:,} 个词元",
            )
        )
    if tokenizer is None:
        raise ConfigError(
            tr(
                f"{folder}: a folder of shards needs --tokenizer DIR, the tokenizer that made them",
                f"{folder}：分片文件夹需要 --tokenizer 文件夹，即生成它的分词器",
            )
        )
    loaded = load_tokenizer(tokenizer)
    split = folder if not (folder / "train").is_dir() else folder / "train"
    shards = TokenShards.open(split)
    same_tokenizer(shards, loaded)
    return TokenWindows(shards, context_length, seed, shuffle, isolate).batch(batch * size, size), loaded


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
