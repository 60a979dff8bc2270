"""``zhixing explain``: one idea of the field, its formula, a worked example, a picture, and where it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.errors import ConfigError
from zhixing.language import tr

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    help=tr(
        "Explain a topic: the idea, its formula, an example worked with real numbers, a picture, the places in the "
        "code. Without a topic: list them all.",
        "讲解一个主题：思想、公式、用真实数字演算的例子、图，以及代码所在之处。不给主题则列出全部。",
    )
)
def explain(
    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help=tr("such as attention or temperature", "如 attention、temperature")),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=tr("change an input of the worked example; repeatable", "修改算例的一个输入；可重复"),
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help=tr(
                "write a page instead: a file .html or a folder; without a topic a folder of all pages with an index",
                "改为写出网页：.html 文件或文件夹；不给主题则在文件夹中写出全部网页与目录页",
            ),
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show or write one lesson, or all of them."""
    if topic is None:
        if changes:
            raise ConfigError(
                tr("--set needs a topic: zhixing explain TOPIC --set …", "--set 需要主题：zhixing explain 主题 --set …")
            )
        _all(html, as_json)
    else:
        _one(topic, changes or [], html, as_json)


def _all(html: Path | None, as_json: bool) -> None:
    from zhixing.explain.topics import topics

    payload: dict[str, Any] = {
        "topics": [{"name": one.name, "family": one.family, "title": one.title} for one in topics().values()]
    }
    if html is None:
        from zhixing.explain.terminal import overview

        emit(as_json, payload, overview() if not as_json else "")
        return
    from zhixing.explain.site import write_all

    index = write_all(html)
    payload["html"] = str(index)
    emit(
        as_json,
        payload,
        tr(
            f"wrote {len(payload['topics'])} pages; begin with {index}",
            f"已写出 {len(payload['topics'])} 个网页；请从 {index} 开始",
        ),
    )


def _one(name: str, changes: list[str], html: Path | None, as_json: bool) -> None:
    from zhixing.explain.lesson import as_json as as_values
    from zhixing.explain.lesson import lesson

    found = lesson(name, changes)
    payload = as_values(found) if as_json else {}
    if html is None:
        from zhixing.explain.terminal import TerminalLesson

        emit(as_json, payload, TerminalLesson(found))
        return
    from zhixing.explain.site import write_page

    path = write_page(found, html)
    emit(as_json, payload | {"html": str(path)}, tr(f"wrote {path}", f"已写出 {path}"))
