"""The report of a run: one HTML file that opens offline and asks nobody for anything.

The page answers first how good the model is, in a sentence, then shows how it came to be. All text that comes
from outside (prompts, what a model wrote, file names, recipes) is escaped, its control characters are made
visible, and the page's security policy admits its own style sheet and script by their digests, nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from zhixing.language import current_language, tr
from zhixing.model_folder.durable import replace_file
from zhixing.training.charts import Axis, Bar, Point, Series, bar_chart, in_bytes, line_chart, short
from zhixing.training.verdict import Record, best_model, is_model, is_number, sentences

_MOST_ROWS = 40
"""Rows of the metrics table; the whole log is metrics.jsonl."""

_UNSHOWABLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and newline
    "\u200b\u2060\ufeff"  # invisible; joiners are left alone: scripts and emoji need them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the reading direction around
    "\u2028\u2029\ud800-\udfff"  # separators of lines; halves of characters
    "]"
)


@dataclass(frozen=True)
class Sample:
    """What model ``model`` wrote after ``prompt``; ``reference``: what it should have answered, where that is known."""

    model: str
    prompt: str
    text: str
    reference: str = ""


def write_report(
    path: Path,
    *,
    title: str,
    recipe: str,
    metrics: Sequence[Record],
    facts: Mapping[str, Any],
    data_card: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None = None,
    samples: Sequence[Sample] = (),
    commands: Mapping[str, str] | None = None,
) -> None:
    """Write the report to ``path``; whatever is missing is left out of the page.

    Args:
        path: the HTML file; it is replaced whole.
        title: of the page.
        recipe: the resolved recipe, YAML.
        metrics: records of the metrics log.
        facts: what produced the model.
        data_card: counts of the splits by name, and what reading found.
        evaluation: ``EvaluationReport.as_dict()``.
        samples: what models wrote.
        commands: what to do next: ``serve``, ``continue``, or any other name → command line.
    """
    page = render(
        title=title, recipe=recipe, metrics=metrics, facts=facts, data_card=data_card,
        evaluation=evaluation, samples=samples, commands=commands or {},
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, page)


def render(
    *,
    title: str,
    recipe: str,
    metrics: Sequence[Record],
    facts: Mapping[str, Any],
    data_card: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    samples: Sequence[Sample],
    commands: Mapping[str, str],
) -> str:
    """Return the page; arguments as for ``write_report``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zhixing.training", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown,
        "visible": visible,
        "bytes": in_bytes,
        "duration": duration,
        "short": short,
    }
    environment.globals |= {"tr": tr, "is_number": is_number}
    style, script = (_own(name) for name in ("report.css", "report.js"))
    measured: dict[str, Any] = visible_in(evaluation or {})
    best = best_model(measured.get("rows", ()))
    card: dict[str, Any] = visible_in(data_card)
    splits = {name: split for name, split in card.items() if isinstance(split, dict) and "tokens" in split}
    return environment.get_template("report.html.jinja").render(
        language="zh-Hans" if current_language() == "zh" else "en",
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        title=visible(title),
        recipe=visible(recipe),
        sentences=sentences(measured, metrics),
        rows=_rows(measured),
        best_name=best["name"] if best else None,
        several_tokenizers=_several_tokenizers(measured),
        bars=_bars(measured),
        evaluation_facts=measured.get("facts", {}),
        charts={"tokens": _charts(metrics, "tokens"), "seconds": _charts(metrics, "seconds")},
        skipped=max((r["skipped"] for r in metrics if is_number(r.get("skipped"))), default=0),
        table=metrics_table(visible_in(metrics)),
        facts=visible_in(facts),
        card=card,
        splits=splits,
        card_rest={name: value for name, value in card.items() if name not in splits and name != "reading"},
        samples=samples,
        commands=visible_in(commands),
    )


def visible(text: str) -> str:
    """Return the text with characters that cannot be seen, or that act, as escapes such as ``\\x1b``."""
    return _UNSHOWABLE.sub(lambda match: ascii(match.group())[1:-1], text)


def visible_in(tree: Any) -> Any:
    """Return nested mappings and lists with every string, keys included, made ``visible``."""
    if isinstance(tree, str):
        return visible(tree)
    if isinstance(tree, Mapping):
        return {visible(str(name)): visible_in(value) for name, value in tree.items()}
    if isinstance(tree, Sequence):
        return [visible_in(value) for value in tree]
    return tree


def shown(text: str) -> Markup:
    """Return what a model wrote, escaped; what ``visible`` would escape stands out as such."""
    pieces = _UNSHOWABLE.split(text)
    marks = [ascii(found)[1:-1] for found in _UNSHOWABLE.findall(text)]
    mark = Markup('<span class="control">{}</span>')
    return Markup("").join(
        escape(piece) + (mark.format(marks[number]) if number < len(marks) else "")
        for number, piece in enumerate(pieces)
    )


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds."""
    if seconds < 60:
        return tr(f"{seconds:.3g} s", f"{seconds:.3g} 秒")
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return tr(f"{hours} h {minutes} min", f"{hours} 小时 {minutes} 分")
    return tr(f"{minutes} min {rest} s", f"{minutes} 分 {rest} 秒")


def metrics_table(metrics: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and at most about ``_MOST_ROWS`` evenly chosen rows, the last among them."""
    columns = list(dict.fromkeys(name for record in metrics for name in record))
    step = max(1, math.ceil(len(metrics) / _MOST_ROWS))
    kept = [record for n, record in enumerate(metrics) if (len(metrics) - 1 - n) % step == 0]
    return columns, [[_cell(record.get(name, "")) for name in columns] for record in kept]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _own(name: str) -> str:
    return files("zhixing.training").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return the security policy: nothing may be loaded, and only our own style and script act."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _curve(metrics: Sequence[Record], name: str, over: str, scale: float = 1.0, x_scale: float = 1.0) -> list[Point]:
    """Return (x, y) of the records that hold ``name``; a value that is not finite becomes a gap."""
    return [
        (record[over] * x_scale, record[name] * scale if is_number(record[name]) else None)
        for record in metrics
        if name in record and is_number(record.get(over))
    ]


def _charts(metrics: Sequence[Record], over: str) -> list[Markup]:
    """Return the charts that the records have something for, over ``tokens`` or ``seconds``."""
    x_label, size = tr("tokens", "词元"), 1
    if over == "seconds":
        x_label, size = _time_unit(max((r[over] for r in metrics if is_number(r.get(over))), default=0))
    x = Axis(x_label, from_zero=True, tight=True)
    found: list[Markup] = []
    for title, names, y, scale in _chart_list(metrics):
        series = [Series(n, _curve(metrics, key, over, scale, 1 / size)) for key, n in names.items()]
        series = [one for one in series if one.points]
        if series:
            found.append(line_chart(title, series, x, y, wide=not found))
    return found


def _time_unit(longest: float) -> tuple[str, int]:
    """Return the largest unit of which ``longest`` seconds hold at least three, and its seconds."""
    if longest >= 3 * 3600:
        return tr("hours", "小时"), 3600
    return (tr("minutes", "分钟"), 60) if longest >= 3 * 60 else (tr("seconds", "秒"), 1)


def _named_right(title: str, field: str) -> tuple[str, dict[str, str], Axis, float]:
    """Return the chart of a share of right answers, in training and on the held-out text."""
    names = {field: tr("training", "训练"), f"validation_{field}": tr("validation", "验证")}
    return title, names, Axis("%", from_zero=True, reaches=100), 100


def _chart_list(metrics: Sequence[Record]) -> list[tuple[str, dict[str, str], Axis, float]]:
    """Return for each chart: title, the records' fields and their curves' names, axis, factor."""
    prefix = "learning_rate_"
    rates = dict.fromkeys(name for record in metrics for name in record if name.startswith(prefix))
    rate_names = {name: visible(name.removeprefix(prefix)) for name in rates}
    norms = [r["gradient_norm"] for r in metrics if is_number(r.get("gradient_norm")) and r["gradient_norm"] > 0]
    spiky = bool(norms) and max(norms) > 30 * sorted(norms)[len(norms) // 2]
    sentences = any("retrieval_accuracy" in record for record in metrics)
    memory = any(is_number(r.get("resident_bytes")) and r["resident_bytes"] > 0 for r in metrics)
    return [
        (tr("Loss", "损失"), {"loss": tr("training", "训练"), "validation_loss": tr("validation", "验证")},
         Axis(tr("nats per sentence", "奈特/句") if sentences else tr("nats per token", "奈特/词元")), 1),
        _named_right(tr("Masked tokens named right", "猜中的掩码词元"), "masked_accuracy"),
        _named_right(tr("Predicted tokens named right", "猜中的预测词元"), "predicted_accuracy"),
        _named_right(tr("Tokens of the gaps named right", "猜中的空缺词元"), "span_accuracy"),
        _named_right(tr("Sentences found again in their batch", "在批次中被认出的句子"), "retrieval_accuracy"),
        (tr("Alignment: how far two views lie apart", "对齐度：两个视图相距多远"),
         {"alignment": tr("training", "训练"), "validation_alignment": tr("validation", "验证")},
         Axis(tr("squared distance", "距离的平方"), from_zero=True), 1),
        (tr("Uniformity: the lower, the more evenly spread", "均匀度：越低分布越均匀"),
         {"uniformity": tr("training", "训练"), "validation_uniformity": tr("validation", "验证")},
         Axis(tr("logarithm of closeness", "邻近程度的对数")), 1),
        (tr("Learning rate", "学习率"), rate_names, Axis(tr("rate", "学习率"), from_zero=True), 1),
        (tr("Gradient norm", "梯度范数"), {"gradient_norm": tr("before clipping", "裁剪前")},
         Axis(tr("norm before clipping", "裁剪前的范数"), from_zero=not spiky, log=spiky), 1),
        (tr("Throughput", "吞吐量"), {"tokens_per_second": tr("training", "训练")},
         Axis(tr("tokens per second", "词元/秒"), from_zero=True), 1),
        (tr("Share of the matrix-multiply ceiling", "矩阵乘法上限的占比"),
         {"matmul_fraction": tr("share", "占比")}, Axis("%", from_zero=True, reaches=100), 100),
        (tr("Memory", "内存"), {"resident_bytes": tr("resident", "常驻")} if memory else {},
         Axis(tr("resident, MB", "常驻内存，MB"), from_zero=True), 1e-6),
        (tr("Energy", "能耗"), {"joules": tr("used", "已用")},
         Axis(tr("kilojoules so far", "累计千焦"), from_zero=True), 1e-3),
    ]  # fmt: skip


def _rows(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the evaluation's rows, each with its distance from the best model where that was tested."""
    tests = {c["b"]: c for c in evaluation.get("comparisons", ())}
    rows = []
    for row in evaluation.get("rows", ()):
        test = tests.get(row["name"])
        words = ""
        if test is not None:  # the test's difference is best minus other
            words = f"{-test['difference']:+.4f} [{-test['high']:+.4f}, {-test['low']:+.4f}]"
        rate = row["tokens"] / row["seconds"] if row.get("tokens") and row.get("seconds") else None
        rows.append({**row, "behind": words, "test": test, "rate": rate})
    return rows


def _several_tokenizers(evaluation: Mapping[str, Any]) -> bool:
    models = [row for row in evaluation.get("rows", ()) if is_model(row)]
    return len({row.get("facts", {}).get("tokenizer") for row in models}) > 1


def _bars(evaluation: Mapping[str, Any]) -> Markup:
    rows = evaluation.get("rows", ())
    if not rows:
        return Markup()
    best = best_model(rows)
    bars = []
    for row in rows:
        kind = "best" if row is best else "model" if is_model(row) else "yardstick"
        value = row.get("bits_per_byte")
        bars.append(Bar(row["name"], value if is_number(value) else None, kind))
    unit = tr("bits per byte of held-out text; shorter is better", "留出文本的每字节比特数，越短越好")
    return bar_chart(tr("How well each predicts the text", "各模型预测文本的能力"), bars, unit)
