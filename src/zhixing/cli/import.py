"""``zhixing import``: another program's model as a model folder, and whether it computes the same here.

The module's name is a keyword, so it is opened by name only, as ``app`` does with every verb.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zhixing.cli.export import Text, Tokens
from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    name="import",
    help=tr(
        "Make the model folder DIR of SRC, which another program has written, and check that both compute the same. "
        "No code in SRC is run and no pickle is opened.",
        "由其他程序写出的 SRC 生成模型文件夹 DIR，并核对两边计算一致。不运行 SRC 中的代码，不打开 pickle。",
    ),
)
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help=tr("a folder of transformers, or a file", "transformers 文件夹，或一个文件")
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="DIR", help=tr("the model folder to make", "要生成的模型文件夹"))],
    format: Annotated[
        str | None,
        typer.Option(
            help=tr(
                "transformers, arpa, word2vec, word2vec-binary or fasttext; default: recognised",
                "transformers、arpa、word2vec、word2vec-binary 或 fasttext；默认自动识别",
            )
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help=tr(
                "folder of the tokenizer whose tokens an ARPA file is over; default: that of the file, if it has one",
                "ARPA 文件所用分词器的文件夹；默认取文件所在文件夹中的（若有）",
            )
        ),
    ] = None,
    text: Text = None,
    tokens: Tokens = 16,
    as_json: JsonFlag = False,
) -> None:
    """Import and show the report."""
    from zhixing.exchange.formats import Options
    from zhixing.exchange.questions import Sample, read_texts
    from zhixing.exchange.run import import_model

    options = Options(Sample(read_texts(text or ()), tokens), tokenizer=tokenizer)
    found = import_model(source, out, format, options)
    emit(as_json, found.as_dict(), found.render())
    if not found.ok:
        typer.echo(f"zhixing: {found.problem()}", err=True)
        raise typer.Exit(1)
