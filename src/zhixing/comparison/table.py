"""The rows of a comparison, the terminal's table, and what ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from zhixing.comparison.choice import Choice, Limits
from zhixing.evaluation.perplexity import Scores
from zhixing.evaluation.significance import Comparison
from zhixing.language import tr
from zhixing.training.charts import Point, short
from zhixing.training.report import Sample, duration

if TYPE_CHECKING:
    from rich.console import RenderableType

_RESAMPLES = 2000
FEWEST_DOCUMENTS = 6
"""With fewer, even documents that all agree give a randomisation test no p below 0.05: 2 / 2**5 is above it."""


@dataclass(frozen=True)
class Row:
    """One model's figures.

    Attributes:
        model: its name.
        family: as its settings name it.
        bits_per_byte: of the held-out text; ``low`` to ``high`` is the 95 % interval over documents.
        accuracy: share of ``guesses`` held-out tokens that were the model's first guess.
        parameters: weights, or the stored probabilities of a counted model.
        seconds: training time; None where an earlier, killed start has not left it.
        kilojoules: energy of training, measured or (``energy_measured`` false) estimated.
        tokens_seen: training tokens read, passes counted each.
        flops: operations of training; None for a counted model.
        tokens_per_second: of writing, several texts at once.
        milliseconds_per_token: of writing one text.
        megabytes: held in memory while it writes, as ``megabytes_of`` says: ``process`` or ``files``.
        folder: the model folder.
        error: why there are no figures; then all the others are None.
    """

    model: str
    family: str
    bits_per_byte: float | None = None
    low: float | None = None
    high: float | None = None
    accuracy: float | None = None
    guesses: int | None = None
    parameters: int | None = None
    seconds: float | None = None
    kilojoules: float | None = None
    energy_measured: bool | None = None
    tokens_seen: int | None = None
    flops: float | None = None
    tokens_per_second: float | None = None
    milliseconds_per_token: float | None = None
    megabytes: float | None = None
    megabytes_of: Literal["process", "files"] | None = None
    folder: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values: all figures, or, of a model that failed, why."""
        if self.error is not None:
            return {"model": self.model, "family": self.family, "error": self.error}
        return {name: value for name, value in asdict(self).items() if name != "error"}


@dataclass(frozen=True)
class Curve:
    """How the loss on held-out text (nats per token) fell, over seconds and over operations."""

    model: str
    seconds: Sequence[Point]
    flops: Sequence[Point]


@dataclass(frozen=True)
class CompareReport:
    """A finished comparison.

    Attributes:
        out: its folder.
        page: the page for a browser.
        rows: the best first; models that failed come last.
        neighbours: each model against the next one in the ranking.
        choice: the best within the limits, and who was left out.
        yardsticks: bits per byte of compressors, by name.
        curves: of the neural models.
        samples: what each model wrote.
        facts: what holds for all rows: budget, text, seed, machine, versions.
        commands: what to do next, by purpose.
    """

    out: Path
    page: Path
    rows: tuple[Row, ...]
    neighbours: tuple[Comparison, ...]
    choice: Choice
    limits: Limits
    yardsticks: Mapping[str, float]
    curves: tuple[Curve, ...] = ()
    samples: tuple[Sample, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> tuple[Row, ...]:
        """The rows with figures."""
        return tuple(row for row in self.rows if row.error is None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the tests must know."""
        documents = self.neighbours[0].documents if self.neighbours else FEWEST_DOCUMENTS
        if documents >= FEWEST_DOCUMENTS:
            return ()
        return (
            tr(
                f"With {documents} held-out documents no difference can be certain: "
                f"hold out {FEWEST_DOCUMENTS} or more.",
                f"只有 {documents} 篇留出文档，任何差异都无法确定：请至少留出 {FEWEST_DOCUMENTS} 篇。",
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": str(self.out),
            "page": str(self.page),
            "rows": [row.as_dict() for row in self.rows],
            "best": self.choice.best,
            "excluded": {name: list(reasons) for name, reasons in self.choice.excluded.items()},
            "limits": self.limits.as_dict(),
            "sentences": list(self.choice.sentences),
            "neighbours": [comparison.as_dict() for comparison in self.neighbours],
            "yardsticks": dict(self.yardsticks),
            "facts": dict(self.facts),
            "commands": dict(self.commands),
        }

    def render(self) -> RenderableType:
        """Return the table and the sentences below it, for rich."""
        from rich.console import Group
        from rich.text import Text

        failed = [tr(f"{r.model} failed: {r.error}", f"{r.model} 失败：{r.error}") for r in self.rows if r.error]
        lines = [*map(neighbours_in_words, self.neighbours), *self.notes, "", *failed, *self.choice.sentences]
        lines.append(tr(f"page: {self.page}", f"页面：{self.page}"))
        return Group(_rich_table(self.finished), Text("\n".join(lines)))


def byte_interval(scores: Scores, seed: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a model's bits per byte, by the bootstrap over documents (Efron 1979)."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, scores.documents, (_RESAMPLES, scores.documents))
    bits = scores.losses[drawn].sum(axis=1) / np.log(2)
    low, high = np.quantile(
        bits / np.maximum(scores.text_bytes[drawn].sum(axis=1), 1), [(1 - confidence) / 2, (1 + confidence) / 2]
    )
    return float(low), float(high)


def cells(row: Row) -> dict[str, str]:
    """Return every figure of a row as one writes it; empty where there is none."""

    def told(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return {
        "bits_per_byte": told(row.bits_per_byte, ".4f"),
        "interval": "" if row.low is None or row.high is None else f"{row.low:.3f} – {row.high:.3f}",
        "accuracy": told(row.accuracy, ".1%"),
        "parameters": "" if row.parameters is None else short(row.parameters),
        "seconds": "" if row.seconds is None else duration(row.seconds),
        "kilojoules": _kilojoules(row.kilojoules),
        "tokens_seen": "" if row.tokens_seen is None else short(row.tokens_seen),
        "tokens_per_second": told(row.tokens_per_second, ",.0f"),
        "milliseconds_per_token": told(row.milliseconds_per_token, ".2f"),
        "megabytes": told(row.megabytes, ",.0f"),
    }


def _kilojoules(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.1" if value < 0.1 else f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def column_titles() -> dict[str, str]:
    """Return what heads each of ``cells``."""
    return {
        "bits_per_byte": tr("bits/byte", "比特/字节"),
        "interval": tr("95 % interval", "95 % 区间"),
        "accuracy": tr("first guess right", "首选命中"),
        "parameters": tr("parameters", "参数"),
        "seconds": tr("training", "训练"),
        "kilojoules": tr("kJ", "千焦"),
        "tokens_seen": tr("tokens read", "所读词元"),
        "tokens_per_second": tr("writes tokens/s", "写作词元/秒"),
        "milliseconds_per_token": tr("ms/token", "毫秒/词元"),
        "megabytes": tr("memory, MB", "内存 MB"),
    }


def neighbours_in_words(comparison: Comparison) -> str:
    """Return one sentence on two models that are next to each other in the ranking."""
    c = comparison
    figures = f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"
    if c.too_few:
        return tr(
            f"{c.a} and {c.b}: {figures} bits/byte; {c.documents} documents are too few to tell.",
            f"{c.a} 与 {c.b}：{figures} 比特/字节；{c.documents} 篇文档太少，无从判断。",
        )
    if c.better is None:
        return tr(
            f"{c.a} and {c.b} are not distinguishable: {figures} bits/byte, p = {c.p_value:.4f}.",
            f"{c.a} 与 {c.b} 无法区分：{figures} 比特/字节，p = {c.p_value:.4f}。",
        )
    other = c.b if c.better == c.a else c.a
    return tr(
        f"{c.better} is better than {other}: {figures} bits/byte, p = {c.p_value:.4f}.",
        f"{c.better} 优于 {other}：{figures} 比特/字节，p = {c.p_value:.4f}。",
    )


def _rich_table(rows: Sequence[Row]) -> RenderableType:
    """Return the figures as a table that fits in 80 columns; the exact interval stands on the page and in JSON."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    table.add_column(tr("model", "模型"), overflow="fold")
    for title in (
        tr("bits/byte", "比特/字节"), tr("first\nguess", "首选\n命中"), tr("para-\nmeters", "参数"),
        tr("time\ns", "训练\n秒"), "kJ", tr("tokens\nread", "所读\n词元"), tr("wrote\ntok/s", "写作\n词元/秒"),
        tr("ms/\ntoken", "毫秒/\n词元"), "MB",
    ):  # fmt: skip
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        told = cells(row)
        bits = "" if row.bits_per_byte is None else f"{row.bits_per_byte:.3f}"
        spread = "" if row.low is None or row.high is None else f" ±{(row.high - row.low) / 2:.2f}"
        seconds = "" if row.seconds is None else f"{row.seconds:,.{int(row.seconds < 10)}f}"
        shown = ("accuracy", "parameters", "", "kilojoules", "tokens_seen", "tokens_per_second",
                 "milliseconds_per_token", "megabytes")  # fmt: skip
        table.add_row(Text(row.model), bits + spread, *(told[name] if name else seconds for name in shown))
    return table
