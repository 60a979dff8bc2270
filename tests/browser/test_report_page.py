"""The report in a real browser: quiet, self-contained, in both languages, at every width."""

import math
import random

import pytest

from zhixing.training.report import Sample, write_report

HOSTILE = (
    '<script>document.title="taken"</script><img src="http://example.invalid/x.png"><a href="http://example.invalid">'
)


def metrics(steps=250):
    """A run as a small GPT makes it: warm-up, stable, decay; loss from 7.6 to 2.9; some validations."""
    noise = random.Random(0)
    records = []
    for step in range(1, steps + 1):
        spent = step / steps
        rate = min(1, spent / 0.02) * min(1, (1 - spent) / 0.5 + 0.01)
        place = {"step": step * 10, "tokens": step * 20480, "seconds": step * 1.2}
        loss = 2.86 + 4.8 * math.exp(-7 * spent) - 0.15 * spent + noise.gauss(0, 0.04)
        speed = 17000 + noise.gauss(0, 350)
        records.append(
            place
            | {
                "loss": loss if step != 90 else "nan",
                "gradient_norm": 0.4 + 2 * math.exp(-20 * spent) + abs(noise.gauss(0, 0.06)),
                "learning_rate_muon": 0.02 * rate,
                "learning_rate_adamw": 0.004 * rate,
                "tokens_per_second": speed,
                "matmul_fraction": speed / 20500,
                "resident_bytes": 612e6 + 9e6 * min(1, step / 20),
                "joules": step * 24.0,
                "skipped": int(step > 89),
            }
        )
        if step % 25 == 0:
            records.append(place | {"validation_loss": 2.95 + 4.6 * math.exp(-7 * spent) - 0.1 * spent})
    return records


def row(name, family, bits, tokens=118_000, seconds=9.0):
    perplexity = None if tokens is None else 2 ** (bits * 3.1)
    facts = {} if tokens is None else {"tokenizer": "ab" * 32}
    return {
        "name": name, "family": family, "bits_per_byte": bits, "perplexity": perplexity,
        "nats_per_token": None, "tokens": tokens, "text_bytes": 401_211, "documents": 41, "seconds": seconds,
        "facts": facts,
    }  # fmt: skip


def against(other, difference, better):
    return {
        "a": "mixture", "b": other, "difference": difference,
        "low": difference - 0.021, "high": difference + 0.019,
        "p_value": 0.0002 if better else 0.21, "documents": 41, "resamples": 10000, "seed": 0,
        "confidence": 0.95, "better": better, "verdict": "",
    }  # fmt: skip


EVALUATION = {
    "rows": [
        row("mixture", "mixture", 1.2618, seconds=14.0),
        row("ngram-5", "ngram", 1.2748, seconds=0.2),
        row("gpt", "llama", 1.3984),
        row("xz -9", "compressor", 1.5190, None),
        row("ngram-5-same-text", "ngram", 1.5902, seconds=0.1),
    ],
    "comparisons": [
        against("ngram-5", -0.013, None),
        against("gpt", -0.1366, "mixture"),
        against("ngram-5-same-text", -0.3284, "mixture"),
    ],
    "facts": {
        "held_out": "quickstart/ids/shards",
        "stride": 0.5,
        "seed": 0,
        "part": "report",
        "python": "3.11.7",
    },
}
CARD = {
    "train": {"documents": 812, "tokens": 3_254_102, "text_bytes": 10_400_123, "digest": "8f" * 32},
    "validation": {"documents": 83, "tokens": 240_551, "text_bytes": 812_004, "digest": "85" * 32},
    "reading": {
        "files": 931, "file_bytes": 11_902_113, "documents": 895, "text_bytes": 11_212_127, "duplicates": 31,
        "blank_documents": 5, "broken": 2, "broken_examples": ["notes.jsonl:17: field 'text' is missing"],
        "encodings": {"utf-8": 920, "gb18030": 11}, "ignored": {".png": 14},
    },
}  # fmt: skip
FACTS = {
    "family": "llama", "parameters": 4_221_440, "recipe": "c3" * 32, "data": "8f" * 32,
    "tokenizer": "45" * 32, "seed": 0, "tokens_seen": 5_120_000, "windows_seen": 20_000, "steps": 2500,
    "training_seconds": 300.0,
    "machine": "cpu, float32, not compiled, 2 threads, 104 GFLOP/s", "kilojoules": 6.0,
    "versions": {"python": "3.11.7", "zhixing": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0+cpu"},
}  # fmt: skip
RECIPE = "name: gpt\nseed: 0\ntext:\n  paths:\n  - /home/me/text\n" + "".join(
    f"  setting_{n}: {n}\n" for n in range(40)
)
SAMPLES = [
    Sample(model, prompt, text)
    for prompt, ours, theirs in [
        (
            'def close(self):\n    """Close the file',
            ' and flush it."""\n    if self.closed:\n        return',
            HOSTILE,
        ),
        ("天地玄黄，宇宙洪荒。", "日月盈昃，辰宿列张。", "寒来\x1b[31m暑往\u202e，秋收冬藏"),
    ]
    for model, text in (("gpt", ours), ("mixture", theirs))
]


@pytest.fixture(scope="module", params=["en", "zh"])
def report(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "report.html"
    title = {"en": "Quickstart", "zh": "快速开始"}[request.param]
    commands = {
        "serve": "zhixing serve quickstart/gpt quickstart/mixture",
        "continue": "zhixing train r.yaml",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHIXING_LANG", request.param)
        write_report(
            path, title=title, recipe=RECIPE, metrics=metrics(), facts=FACTS, data_card=CARD,
            evaluation=EVALUATION, samples=SAMPLES, commands=commands,
        )  # fmt: skip
    return request.param, path


def test_the_page_is_quiet_and_asks_for_nothing(report, visit):
    language, path = report
    one = visit()
    page = one.open_file(path)
    assert page.locator("h1").inner_text() == {"en": "Quickstart", "zh": "快速开始"}[language]
    assert "mixture" in page.locator(".headline").inner_text()
    assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert page.locator("svg.bars").is_visible()
    assert page.locator(".over-tokens svg.plot").count() == 7
    page.wait_for_timeout(200)
    assert one.requests == []
    assert one.complaints == []


def test_what_a_model_wrote_cannot_act(report, visit):
    _, path = report
    one = visit()
    page = one.open_file(path)
    assert "taken" not in page.title()
    assert page.locator("img, a[href^=http], form, iframe").count() == 0
    assert HOSTILE in page.locator(".sample").nth(1).inner_text()
    assert page.locator(".control").all_inner_texts() == ["\\x1b", "\\u202e"]


def test_the_policy_stops_injected_code_and_requests(report, visit, tmp_path):
    _, path = report
    spoilt = tmp_path / "spoilt.html"
    html = path.read_text(encoding="utf-8").replace("</main>", f"{HOSTILE}</main>")
    spoilt.write_text(html, encoding="utf-8")
    one = visit()
    page = one.open_file(spoilt)
    assert "taken" not in page.title()
    assert one.requests == []
    assert any("Content Security Policy" in complaint for complaint in one.complaints)


def test_nothing_is_wider_than_the_window(report, visit):
    _, path = report
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


def test_it_fits_on_paper_in_the_colours_of_paper(report, visit):
    _, path = report
    page = visit(viewport={"width": 688, "height": 1000}, color_scheme="dark").open_file(path)  # A4 less margins
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    recipe = page.locator(".recipe")
    assert recipe.evaluate("pre => pre.scrollHeight <= pre.clientHeight")


def test_tick_labels_do_not_overlap(report, visit):
    _, path = report
    page = visit(viewport={"width": 400, "height": 900}).open_file(path)
    touching = page.evaluate(
        """[...document.querySelectorAll(".over-tokens svg.plot")].flatMap(plot => {
             const boxes = [...plot.querySelectorAll(".tick, .label")].map(t => t.getBoundingClientRect());
             return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
               a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1));
           }).length"""
    )
    assert touching == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(report, visit, scheme):
    """Every colour of text stands at 4.5 : 1 or more on what lies behind it (WCAG 2.2, 1.4.3)."""
    _, path = report
    page = visit(color_scheme=scheme).open_file(path)
    weak = page.evaluate(
        """(() => {
             const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
             const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(channel);
                                  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
             const behind = e => { for (; e; e = e.parentElement) {
               const c = getComputedStyle(e).backgroundColor;
               if (c !== "rgba(0, 0, 0, 0)") return c; } return "rgb(255, 255, 255)"; };
             const texts = "h1,p,dt,dd,th,td,code,span,figcaption,button,a,text,legend";
             return [...document.querySelectorAll(texts)]
               .filter(e => e.textContent.trim()).map(e => {
                 const s = getComputedStyle(e), front = e instanceof SVGElement ? s.fill : s.color;
                 const [a, b] = [light(front), light(behind(e))].sort((x, y) => y - x);
                 return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 20)]; })
               .filter(([ratio]) => ratio < 4.5);
           })()"""
    )
    assert weak == []


def test_curves_can_be_read_and_turned_to_time(report, visit):
    _, path = report
    one = visit()
    page = one.open_file(path)
    page.locator(".over-tokens svg.plot").first.hover(position={"x": 200, "y": 100})
    shown = page.locator(".over-tokens .probe:hover text")
    assert shown.evaluate("text => getComputedStyle(text).opacity") == "1"
    assert "M" in shown.text_content()
    page.locator("#over-seconds").check()
    assert page.locator(".over-seconds svg.plot").first.is_visible()
    assert not page.locator(".over-tokens svg.plot").first.is_visible()
    assert one.complaints == []


def test_a_command_is_copied_by_its_button(report, visit):
    _, path = report
    one = visit(permissions=["clipboard-read", "clipboard-write"])
    page = one.open_file(path)
    page.locator(".command button").first.click()
    page.wait_for_timeout(100)
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "zhixing serve quickstart/gpt quickstart/mixture"


def test_it_is_whole_without_scripts(report, visit):
    _, path = report
    page = visit(java_script_enabled=False).open_file(path)
    assert page.locator(".command code").first.is_visible()
    assert page.locator("button").count() == 0
