"""What a verb prints: one result on standard output; notices and progress go to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from zhixing.language import tr

JsonFlag = Annotated[
    bool,
    typer.Option("--json", help=tr("print one JSON object and nothing else", "只输出一个 JSON 对象")),
]


def emit(as_json: bool, payload: Mapping[str, Any], human: object) -> None:
    """Print the result: ``payload`` as one JSON line, or ``human`` (text or a rich renderable)."""
    if as_json:
        sys.stdout.write(json.dumps(payload, ensure_ascii=False, allow_nan=False, default=str) + "\n")
        return
    if isinstance(human, str):
        sys.stdout.write(human if human.endswith("\n") else human + "\n")
        return
    from rich.console import Console

    Console().print(human)
