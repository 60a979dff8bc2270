"""The comparison as one HTML file that opens offline and asks nobody for anything.

It looks like a run's report (``zhixing.training.report``), whose style sheet, charts and escaping it takes: first the
answer in a sentence, then the figures behind it. All text from outside is escaped; the policy of the page admits its
own style sheet by its digest and no script at all.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from zhixing.comparison.next_commands import purposes
from zhixing.comparison.table import CompareReport, Row, cells, column_titles, neighbours_in_words
from zhixing.language import current_language, tr
from zhixing.training.charts import Axis, Bar, Point, Series, bar_chart, in_bytes, line_chart, short
from zhixing.training.report import shown, visible, visible_in
from zhixing.training.verdict import is_number


def render(report: CompareReport, *, title: str, recipe: str, card: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        report: the comparison.
        title: of the page.
        recipe: the resolved recipe, YAML.
        card: counts of the splits of the text.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zhixing.comparison", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "visible": visible, "bytes": in_bytes, "short": short}
    environment.globals |= {"tr": tr, "is_number": is_number}
    style = _text("zhixing.training", "report.css") + _text("zhixing.comparison", "compare.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("compare.html.jinja").render(
        language="zh-Hans" if current_language() == "zh" else "en",
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        style=Markup(style),
        title=visible(title),
        report=report,
        sentences=[visible(sentence) for sentence in report.choice.sentences],
        pairs=[(visible(neighbours_in_words(pair)), pair.better is None) for pair in report.neighbours],
        notes=[visible(note) for note in report.notes],
        best=report.choice.best,
        bars=_bars(report),
        titles=column_titles(),
        rows=[(row, cells(row)) for row in report.finished],
        failed=[row for row in report.rows if row.error is not None],
        table_notes=_table_notes(report.finished),
        charts={"seconds": _chart(report, "seconds"), "flops": _chart(report, "flops")},
        splits={name: card[name] for name in ("train", "validation") if name in card},
        facts=visible_in(report.facts),
        recipe=visible(recipe),
        commands={purposes()[name]: visible(command) for name, command in report.commands.items()},
        reports=_reports(report),
    )


def _text(package: str, name: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _bars(report: CompareReport) -> Markup:
    bars = [
        Bar(visible(row.model), row.bits_per_byte, "best" if row.model == report.choice.best else "model")
        for row in report.finished
    ]
    bars += [Bar(name, value, "yardstick") for name, value in report.yardsticks.items()]
    bars.sort(key=lambda bar: bar.value or 0.0)
    unit = tr("bits per byte of held-out text; shorter is better", "留出文本的每字节比特数，越短越好")
    return bar_chart(tr("How well each predicts the text", "各模型预测文本的能力"), bars, unit)


def _chart(report: CompareReport, over: str) -> Markup:
    """Return the curves over ``seconds`` or ``flops``, in the order of the ranking; nothing where there are none."""
    found: list[tuple[str, Sequence[Point]]] = [
        (curve.model, curve.seconds if over == "seconds" else curve.flops) for curve in report.curves
    ]
    found = [(name, points) for name, points in found if points]
    if not found:
        return Markup()
    size, label = 1, tr("operations (FLOP)", "浮点运算量（FLOP）")
    if over == "seconds":
        longest = max(points[-1][0] for _, points in found)
        size, label = (60, tr("minutes", "分钟")) if longest >= 180 else (1, tr("seconds", "秒"))
    series = [Series(visible(name), [(x / size, y) for x, y in points]) for name, points in found]
    heading = tr("Loss on held-out text", "留出文本上的损失")
    across, up = Axis(label, from_zero=True, tight=True), Axis(tr("nats per token", "奈特/词元"))
    return line_chart(heading, series, across, up, wide=True)


def _table_notes(rows: Sequence[Row]) -> list[str]:
    """Return what the columns hold, sentence by sentence."""
    return [
        tr("The interval is that of bits per byte over documents, from the bootstrap.",
           "区间由按文档的自助法得出。"),
        tr("First guess right: how often the most probable token came, at the same held-out places for all.",
           "首选命中：在相同的留出位置上，概率最大的词元恰好出现的比例。"),
        tr("Parameters of a counted model are its stored probabilities; it reads the text as often as its method asks: "
           "the budget binds the neural models.",
           "计数模型的参数指其存储的概率；它按方法所需读文本，预算只约束神经模型。"),
        tr("Tokens/s: eight texts at once; ms/token: one text alone.",
           "词元/秒：八个文本同时写作；毫秒/词元：单个文本。"),
        _memory_in_words(rows),
        _energy_in_words(rows),
    ]  # fmt: skip


def _memory_in_words(rows: Sequence[Row]) -> str:
    """Return what the memory column holds."""
    if any(row.megabytes_of == "files" for row in rows):
        return tr(
            "Memory is the size of the weights on the disk: this system does not tell what a process holds.",
            "内存为权重文件的大小：本系统无法给出进程占用的内存。",
        )
    return tr(
        "Memory is the peak of a fresh process that opens the one model and writes; the libraries it needs count too.",
        "内存为新进程打开该模型并写作时的峰值，所需的程序库也计算在内。",
    )


def _energy_in_words(rows: Sequence[Row]) -> str:
    if all(row.energy_measured for row in rows):
        return tr("Energy is measured by the processor's own counter.", "能耗由处理器自带计数器实测。")
    return tr("Energy is estimated: cores times watts per core times time.", "能耗为估算：核数 × 每核功率 × 时间。")


def _reports(report: CompareReport) -> dict[str, str]:
    """Return, by name, where the report of a model's own training lies, seen from the page."""
    found = {row.model: Path(row.folder) / "report.html" for row in report.finished if row.folder}
    inside = {name: path for name, path in found.items() if path.is_file() and path.is_relative_to(report.out)}
    return {name: quote(path.relative_to(report.out).as_posix()) for name, path in inside.items()}
