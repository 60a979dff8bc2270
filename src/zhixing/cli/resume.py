"""``zhixing resume``: the same run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help=tr(
        "Continue an interrupted run exactly: weights, optimizer, schedule, random state, place in the text.",
        "精确续训：权重、优化器、学习率计划、随机状态、文本位置全部恢复。",
    )
)
def resume(
    folder: Annotated[Path, typer.Argument(help=tr("folder of the run", "训练文件夹"))],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help=tr("change a field of the recipe; refused unless allowed", "更改配方字段；默认拒绝")
        ),
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option(
            "--allow-changes",
            help=tr("accept changed training settings or machine", "接受更改后的训练设置或机器"),
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the procedure and print where the model is."""
    from zhixing.pretraining.closing import closing_words
    from zhixing.pretraining.run import resume as run_resume

    result = run_resume(folder, overrides=changes or (), allow_changes=allow_changes)
    emit(
        as_json,
        {"out": str(result.folder), **result.facts},
        "" if as_json else closing_words(result),
    )
