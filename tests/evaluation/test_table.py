import json
import math

import numpy as np
import pytest
from rich.console import Console

from zhixing.evaluation.perplexity import Scores
from zhixing.evaluation.significance import compare
from zhixing.evaluation.table import EvaluationReport, Row, append_line, compared_in_words
from zhixing.evaluation.yardsticks import xz


@pytest.fixture
def report():
    size = np.full(30, 100)
    good = Scores(size * 0.5 + np.arange(30), np.full(30, 25), size, 2.0)
    bad = Scores(size * 1e9, np.full(30, 50), size, 1.0)
    rows = (
        Row.of_model("good", "llama", good, {"tokenizer": "x", "recipe": "r" * 64}),
        Row.of_yardstick(xz(["spam and eggs"] * 30)),
        Row.of_model("bad[red]", "ngram", bad, {"tokenizer": "y"}),
    )
    return EvaluationReport(rows, (compare("good", good, "bad[red]", bad),), {"seed": 0, "held_out_digest": "d" * 64})


def test_json_holds_every_figure_and_nothing_that_is_not_json(report):
    values = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert [row["name"] for row in values["rows"]] == ["good", "xz -9", "bad[red]"]
    assert values["rows"][0]["bits_per_byte"] == pytest.approx(report.bits_per_byte["good"])
    assert values["rows"][0]["facts"]["recipe"] == "r" * 64
    assert report.rows[2].perplexity == math.inf
    assert values["rows"][2]["perplexity"] is None
    assert values["comparisons"][0]["better"] == "good"


def test_table_shows_names_as_they_are_and_warns_of_tokenizers(report):
    console = Console(width=160)
    with console.capture() as capture:
        console.print(report.render())
    text = capture.get()
    assert "bad[red]" in text
    assert "xz -9" in text
    assert f"{report.bits_per_byte['good']:.4f}" in text
    assert "bits per byte only" in text or "每字节比特数" in text
    assert compared_in_words(report.comparisons[0]) in text


def test_every_line_is_on_disk_and_a_torn_line_spoils_only_itself(tmp_path):
    file = tmp_path / "deep" / "results.jsonl"
    append_line(file, {"a": 1})
    with file.open("ab") as torn:
        torn.write(b'{"b": 2, "c')
    append_line(file, {"d": "知行"})
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(lines[0]), json.loads(lines[2])] == [{"a": 1}, {"d": "知行"}]
    assert len(lines) == 3
