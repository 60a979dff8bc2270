"""The terminal's table and sentences, in both languages and in 80 columns."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from zhixing.comparison.table import CompareReport, Row, cells, neighbours_in_words


def told(report: CompareReport, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(report.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_it_fits_in_80_columns(report: CompareReport) -> None:
    text = told(report)
    lines = text.splitlines()
    for row in report.finished:
        (line,) = [line for line in lines if line.strip().startswith(row.model + " ") and "±" in line]
        assert f"{row.bits_per_byte:.3f}" in line and "…" not in line
    assert "elsewhere failed: training.device" in text and "report.html" in text.replace("\n", "")


def test_chinese(report: CompareReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    text = told(report)
    assert "比特/字节" in text and "失败" in text and "bits/byte" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_missing_is_empty() -> None:
    assert set(cells(Row("a", "b", error="why")).values()) == {""}
    assert cells(Row("a", "b", kilojoules=0.0))["kilojoules"] == "<0.1"


def test_verdicts_in_words(report: CompareReport) -> None:
    pair = replace(report.neighbours[0], documents=20)
    few = replace(pair, documents=3)
    assert neighbours_in_words(few).endswith("bits/byte; 3 documents are too few to tell.")
    unclear = replace(pair, low=-0.1, high=0.1, p_value=0.5)
    assert neighbours_in_words(unclear).startswith(f"{pair.a} and {pair.b} are not distinguishable: ")
    clear = replace(pair, difference=-0.2, low=-0.3, high=-0.1, p_value=0.001)
    assert neighbours_in_words(clear).startswith(f"{pair.a} is better than {pair.b}: -0.2000 [-0.3000, -0.1000]")
