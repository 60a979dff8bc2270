import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zhixing.corpus.settings import TextSettings
from zhixing.data import writer
from zhixing.data.prepare import open_prepared, prepare, same_tokenizer
from zhixing.errors import DataError
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()


def corpus(folder: Path, count: int = 300) -> TextSettings:
    folder.mkdir()
    for n in range(count):
        (folder / f"{n:04}.txt").write_text(f"document {n}: " + "words " * (n % 50), encoding="utf-8")
    return TextSettings(paths=(str(folder),))


def test_splits_are_disjoint_and_whole(tmp_path: Path) -> None:
    prepared = prepare(corpus(tmp_path / "text"), TOKENIZER, tmp_path / "out")
    train = {TOKENIZER.decode(ids) for ids in prepared.train.documents()}
    held_out = {TOKENIZER.decode(ids) for ids in prepared.validation.documents()}
    assert len(train) + len(held_out) == 300 == prepared.report.documents
    assert not train & held_out
    assert 3 < len(held_out) < 40
    assert prepared.train.text_bytes + prepared.validation.text_bytes == prepared.report.text_bytes
    same_tokenizer(prepared.train, TOKENIZER)


def test_the_same_input_is_prepared_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = corpus(tmp_path / "text", 30)
    first = prepare(text, TOKENIZER, tmp_path / "out")
    before = os.stat(tmp_path / "out/train/part-00000.ids").st_mtime_ns
    with caplog.at_level(logging.INFO):
        again = prepare(text, TOKENIZER, tmp_path / "out")
    assert "already prepared" in caplog.text
    caplog.clear()
    prepare(text, TOKENIZER, tmp_path / "out", announce=False)
    assert caplog.text == ""
    assert os.stat(tmp_path / "out/train/part-00000.ids").st_mtime_ns == before
    assert (again.train.digest, again.report) == (first.train.digest, first.report)


def test_other_input_is_not_written_over_unasked(tmp_path: Path) -> None:
    text = corpus(tmp_path / "text", 30)
    before = prepare(text, TOKENIZER, tmp_path / "out").train.digest
    (tmp_path / "text/new.txt").write_text("one more", encoding="utf-8")
    with pytest.raises(DataError, match="other text"):
        prepare(text, TOKENIZER, tmp_path / "out")
    assert open_prepared(tmp_path / "out").train.digest == before
    assert prepare(text, TOKENIZER, tmp_path / "out", replace=True).report.documents == 31


@pytest.mark.parametrize("texts", [["a line of text\n" * 3000], [f"short {n}" for n in range(10)], ["first", "second"]])
def test_few_documents_still_give_both_splits(tmp_path: Path, texts: list[str]) -> None:
    (tmp_path / "text").mkdir()
    for n, text in enumerate(texts):
        (tmp_path / f"text/{n}.txt").write_text(
            text + "".join(f"\nline {k}" for k in range(500 // len(texts))), encoding="utf-8"
        )
    prepared = prepare(TextSettings(paths=(str(tmp_path / "text"),)), TOKENIZER, tmp_path / "out")
    assert prepared.train.document_count >= 1
    assert prepared.validation.document_count >= 1
    assert prepared.validation.text_bytes <= prepared.train.text_bytes
    decoded = [TOKENIZER.decode(ids) for shards in (prepared.train, prepared.validation) for ids in shards.documents()]
    assert len("".join(decoded)) == prepared.report.text_bytes


def test_a_single_short_document_leaves_validation_empty(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("just this", encoding="utf-8")
    prepared = prepare(TextSettings(paths=(str(tmp_path / "one.txt"),)), TOKENIZER, tmp_path / "out")
    assert (prepared.train.document_count, prepared.validation.token_count) == (1, 0)


def test_no_validation_when_none_is_asked_for(tmp_path: Path) -> None:
    text = corpus(tmp_path / "text", 30).replace(validation_fraction=0.0)
    prepared = prepare(text, TOKENIZER, tmp_path / "out")
    assert (prepared.train.document_count, prepared.validation.document_count) == (30, 0)


def test_files_held_out_whole_make_the_validation_split(tmp_path: Path) -> None:
    text = corpus(tmp_path / "text", 30)
    held_out = tmp_path / "held-out.txt"
    held_out.write_text("only to look at", encoding="utf-8")
    prepared = prepare(text.replace(validation_paths=(str(held_out),)), TOKENIZER, tmp_path / "out")
    assert [TOKENIZER.decode(ids) for ids in prepared.validation.documents()] == ["only to look at"]
    assert prepared.train.document_count == 30
    with pytest.raises(DataError, match="other text"):
        prepare(text.replace(paths=(*text.paths, str(held_out))), TOKENIZER, tmp_path / "out")  # to learn from now


def test_a_side_without_text_is_refused(tmp_path: Path) -> None:
    text = corpus(tmp_path / "text", 3)
    held_out = tmp_path / "held-out.txt"
    settings = text.replace(validation_paths=(str(held_out),))
    held_out.write_text("  \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"no text in .*held-out\.txt to validate on"):
        prepare(settings, TOKENIZER, tmp_path / "out")
    (tmp_path / "copy").mkdir()
    for file in (tmp_path / "text").iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="none is left to learn from"):
        prepare(text.replace(validation_paths=(str(tmp_path / "copy"),)), TOKENIZER, tmp_path / "out")


SLOW = """
import sys, time
from zhixing.corpus.settings import TextSettings
from zhixing.data import writer
from zhixing.data.prepare import prepare
from zhixing.tokenizers.bytes import ByteTokenizer

writer.PART_BYTES = 1000

class Slow(ByteTokenizer):
    def encode_batch(self, texts):
        time.sleep(0.02)
        return super().encode_batch(texts)

prepare(TextSettings(paths=(sys.argv[1],)), Slow(), sys.argv[2], workers=2)
"""


def test_a_killed_preparation_goes_on_and_ends_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    text = corpus(tmp_path / "text")
    out = tmp_path / "out"
    for least in (5, 12):
        child = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "text"), str(out)])
        deadline = time.monotonic() + 60
        while len(list(out.glob("train/*.done"))) < least and time.monotonic() < deadline:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    with pytest.raises(DataError, match="no finished"):
        open_prepared(out)
    finished = len(list(out.glob("train/*.done")))
    monkeypatch.setattr(writer, "PART_BYTES", 1000)
    with caplog.at_level(logging.INFO):
        resumed = prepare(text, TOKENIZER, out)
    assert f"{finished}" in next(record.message for record in caplog.records if "kept" in record.message)
    fresh = prepare(text, TOKENIZER, tmp_path / "fresh")
    assert (resumed.train.digest, resumed.validation.digest) == (fresh.train.digest, fresh.validation.digest)
    left = {path.suffix for path in out.rglob("*") if path.is_file()} - {".ids", ".documents", ".json"}
    assert left <= {""}


def test_a_damaged_finished_part_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 1000)
    text = corpus(tmp_path / "text")
    fresh = prepare(text, TOKENIZER, tmp_path / "fresh")

    class Stops(ByteTokenizer):
        calls = 0

        def encode_batch(self, texts):  # type: ignore[no-untyped-def]
            Stops.calls += 1
            if Stops.calls > 10:
                raise KeyboardInterrupt
            return super().encode_batch(texts)

    with pytest.raises(KeyboardInterrupt):
        prepare(text, Stops(), tmp_path / "out", workers=1)
    part = next((tmp_path / "out/train").glob("*.ids"))
    part.write_bytes(b"\0" * part.stat().st_size)
    assert prepare(text, TOKENIZER, tmp_path / "out").train.digest == fresh.train.digest


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    from zhixing.data.files import locked

    text = corpus(tmp_path / "text", 5)
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(DataError, match="another process"):
        prepare(text, TOKENIZER, tmp_path / "out")
    assert prepare(text, TOKENIZER, tmp_path / "out").report.documents == 5


def test_another_tokenizer_is_noticed(tmp_path: Path) -> None:
    class Other(ByteTokenizer):
        @property
        def fingerprint(self) -> str:
            return "0" * 64

    prepared = prepare(corpus(tmp_path / "text", 5), TOKENIZER, tmp_path / "out")
    with pytest.raises(DataError, match="another tokenizer"):
        same_tokenizer(prepared.train, Other())
