"""The page as text: self-contained, nothing in it can act. What a browser makes of it: tests/browser."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from zhixing.comparison.choice import Limits, choose
from zhixing.comparison.page import render
from zhixing.comparison.table import CompareReport, Row
from zhixing.training.report import Sample

HOSTILE = '</pre></style><script>alert(1)</script><a href="javascript:1" onclick="x">\x00\u202e'
SPLIT = {"documents": 3, "tokens": 900, "text_bytes": 2000, "digest": "8f" * 32}
CARD = {"train": SPLIT, "validation": SPLIT, "reading": {}}


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(report: CompareReport, title: str = "small", recipe: str = "name: small\n") -> str:
    return render(report, title=title, recipe=recipe, card=CARD)


def test_it_answers_first_and_holds_every_figure(report: CompareReport) -> None:
    html = page(report)
    Tags(html)
    assert f'<p class="headline">{report.choice.sentences[0]}</p>' in html
    for row in report.finished:
        assert f"{row.bits_per_byte:.4f}" in html
    assert "failed: training.device" in html and "quantum" in html
    assert html.count('<figure class="chart') == 3  # bars, curves over time, curves over operations
    assert html.count("<figcaption>") >= 3 + len(report.samples)


def test_no_text_becomes_markup(report: CompareReport) -> None:
    rows = (replace(report.rows[0], model=HOSTILE), *report.rows[1:-1], Row(HOSTILE, "x", error=HOSTILE))
    spoilt = replace(
        report,
        rows=rows,
        samples=(Sample(HOSTILE, HOSTILE, HOSTILE),),
        choice=choose(rows[:-1], Limits(max_params=1), None),
        facts={HOSTILE: HOSTILE},
        curves=tuple(replace(curve, model=HOSTILE) for curve in report.curves),
    )
    html = page(spoilt, title=HOSTILE, recipe=HOSTILE)
    tags = Tags(html)
    names = [tag for tag, _ in tags.found]
    assert "script" not in names and names.count("style") == 1
    assert "\x00" not in html and "\u202e" not in html
    attributes = [(name, value) for _, each in tags.found for name, value in each.items()]
    assert not [name for name, _ in attributes if name.startswith("on")]
    assert all(str(value).startswith(("#", "models/")) for name, value in attributes if name == "href")


def test_nothing_points_outside_and_every_anchor_leads_somewhere(report: CompareReport) -> None:
    tags = Tags(page(report))
    targets = [v for _, each in tags.found for k, v in each.items() if k in ("href", "src", "action", "srcset")]
    ids = [each["id"] for _, each in tags.found if "id" in each]
    inside = [str(target) for target in targets if str(target).startswith("#")]
    assert inside and all(target[1:] in ids for target in inside)
    beside = [str(target) for target in targets if not str(target).startswith("#")]
    assert sorted(beside) == ["models/gru/report.html", "models/llama/report.html"]  # those that were trained
    assert all((report.out / target).is_file() for target in beside)
    assert len(ids) == len(set(ids))
    assert not [each for _, each in tags.found if "style" in each]


def test_the_policy_names_its_own_style_alone(report: CompareReport) -> None:
    html = page(report)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in html
    assert "url(" not in style.group(1) and "@import" not in style.group(1)


def test_when_every_model_failed(report: CompareReport) -> None:
    failed = tuple(Row(row.model, row.family, error="no") for row in report.rows)
    choice = choose([], Limits(), None)
    html = page(replace(report, rows=failed, neighbours=(), choice=choice, curves=(), samples=()))
    Tags(html)
    assert "No model was finished" in html and "<figure" not in html


def test_chinese(report: CompareReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    html = page(report)
    assert '<html lang="zh-Hans">' in html and "排名可靠吗？" in html and "Is the ranking certain" not in html
