"""The report as text: nothing breaks it, nothing in it can act. What a browser makes of it: tests/browser."""

import base64
import hashlib
import re
import string
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhixing.training.report import Sample, duration, metrics_table, shown, visible, visible_in, write_report

VOID = {"meta", "br", "input", "img", "link", "hr"}
RECORD = {
    "step": 10, "tokens": 640, "seconds": 0.5, "loss": 5.6, "gradient_norm": 1.1, "learning_rate_muon": 0.02,
    "learning_rate_adamw": 0.004, "tokens_per_second": 980.8, "matmul_fraction": 0.008,
    "resident_bytes": 357289984, "joules": 13.1, "skipped": 0,
}  # fmt: skip
ROW = {
    "name": "gpt", "family": "llama", "bits_per_byte": 1.4, "perplexity": 9.0, "nats_per_token": 2.2,
    "tokens": 100, "text_bytes": 300, "documents": 2, "seconds": 0.5, "facts": {"tokenizer": "a"},
}  # fmt: skip


class Reader(HTMLParser):
    """Checks that tags close in order; gathers ids, text and attributes."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.attributes, self.words = [], [], [], []
        self.tags = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "en")

    def write(**parts):
        path = tmp_path / "deep" / "report.html"
        given = {"title": "Run", "recipe": "name: run\n", "metrics": [], "facts": {}, "data_card": {}} | parts
        write_report(path, **given)
        html = path.read_text(encoding="utf-8")
        return html, Reader(html)

    return write


def test_nothing_but_a_recipe(written):
    html, page = written()
    assert "recorded no loss" in html and "name: run" in html
    assert "svg" not in page.tags


@pytest.mark.parametrize(
    "metrics",
    [
        [RECORD],
        [RECORD | {"loss": "nan", "gradient_norm": "inf"}],
        [{"step": 1, "tokens": 5, "seconds": 0.1, "validation_loss": 3.0}],
        [{"step": 1}],
        [{"step": 1, "loss": 2.0}],
        [RECORD | {"tokens": "nan"}],
        [RECORD | {"resident_bytes": 0, "gradient_norm": 0.0, "joules": 0.0}],
        [RECORD, RECORD],
    ],
)
def test_odd_metrics_do_not_break_it(written, metrics):
    html, _ = written(metrics=metrics)
    assert "The numbers behind the curves" in html


def test_each_quantity_has_its_chart_over_tokens_and_time(written):
    metrics = [RECORD | {"step": n, "tokens": 64 * n, "seconds": 90.0 * n} for n in range(1, 9)]
    html, page = written(metrics=[*metrics, {"step": 8, "tokens": 512, "seconds": 720.0, "validation_loss": 3.0}])
    assert page.tags.count("figure") == 14
    assert ">minutes</text>" in html and ">tokens</text>" in html
    assert html.count("adamw") > 2


def test_skipped_steps_are_told(written):
    html, _ = written(metrics=[RECORD | {"skipped": 2}])
    assert "not finite: 2." in html


def test_the_evaluation_is_one_table_with_its_tests(written):
    other = ROW | {"name": "ngram-5", "family": "ngram", "bits_per_byte": 1.5, "facts": {"tokenizer": "b"}}
    squeezed = ROW | {
        "name": "xz -9",
        "family": "compressor",
        "tokens": None,
        "perplexity": None,
        "facts": {},
    }
    endless = ROW | {"name": "uniform", "bits_per_byte": None, "perplexity": None}
    test = {"a": "gpt", "b": "ngram-5", "difference": -0.1, "low": -0.13, "high": -0.07, "p_value": 0.0002,
            "better": "gpt"}  # fmt: skip
    html, _ = written(evaluation={"rows": [ROW, other, squeezed, endless], "comparisons": [test], "facts": {}})
    assert "+0.1000 [+0.0700, +0.1300]" in html
    assert "not finite" in html and "yardstick" in html
    assert "different tokenizers" in html


def test_an_empty_evaluation_counts_as_none(written):
    html, _ = written(metrics=[RECORD], evaluation={"rows": [], "comparisons": [], "facts": {}})
    assert "No evaluation in bits per byte" in html


def test_facts_and_card_are_shown_whole(written):
    facts = {
        "parameters": 39904,
        "kilojoules": 3.6,
        "versions": {"torch": "2.13"},
        "new_fact": [{"deep": None}, True],
    }
    card = {
        "train": {"documents": 11, "tokens": 0, "text_bytes": 0, "digest": "8f" * 32},
        "reading": {"duplicates": 7, "encodings": {"gb18030": 3}, "broken_examples": [], "unheard_of": 5},
        "license": "CC0",
    }
    _, page = written(facts=facts, data_card=card)
    text = re.sub(r"\s+", " ", " ".join(page.words))
    for part in (
        "39,904", "3.6 kJ (1 Wh)", "Energy is estimated", "2.13", "new fact", "deep", "gb18030", "unheard of",
        "CC0", "8f" * 32, "duplicates removed 7",
    ):  # fmt: skip
        assert part in text, part
    measured, _ = written(facts=facts | {"energy_measured": True})
    assert "Energy is measured" in measured and "estimated" not in measured


HOSTILE = '</pre></style></script><script>alert(1)</script><a href="javascript:1" onclick="x">\x00\u202e\ud800'


def test_no_text_becomes_markup(written):
    html, page = written(
        title=HOSTILE,
        recipe=HOSTILE,
        metrics=[RECORD | {HOSTILE: HOSTILE, "learning_rate_" + HOSTILE: 0.1}],
        facts={HOSTILE: HOSTILE, "versions": [HOSTILE]},
        data_card={HOSTILE: {"tokens": 1, "text_bytes": 2, "documents": 3, "digest": HOSTILE}},
        evaluation={
            "rows": [ROW | {"name": HOSTILE, "family": HOSTILE}],
            "comparisons": [],
            "facts": {HOSTILE: 1},
        },
        samples=[Sample(HOSTILE, HOSTILE, HOSTILE)],
        commands={HOSTILE: HOSTILE},
    )
    assert page.tags.count("script") == 1
    assert page.tags.count("style") == 1
    assert "\x00" not in html and "\u202e" not in html
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert all(value.startswith("#") for _, name, value in page.attributes if name == "href")
    assert "\\ud800" in html


def test_nothing_points_outside_the_file(written):
    _, page = written(metrics=[RECORD], samples=[Sample("gpt", "a", "b")], commands={"serve": "zhixing serve x"})
    targets = [value for _, name, value in page.attributes if name in ("href", "src", "action", "srcset", "data")]
    assert targets and all(target.startswith("#") for target in targets)
    assert {target[1:] for target in targets} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_policy_names_exactly_the_own_style_and_script(written):
    html, page = written(metrics=[RECORD])
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL).group(1)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not [a for a in page.attributes if a[1] == "style"]


def test_chinese(written, monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    html, _ = written(metrics=[RECORD], facts={"parameters": 5}, evaluation={"rows": [ROW], "comparisons": []})
    assert '<html lang="zh-Hans">' in html and "每字节需要 <strong>1.400 比特</strong>" in html
    assert "学习率" in html and ">Learning rate<" not in html


def test_an_old_report_is_replaced_whole(written):
    long, _ = written(recipe="x" * 100_000)
    short, page = written()
    assert len(short) < len(long) and page.open == []


@given(st.text(st.characters() | st.sampled_from("\x00\x1b\r\u202e\ud800<&"), max_size=30))
def test_shown_text_reads_as_visible_text(text):
    class Words(HTMLParser):
        def handle_data(self, data):
            self.found = getattr(self, "found", "") + data

    words = Words()
    words.feed(str(shown(text)))
    words.close()
    assert getattr(words, "found", "") == visible(text)


def test_visible_keeps_what_can_be_seen():
    kept = string.printable.replace("\r", "").replace("\x0b", "").replace("\x0c", "") + "知行 👩‍🚀 é"
    assert visible(kept) == kept
    assert visible("a\x1b\r\u202e\ufeff") == "a\\x1b\\r\\u202e\\ufeff"
    assert visible_in({"\x00": ("\x1b", 1, None)}) == {"\\x00": ["\\x1b", 1, None]}


@pytest.mark.parametrize(("seconds", "words"), [(5.84, "5.84 s"), (300, "5 min 0 s"), (7261, "2 h 1 min")])
def test_durations(seconds, words, monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "en")
    assert duration(seconds) == words


def test_a_long_table_is_thinned_evenly_and_keeps_its_end():
    columns, rows = metrics_table([{"step": n, "loss": "nan"} for n in range(1, 1001)])
    assert columns == ["step", "loss"]
    assert len(rows) == 40 and rows[-1] == ["1,000", "nan"] and rows[0] == ["25", "nan"]
