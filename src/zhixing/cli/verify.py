"""``zhixing verify``: does this machine compute what the theory says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zhixing.cli.output import JsonFlag, emit
from zhixing.language import tr

if TYPE_CHECKING:
    from zhixing.agreement.run import Result

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    help=tr(
        "Compare the production code with the formulas on random inputs: values and gradients. "
        "Exit code 1 if any differ.",
        "用随机输入比较产品代码与公式（数值与梯度）；如有不符，退出码为 1。",
    )
)
def verify(
    only: Annotated[
        str | None,
        typer.Option(
            help=tr(
                "rows whose name contains this: attention, networks.gelu",
                "只运行名称含此文字的行：attention、networks.gelu",
            )
        ),
    ] = None,
    device: Annotated[str, typer.Option(help=tr("cpu, cuda, cuda:1, mps", "cpu、cuda、cuda:1、mps"))] = "cpu",
    dtype: Annotated[
        str,
        typer.Option(help=tr("float64, float32, bfloat16 or float16", "float64、float32、bfloat16 或 float16")),
    ] = "float32",
    seed: Annotated[int, typer.Option(help=tr("of the random inputs", "随机输入的种子"))] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run the agreement table and show the largest error of each row against its bound."""
    from zhixing.agreement.run import verify as run_table

    results = run_table(device=device, dtype=dtype, only=only, seed=seed)
    payload = {
        "ok": all(result.ok for result in results),
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "rows": [_as_json(result) for result in results],
    }
    emit(as_json, payload, _table(results, device, dtype))
    if not payload["ok"]:
        raise typer.Exit(1)


def _as_json(result: Result) -> dict[str, Any]:
    error = result.error if result.error < float("inf") else None  # JSON knows no infinity
    return {
        "name": result.name,
        "error": error,
        "bound": result.bound,
        "ok": result.ok,
        "worst": result.worst,
    }


def _table(results: Sequence[Result], device: str, dtype: str) -> object:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column(tr("formula", "公式"))
    table.add_column(tr("largest error", "最大误差"), justify="right")
    table.add_column(tr("bound", "界限"), justify="right")
    table.add_column("")
    for result in results:
        verdict = Text("✓", "green") if result.ok else Text(f"✗ {result.worst}", "bold red")
        table.add_row(result.name, f"{result.error:.1e}", f"{result.bound:.1e}", verdict)
    return Group(table, "", Text(_in_words(results, device, dtype)))


def _in_words(results: Sequence[Result], device: str, dtype: str) -> str:
    failed = [result.name for result in results if not result.ok]
    if not failed:
        return tr(
            f"On {device} in {dtype}, all {len(results)} production functions compute what the formulas say.",
            f"在 {device} 上以 {dtype} 计算，全部 {len(results)} 个产品函数与公式一致。",
        )
    names = ", ".join(failed)
    return tr(
        f"On {device} in {dtype}, {len(failed)} of {len(results)} production functions differ from their "
        f"formula by more than rounding explains: {names}. Do not trust what uses them on this machine.",
        f"在 {device} 上以 {dtype} 计算，{len(results)} 个产品函数中有 {len(failed)} 个"
        f"与公式之差超出舍入误差：{names}。请勿信任本机上用到它们的结果。",
    )
