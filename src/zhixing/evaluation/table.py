"""The table of an evaluation: one row per model or yardstick, and what every figure came from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zhixing.evaluation.perplexity import Scores
from zhixing.evaluation.significance import Comparison
from zhixing.evaluation.yardsticks import Yardstick
from zhixing.language import tr

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zhixing.evaluation.masked import MaskedRow


@dataclass(frozen=True)
class Row:
    """One model's or yardstick's figures; ``facts`` says what produced them (recipe, data, seed, windows)."""

    name: str
    family: str
    bits_per_byte: float
    perplexity: float | None
    nats_per_token: float | None
    tokens: int | None
    text_bytes: int
    documents: int
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_model(cls, name: str, family: str, scores: Scores, facts: Mapping[str, Any]) -> Row:
        """Return the row of a scored model."""
        return cls(
            name, family, scores.bits_per_byte, scores.perplexity, scores.nats_per_token, scores.total_tokens,
            scores.total_bytes, scores.documents, scores.seconds, facts,
        )  # fmt: skip

    @classmethod
    def of_yardstick(cls, measured: Yardstick) -> Row:
        """Return the row of a compressor."""
        return cls(
            measured.name, "compressor", measured.bits_per_byte, None, None, None,
            measured.text_bytes, measured.documents, measured.seconds,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values; what is infinite becomes null."""
        return {name: _finite(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class EvaluationReport:
    """All rows, the best first; the paired comparisons of the models; and facts that hold for all of them.

    ``masked``: the rows of masked models, which have no bits per byte, the best first.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    facts: Mapping[str, Any]
    masked: tuple[MaskedRow, ...] = ()

    @property
    def bits_per_byte(self) -> dict[str, float]:
        """Bits per byte by name."""
        return {row.name: row.bits_per_byte for row in self.rows}

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "facts": dict(self.facts),
            **({"masked": [row.as_dict() for row in self.masked]} if self.masked else {}),
        }

    def render(self) -> RenderableType:
        """Return the table and the sentences below it, for rich."""
        from rich.console import Group
        from rich.text import Text

        facts = Text("  ".join(f"{name} {_short(value)}" for name, value in self.facts.items()), style="dim")
        if self.masked:
            from zhixing.evaluation.masked import render_masked

            own = render_masked(self.masked)
            if not self.rows:
                return Group(own, facts)
        lines = [compared_in_words(comparison) for comparison in self.comparisons]
        lines.append(tr("The closing separator is predicted too; bytes are those of the text alone.",
                        "结尾分隔符也计入预测；字节数只计文本本身。"))  # fmt: skip
        if len({row.facts.get("tokenizer") for row in self.rows if row.tokens is not None}) > 1:
            lines.append(tr("Perplexities are per token of different tokenizers: compare bits per byte only.",
                            "各困惑度对应不同的分词器：只能比较每字节比特数。"))  # fmt: skip
        tables = [render_rows(self.rows), Text("\n".join(lines)), *([own] if self.masked else [])]
        return Group(*tables, facts)


def render_rows(rows: Sequence[Row]) -> RenderableType:
    """Return the rows as a rich table that fits 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(tr("model", "模型"), overflow="fold")
    for title in (
        tr("bits/byte", "比特/字节"), tr("perplexity", "困惑度"), tr("tokens", "词元"), tr("bytes", "字节"),
        tr("tokens/s", "词元/秒"),
    ):  # fmt: skip
        table.add_column(title, justify="right")
    for row in rows:
        perplexity = "" if row.perplexity is None else f"{row.perplexity:,.2f}"
        rate = f"{row.tokens / row.seconds:,.0f}" if row.tokens and row.seconds else ""
        table.add_row(
            Text(row.name), f"{row.bits_per_byte:.4f}", perplexity,
            "" if row.tokens is None else f"{row.tokens:,}", f"{row.text_bytes:,}", rate,
        )  # fmt: skip
    return table


def compared_in_words(comparison: Comparison) -> str:
    """Return one sentence: who is better, by how much, how sure."""
    c = comparison
    interval = f"{c.difference:+.4f} [{c.low:+.4f}, {c.high:+.4f}]"
    return tr(
        f"{c.a} - {c.b}: {interval} bits/byte, p = {c.p_value:.4f}, {c.documents:,} documents: {c.verdict}",
        f"{c.a} - {c.b}：{interval} 比特/字节，p = {c.p_value:.4f}，{c.documents:,} 篇文档：{c.verdict}",
    )


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Append one JSON line and have it on disk before returning: a crash loses at most the row in the making.

    A line that an earlier crash left unfinished is closed first, so that it spoils only itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    with path.open("a+b") as file:
        if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            text = "\n" + text
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text
