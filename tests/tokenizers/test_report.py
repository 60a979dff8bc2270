"""The report counts what is there, and would see a loss."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from zhixing.cli.app import main
from zhixing.errors import DataError
from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.report import tokenizer_report
from zhixing.tokenizers.scripts import SCRIPTS, script_of


def test_bytes_and_characters_by_script() -> None:
    report = tokenizer_report(ByteTokenizer(), ["知行 ab7,\n", "Да"])
    rows = {row.script: row for row in report.scripts}
    assert {name: row.characters for name, row in rows.items()} == {
        "Han": 2, "blanks": 2, "Latin": 2, "digits": 1, "punctuation": 1, "Cyrillic": 2
    }  # fmt: skip
    assert rows["Han"].tokens == pytest.approx(6)
    assert rows["Han"].bytes_per_token == pytest.approx(1)
    assert rows["Han"].characters_per_token == pytest.approx(1 / 3)
    assert (report.tokens, report.utf8_bytes, report.characters, report.texts) == (16, 16, 10, 2)
    assert report.used_ids == len(set("知行 ab7,\nДа".encode()))


def test_tokens_of_all_scripts_sum_to_the_tokens(bpe: BpeTokenizer, texts: list[str]) -> None:
    report = tokenizer_report(bpe, texts)
    assert sum(row.tokens for row in report.scripts) == pytest.approx(report.tokens)
    assert report.bytes_per_token > 2
    assert (report.unknown_rate, report.round_trip_failures) == (0, 0)
    assert 0.8 < report.vocabulary_use < 1
    assert len(report.worst) == 50
    scores = [row.bytes_per_token for row in report.worst]
    assert scores == sorted(scores)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_worst_strings_are_those_that_cost_most() -> None:
    report = tokenizer_report(CharacterTokenizer(["知"]), ["知知 行行 行行 ab"], worst=2)
    assert [(row.text, row.count, row.tokens) for row in report.worst] == [(" 行行", 2, 7), (" ab", 1, 3)]


def test_long_texts_are_looked_at_in_pieces() -> None:
    text = "知行 abc\n" * 150_000
    report = tokenizer_report(ByteTokenizer(), [text])
    assert (report.texts, report.characters) == (1, len(text))


class Lossy(ByteTokenizer):
    """Loses capitals and knows no digits."""

    def encode(self, text: str) -> list[int]:
        return [256 if byte in b"0123456789" else byte for byte in super().encode(text.lower())]

    def encode_batch(self, texts: Iterable[str]) -> list:  # type: ignore[type-arg, override]
        import numpy as np

        return [np.array(self.encode(text)) for text in texts]


def test_losses_are_seen() -> None:
    report = tokenizer_report(Lossy(), ["plain", "Capital", "x1"])
    assert (report.round_trip_failures, report.failed_texts) == (2, ("Capital", "x1"))
    assert report.unknown_rate == pytest.approx(1 / 14)


def test_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="no text"):
        tokenizer_report(ByteTokenizer(), ["", ""])


@pytest.mark.parametrize(
    ("character", "script"),
    [("a", "Latin"), ("é", "Latin"), ("行", "Han"), ("か", "Kana"), ("한", "Hangul"), ("٣", "digits"),
     ("。", "punctuation"), ("+", "symbols"), ("🙂", "symbols"), ("\u3000", "blanks"), ("\x00", "other"),
     ("\u200d", "other")],
)  # fmt: skip
def test_script_of(character: str, script: str) -> None:
    assert SCRIPTS[script_of(character)] == script


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0), capsys.readouterr().out


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], texts: list[str]) -> None:
    corpus, out = tmp_path / "corpus.txt", tmp_path / "out"
    corpus.write_text(texts[0], encoding="utf-8")
    code, printed = run(capsys, "tokenizer", "train", str(corpus), "--vocab-size", "300", "--out", str(out), "--json")
    assert code == 0
    assert json.loads(printed)["vocab_size"] == 300
    assert printed.count("\n") == 1
    code, printed = run(capsys, "tokenizer", "report", str(out), str(corpus), "--json")
    assert (code, json.loads(printed)["round_trip_failures"]) == (0, 0)
    code, printed = run(capsys, "tokenizer", "report", str(out), str(corpus))
    assert code == 0
    assert "Latin" in printed
    code, printed = run(capsys, "tokenizer", "encode", str(out), "知<|end|>", "--json")
    found = json.loads(printed)
    assert code == 0
    assert max(found["ids"]) < 295
    code, _ = run(capsys, "tokenizer", "train", str(corpus), "--out", str(out))
    assert code == 2  # there is a tokenizer already
    code, _ = run(capsys, "tokenizer", "train", str(corpus), "--out", str(tmp_path / "x"), "--vocab-size", "20")
    assert code == 2
