"""``zhixing export``: a model for another program, and whether it computes the same there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(rich_markup_mode=None, add_completion=False)

Text = Annotated[
    list[Path] | None,
    typer.Option(help=tr("held-out text of the parity report; repeatable", "一致性报告所用的留出文本；可重复")),
]
Tokens = Annotated[int, typer.Option(min=1, help=tr("greedy tokens after each prompt", "每个提示后贪心生成的词元数"))]


@app.command(
    help=tr(
        "Write the model folder DIR for another program, and check that it computes the same there: logits, greedy "
        "text, perplexity. Exit code 1 if it does not.",
        "把模型文件夹 DIR 写成其他程序的格式，并核对两边计算一致：logit、贪心文本、困惑度；不一致则退出码为 1。",
    )
)
def export(
    model: Annotated[Path, typer.Argument(metavar="DIR", help=tr("the model folder", "模型文件夹"))],
    format: Annotated[
        str,
        typer.Option(
            help=tr(
                "transformers, gguf, onnx, arpa, word2vec, word2vec-binary or fasttext",
                "transformers、gguf、onnx、arpa、word2vec、word2vec-binary 或 fasttext",
            )
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help=tr("the folder to make; default: DIR-FORMAT", "要生成的文件夹；默认 DIR-FORMAT")),
    ] = None,
    precision: Annotated[
        str, typer.Option(help=tr("of the matrices (gguf): f32 or f16", "矩阵的精度（gguf）：f32 或 f16"))
    ] = "f32",
    text: Text = None,
    tokens: Tokens = 16,
    as_json: JsonFlag = False,
) -> None:
    """Export and show the report."""
    from zhixing.errors import ConfigError, nearest
    from zhixing.exchange.formats import Options
    from zhixing.exchange.questions import Sample, read_texts
    from zhixing.exchange.run import export_model

    if precision not in ("f32", "f16"):
        hint = nearest(precision, ("f32", "f16"))
        raise ConfigError(tr(f"--precision {precision}: {hint}", f"--precision {precision}：{hint}"))
    options = Options(Sample(read_texts(text or ()), tokens), "f16" if precision == "f16" else "f32")
    found = export_model(model, format, out, options)
    emit(as_json, found.as_dict(), found.render())
    if not found.ok:
        typer.echo(f"zhixing: {found.problem()}", err=True)
        raise typer.Exit(1)
