"""The page of a comparison in a real browser: quiet, self-contained, in both languages, at every width."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from zhixing.comparison.choice import Limits, choose
from zhixing.comparison.page import render
from zhixing.comparison.table import CompareReport, Curve, Row
from zhixing.evaluation.significance import Comparison
from zhixing.training.report import Sample

NEURAL = {
    "llama": 1.32,
    "gpt2": 1.47,
    "gru": 1.55,
    "lstm": 1.556,
    "rnn": 1.68,
    "convolutional": 1.7,
    "feedforward": 1.83,
}
COUNTED = {"5-gram": 1.41, "3-gram": 1.75, "hmm": 2.6}
HOSTILE = '<script>document.title="taken"</script><img src="http://example.invalid/x.png">'
SPLIT = {"documents": 812, "tokens": 3_254_102, "text_bytes": 10_400_123, "digest": "8f" * 32}


def row(name: str, bits: float) -> Row:
    neural = name in NEURAL
    return Row(
        name, "recurrent" if name in ("gru", "lstm", "rnn") else name, bits, bits - 0.03, bits + 0.031, 0.6 - bits / 8,
        8192, 1_314_816 if neural else 5_800_123, 120.0 if neural else 1.7, 2.4 if neural else 0.034, False,
        2_200_000, 5.1e12 if neural else None, 1812.0, 1.7, 371.0 if neural else 190.0, "process",
        f"runs/compare/models/{name}",
    )  # fmt: skip


def curve(name: str, bits: float) -> Curve:
    points = [(n * 6.0, bits * 2 + 4.5 * math.exp(-n / 3)) for n in range(1, 21)]
    return Curve(name, points, [(x * 4e10, y) for x, y in points])


def report(folder: Path) -> CompareReport:
    ranked = sorted({**NEURAL, **COUNTED}.items(), key=lambda pair: pair[1])
    rows = [row(*pair) for pair in ranked]
    limits = Limits(max_params=2_000_000, max_latency=5)
    pairs = [
        Comparison(a, b, x - y, x - y - 0.02, x - y + 0.02, 0.4 if y - x < 0.02 else 0.0001, 83, 10_000, 0, 0.95)
        for (a, x), (b, y) in pairwise(ranked)
    ]
    return CompareReport(
        folder, folder / "report.html", (*rows, Row("xlnet", "xlnet", error="out of memory: 3 GB")), tuple(pairs),
        choose(rows, limits, None), limits, {"xz -9": 1.52},
        tuple(curve(*pair) for pair in ranked if pair[0] in NEURAL),
        tuple(Sample(name, "def close(self):\n", HOSTILE if name == "hmm" else "    return 1\n") for name, _ in ranked),
        {"budget": {"minutes": 2.0}, "seed": 0, "tokenizer": "45" * 32, "held_out": {"documents": 83}},
        {verb: f"zhixing {verb} runs/compare/models/5-gram" for verb in ("serve", "generate")},
    )  # fmt: skip


@pytest.fixture(scope="module", params=["en", "zh"])
def written(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHIXING_LANG", request.param)
        recipe = "name: compare\n" + "".join(f"setting_{n}: {n}\n" for n in range(60))
        card = {"train": SPLIT, "validation": SPLIT}
        html = render(report(folder), title="compare", recipe=recipe, card=card)
    (folder / "report.html").write_text(html, encoding="utf-8")
    return request.param, folder / "report.html"


def test_the_page_is_quiet_and_asks_for_nothing(written, visit):
    language, path = written
    one = visit()
    page = one.open_file(path)
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert "llama" in page.locator(".headline").inner_text()
    assert page.locator(".table-figures tbody tr").count() == 10
    assert page.locator("img, script, iframe").count() == 0 and "taken" not in page.title()
    assert HOSTILE in page.locator(".sample", has_text="example.invalid").inner_text()
    page.wait_for_timeout(200)
    assert one.requests == []
    assert one.complaints == []


def test_nothing_is_wider_than_the_window(written, visit):
    _, path = written
    page = visit().open_file(path)
    for width in (400, 800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cut = page.evaluate(
            """[...document.querySelectorAll("svg text")].filter(text => {
                 const box = text.getBoundingClientRect();
                 return box.width && (box.left < 0 || box.right > innerWidth);
               }).map(text => text.textContent)"""
        )
        assert cut == [], width


def test_the_figures_fit_on_a_screen(written, visit):
    _, path = written
    page = visit(viewport={"width": 1280, "height": 900}).open_file(path)
    assert page.evaluate("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.scroll'))")


def test_curves_turn_from_time_to_operations_and_can_be_told_apart(written, visit):
    _, path = written
    page = visit().open_file(path)
    assert page.locator(".over-time svg.plot").is_visible() and not page.locator(".over-flops svg.plot").is_visible()
    page.locator("#over-flops").check()
    assert page.locator(".over-flops svg.plot").is_visible() and not page.locator(".over-time svg.plot").is_visible()
    looks = page.evaluate(
        """[...document.querySelectorAll(".over-flops .curve")].map(path => {
             const style = getComputedStyle(path); return style.stroke + style.strokeDasharray; })"""
    )
    assert len(looks) == len(set(looks)) == len(NEURAL)


def test_it_prints_in_the_colours_of_paper(written, visit):
    _, path = written
    page = visit(viewport={"width": 688, "height": 1000}, color_scheme="dark").open_file(path)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_and_text_have_contrast(written, visit, scheme):
    """Text stands at 4.5 : 1 or more on what lies behind it, curves at 3 : 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    _, path = written
    page = visit(color_scheme=scheme).open_file(path)
    weak = page.evaluate(
        """(() => {
             const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
             const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(channel);
                                  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
             const behind = e => { for (; e; e = e.parentElement) {
               const c = getComputedStyle(e).backgroundColor;
               if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
             return [...document.querySelectorAll("h1,p,dt,dd,th,td,small,li,code,span,figcaption,a,text,.curve")]
               .filter(e => e.textContent.trim() || e.matches(".curve")).map(e => {
                 const s = getComputedStyle(e), curve = e.matches(".curve");
                 const front = curve ? s.stroke : e instanceof SVGElement ? s.fill : s.color;
                 const [a, b] = [light(front), light(behind(e))].sort((x, y) => y - x);
                 return [(a + 0.05) / (b + 0.05), curve ? 3 : 4.5, e.textContent.trim().slice(0, 20)]; })
               .filter(([ratio, least]) => ratio < least);
           })()"""
    )
    assert weak == []
