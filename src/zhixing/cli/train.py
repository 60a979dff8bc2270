"""``zhixing train``: a recipe becomes a model folder."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def recipe_fields() -> str:
    """Return every recipe field with default, unit and meaning, read from the shipped schema: no torch needed."""
    from zhixing.config import describe_fields

    schema = json.loads(files("zhixing.pretraining").joinpath("recipe.schema.json").read_text(encoding="utf-8"))
    lines = [tr("Fields of a recipe (name = default [unit]):", "配方的字段（名称 = 默认值 [单位]）：")]
    for name, default, unit, meaning in describe_fields(schema):
        lines.append(f"  {name}{f' = {default}' if default else ''}{f' [{unit}]' if unit else ''}")
        if meaning:
            lines.append(f"      {meaning}")
    return "\n".join(lines)


@app.command(
    help=tr(
        "Train a model from RECIPE (YAML) and leave a model folder at OUT.",
        "按配方 RECIPE（YAML）训练模型，并在 OUT 处生成模型文件夹。",
    ),
    epilog="\b\n" + recipe_fields(),
)
def train(
    recipe: Annotated[Path, typer.Argument(help=tr("the recipe", "配方文件"))],
    out: Annotated[Path, typer.Option("--out", help=tr("folder of the run", "训练文件夹"))],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help=tr("change a field: a.b=c", "更改字段：a.b=c"))
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", help=tr("start from this model's weights", "以该模型的权重为起点")),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(
            "--ids",
            help=tr("folder of tokenizer and shards, shared by runs", "多次训练共用的分词器与分片文件夹"),
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the procedure and print where the model is."""
    from zhixing.pretraining.closing import closing_words
    from zhixing.pretraining.run import train as run_training

    result = run_training(recipe, out, overrides=changes or (), init_from=init_from, ids_folder=ids)
    emit(
        as_json,
        {"out": str(result.folder), **result.facts},
        "" if as_json else closing_words(result),
    )
