"""``zhixing quickstart``: the main job, one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    help=tr(
        "From a folder of text to trained, evaluated models and a report. Without --text: the Python standard "
        "library's own source and documentation. Run it again to continue an interrupted one.",
        "从文本文件夹到训练、评估完成的模型与报告。不给 --text 时使用 Python 标准库自身的源码与文档。"
        "中断后再次运行即可继续。",
    )
)
def quickstart(
    text: Annotated[
        list[str] | None, typer.Option(help=tr("file, folder or glob; repeatable", "文件、文件夹或通配符；可重复"))
    ] = None,
    out: Annotated[Path, typer.Option(help=tr("where everything goes", "输出文件夹"))] = Path("quickstart"),
    minutes: Annotated[
        float, typer.Option(min=0.01, help=tr("time budget for training, minutes", "训练时间预算（分钟）"))
    ] = 5.0,
    seed: Annotated[int, typer.Option(min=0, help=tr("of everything random", "随机种子"))] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run the main job and show the table, samples and what to do next."""
    from zhixing.main_job import quickstart as run

    result = run(out, text=text or (), minutes=minutes, seed=seed)
    payload = {**result.report.as_dict(), "out": str(result.out), "bits_per_byte": result.bits_per_byte}
    emit(as_json, payload, _show(result))
    if not as_json:  # as they are, whatever the width: they are there to be copied
        sys.stdout.write("\n".join(_commands(result)) + "\n")
    if len(result.report.finished) < len(result.report.rows):
        raise typer.Exit(1)


def _show(result: Any) -> Any:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    from zhixing.generation.terminal import printable

    samples = [
        Panel(Text(printable(s.prompt), style="dim") + Text(printable(s.text)), title=s.model, title_align="left")
        for s in result.report.samples
    ]
    return Group(*samples, result.report.render())


def _commands(result: Any) -> list[str]:
    words = {
        "serve": tr("serve:    ", "提供服务："),
        "generate": tr("generate: ", "写作：    "),
        "continue": tr("continue: ", "继续训练："),
    }
    return [words[name] + command for name, command in result.commands.items()]
