import gzip
import json
from pathlib import Path

import pytest

from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError


def read(path: Path, report: ReadReport | None = None, **settings: object) -> list[tuple[str, str]]:
    chosen = TextSettings(paths=(str(path),)).replace(**settings)
    return [(d.text, d.source.removeprefix(str(path))) for d in documents(chosen, report)]


JSONL = """{"text": "one"}

{"text": "two", "id": 2}
[1, 2]
{"txt": "no field"}
{"text": 5}
{"text": null}
{"text": "cut
{"text": "three"}
"""


def test_jsonl_broken_rows_are_skipped_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(JSONL, encoding="utf-8")
    report = ReadReport()
    assert read(path, report, on_error="skip") == [("one", ":1"), ("two", ":3"), ("three", ":9")]
    assert report.broken == 5
    assert [example.split(": ")[0].rsplit(":", 1)[1] for example in report.broken_examples] == [
        "4",
        "5",
        "6",
        "7",
        "8",
    ]
    assert "txt" in report.broken_examples[1]


def test_jsonl_fails_at_the_first_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(JSONL, encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:4: "):
        read(path)


def test_jsonl_nested_100000_deep_is_a_broken_row(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * 100_000 + "\n" + '{"text": "ok"}\n', encoding="utf-8")
    report = ReadReport()
    assert read(path, report, on_error="skip") == [("ok", ":2")]
    assert report.broken == 1


def test_lone_surrogate_escape_is_repaired(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a\\ud800b\\u0000 \\ud83d\\ude42"}', encoding="utf-8")
    report = ReadReport()
    assert read(path, report) == [("a\ufffdb 🙂", ":1")]
    assert (report.repaired_bytes, report.removed_nul_characters) == (1, 1)


CSV = 'id,text\n1,"two\nlines, quoted"\n2\n3,plain\n4,"unclosed\n'


def test_csv_rows_quotes_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(CSV, encoding="utf-8")
    report = ReadReport()
    assert read(path, report, on_error="skip") == [("two\nlines, quoted", ":2"), ("plain", ":5")]
    assert [example.split(": ")[0].rsplit(":", 1)[1] for example in report.broken_examples] == ["4", "6"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_separator_and_gb18030(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(f"编号{mark}正文\r\n1{mark}学而时习之\r\n".encode("gb18030"))
    report = ReadReport()
    assert read(path, report, text_field="正文") == [("学而时习之", ":2")]
    assert report.encodings == {"gb18030": 1}


def test_parquet_rows_missing_column_and_nulls(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.table({"text": [f"row {n}" for n in range(199)] + [None], "n": list(range(200))}), path)
    report = ReadReport()
    rows = read(path, report, on_error="skip")
    assert rows[0] == ("row 0", ":1")
    assert rows[-1] == ("row 198", ":199")
    assert report.broken_examples[0].startswith(f"{path}:200: ")
    with pytest.raises(DataError, match="'content' is missing"):
        read(path, text_field="content")
    with pytest.raises(DataError, match=r":1: .*int"):
        read(path, text_field="n")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_rows(tmp_path: Path, suffix: str) -> None:
    zstandard = pytest.importorskip("zstandard")
    data = "".join(json.dumps({"text": f"文 {n}"}) + "\n" for n in range(50)).encode()
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(gzip.compress(data) if suffix == ".gz" else zstandard.compress(data))
    assert [text for text, _ in read(path)] == [f"文 {n}" for n in range(50)]


def test_compressed_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    plain = tmp_path / "plain.bin"
    parquet.write_table(arrow.table({"text": ["a", "b"]}), plain)
    path = tmp_path / "rows.parquet.gz"
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(path) == [("a", ":1"), ("b", ":2")]


PAIRS = """{"en": "a dog", "de": "ein Hund"}
{"en": "a cat"}
{"en": "", "de": "leer"}
{"en": "a cow", "de": " \\n"}
{"en": "an owl", "de": 5}
{"en": "a duck", "de": "eine Ente"}
"""


def pairs(path: Path, report: ReadReport | None = None, **settings: object) -> list[tuple[str, str | None, str]]:
    chosen = TextSettings(paths=(str(path),), source_field="en", target_field="de").replace(**settings)
    return [(d.text, d.target, d.source.removeprefix(str(path))) for d in documents(chosen, report)]


def test_pairs_that_lack_a_half_are_skipped_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(PAIRS, encoding="utf-8")
    report = ReadReport()
    assert pairs(path, report, on_error="skip") == [("a dog", "ein Hund", ":1"), ("a duck", "eine Ente", ":6")]
    assert (report.documents, report.broken) == (2, 4)
    reasons = [example.removeprefix(f"{path}:") for example in report.broken_examples]
    assert "2: field 'de' is missing" in reasons[0] and "text.target_field" in reasons[0]
    assert reasons[1].startswith("3: field 'en' is blank") and reasons[2].startswith("4: field 'de' is blank")
    assert reasons[3].startswith("5: field 'de' holds int")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: field 'de' is missing"):
        pairs(path)


def test_pairs_of_csv_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id\ten\tde\n1\ta dog\t"ein ""Hund"""\n', encoding="utf-8")
    assert pairs(tmp_path / "a.csv") == [("a dog", 'ein "Hund"', ":2")]
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"de": ["ein Hund"], "n": [1], "en": ["a dog"]}), path)
    assert pairs(path) == [("a dog", "ein Hund", ":1")]
    with pytest.raises(DataError, match="field 'nl' is missing"):
        pairs(path, target_field="nl")


def test_pairs_are_compared_as_pairs_and_never_divided(tmp_path: Path) -> None:
    path, long = tmp_path / "rows.csv", "words " * 1000
    path.write_text(f"en,de\na,b\na,c\na,b\nab,c\n{long},{long}\n", encoding="utf-8")
    report = ReadReport()
    found = pairs(path, report, max_document_bytes=1024)
    assert [pair[:2] for pair in found] == [("a", "b"), ("a", "c"), ("ab", "c"), (long, long)]
    assert (report.duplicates, report.divided_documents) == (1, 0)


def test_text_files_hold_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a dog", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"en": "a", "de": "b"}', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.txt: holds no pairs"):
        pairs(tmp_path)
    assert [pair[:2] for pair in pairs(tmp_path, on_error="skip")] == [("a", "b")]
