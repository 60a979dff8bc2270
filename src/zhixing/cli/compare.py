"""``zhixing compare``: several models, one text, one budget; which to choose?"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(add_completion=False, rich_markup_mode=None)

MaxParams = Annotated[
    int | None,
    typer.Option(min=1, help=tr("choose among models of at most so many parameters", "所选模型的参数上限")),
]
MaxMemory = Annotated[
    float | None,
    typer.Option(min=0, help=tr("... of at most so many MB while they write", "所选模型写作时的内存上限（MB）")),
]
MaxLatency = Annotated[
    float | None,
    typer.Option(min=0, help=tr("... of at most so many milliseconds per token", "所选模型每词元的毫秒上限")),
]


def recipe_fields() -> str:
    """Return every field of a comparison's recipe with default, unit and meaning, from the shipped schema."""
    from zhixing.config import describe_fields

    schema: dict[str, Any] = json.loads(
        files("zhixing.comparison").joinpath("recipe.schema.json").read_text(encoding="utf-8")
    )
    each = dict(schema["$defs"]["ComparedModel"]["properties"])
    own = tr("as training above, only what differs for this model", "同上文的 training，只写此模型不同之处")
    each["training"] = {"type": "object", "description": own, "zh": own}
    whole = {name: field for name, field in schema["properties"].items() if name != "models"}
    lines = [tr("Fields of a recipe (name = default [unit]):", "配方的字段（名称 = 默认值 [单位]）：")]
    for prefix, properties in (("", whole), ("models[].", each)):
        for name, default, unit, meaning in describe_fields({**schema, "properties": properties}):
            lines.append(f"  {prefix}{name}{f' = {default}' if default else ''}{f' [{unit}]' if unit else ''}")
            if meaning:
                lines.append(f"      {meaning}")
    return "\n".join(lines)


@app.command(
    help=tr(
        "Train the models that RECIPE names on one text, with one tokenizer and one budget each; measure them all in "
        "the same way; say which to choose. Run it again to continue an interrupted one.",
        "在同一文本上，以同一分词器、各自相同的预算训练 RECIPE 所列的模型，用同样的方法度量，并说明该选哪个。"
        "中断后再次运行即可继续。",
    ),
    epilog="\b\n" + recipe_fields(),
)
def compare(
    recipe: Annotated[Path, typer.Argument(help=tr("the comparison's recipe", "比较的配方文件"))],
    out: Annotated[Path, typer.Option("--out", help=tr("where everything goes", "输出文件夹"))] = Path("comparison"),
    changes: Annotated[
        list[str] | None, typer.Option("--set", help=tr("change a field: a.b=c", "更改字段：a.b=c"))
    ] = None,
    max_params: MaxParams = None,
    max_memory: MaxMemory = None,
    max_latency: MaxLatency = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the comparison and show table, sentences and page."""
    from zhixing.comparison.choice import Limits
    from zhixing.comparison.run import compare as run

    report = run(recipe, out, overrides=changes or (), limits=Limits(max_params, max_memory, max_latency))
    emit(as_json, report.as_dict(), report.render())
    if not report.finished:
        raise typer.Exit(1)
