import logging
import os
from pathlib import Path

import pytest

from zhixing.corpus.document import is_validation, split_point
from zhixing.corpus.duplicates import SeenDigests
from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.errors import ConfigError, DataError


def corpus(folder: Path, texts: dict[str, bytes], **settings: object) -> TextSettings:
    for name, data in texts.items():
        (folder / name).write_bytes(data)
    return TextSettings(paths=(str(folder),)).replace(**settings)


def test_every_type_is_read_and_counted(tmp_path: Path) -> None:
    settings = corpus(
        tmp_path,
        {
            "a.txt": b"plain",
            "b.html": b"<p>page</p>",
            "c.jsonl": b'{"text": "row"}\n{"text": "plain"}\n',
            "d.md": b"  \n",
            "e.txt": b"",
            "f.bin": b"\0",
        },
    )
    report = ReadReport()
    found = [(document.text, Path(document.source).name) for document in documents(settings, report)]
    assert found == [("plain", "a.txt"), ("page", "b.html"), ("row", "c.jsonl:1")]
    assert (report.files, report.documents, report.duplicates, report.blank_documents) == (5, 3, 1, 2)
    assert report.text_bytes == 12
    assert report.ignored == {".bin": 1}
    assert ReadReport.from_dict(report.to_dict()) == report


def test_a_long_file_is_divided_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "".join(f"Paragraph {n} of the book.\n\n" for n in range(200))
    settings = corpus(tmp_path, {"book.txt": text.encode()}, max_document_bytes=1024)
    report = ReadReport()
    with caplog.at_level(logging.INFO):
        parts = list(documents(settings, report))
    assert "".join(part.text for part in parts) == text
    assert [Path(part.source).name for part in parts[:2]] == ["book.txt", "book.txt#2"]
    assert report.divided_documents == 1
    assert "max_document_bytes" in caplog.text


def test_broken_rows_give_one_warning_with_the_total(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = corpus(tmp_path, {"a.jsonl": b'{"text": "ok"}\n' + b"{\n" * 100}, on_error="skip")
    list(documents(settings))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "100" in caplog.text
    assert "a.jsonl:2" in caplog.text


def test_gb18030_is_said_once_per_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = corpus(tmp_path, {"a.txt": "学而时习之，不亦说乎".encode("gbk")})
    with caplog.at_level(logging.INFO):
        assert [document.text for document in documents(settings)] == ["学而时习之，不亦说乎"]
    assert sum("GB18030" in record.message for record in caplog.records) == 1


def two_folders(folder: Path, learn: dict[str, str], held_out: dict[str, str], **settings: object) -> TextSettings:
    for name, texts in (("learn", learn), ("held", held_out)):
        (folder / name).mkdir()
        for file, text in texts.items():
            (folder / name / file).write_text(text, encoding="utf-8")
    paths = {"paths": (str(folder / "learn"),), "validation_paths": (str(folder / "held"),)}
    return TextSettings(**paths).replace(**settings)


def sides(settings: TextSettings) -> tuple[list[str], list[str]]:
    found, point = list(documents(settings)), split_point(settings)
    return (
        [document.text for document in found if not is_validation(document, point)],
        [document.text for document in found if is_validation(document, point)],
    )


def test_files_of_their_own_are_held_out_whole_and_nothing_else_is(tmp_path: Path) -> None:
    learn = {f"{n:03}.txt": f"document number {n}" for n in range(100)}
    settings = two_folders(tmp_path, learn, {"a.txt": "held out", "b.txt": "as well"}, validation_fraction=0.5)
    assert sides(settings) == (list(learn.values()), ["held out", "as well"])


@pytest.mark.parametrize("deduplicate", [True, False])
def test_what_is_held_out_is_never_learned_from(tmp_path: Path, deduplicate: bool) -> None:
    learn = {"a.txt": "held out", "b.txt": "mine", "c.txt": "mine"}
    settings = two_folders(tmp_path, learn, {"a.txt": "held out", "z.txt": "held out"}, deduplicate=deduplicate)
    report = ReadReport()
    list(documents(settings, report))
    assert sides(settings) == (["mine"] * (1 if deduplicate else 2), ["held out"] * (1 if deduplicate else 2))
    assert report.duplicates == (3 if deduplicate else 1)


def test_a_file_inside_the_text_can_be_held_out(tmp_path: Path) -> None:
    settings = corpus(tmp_path, {"a.txt": b"mine", "b.txt": b"held out"})
    settings = settings.replace(validation_paths=(str(tmp_path / "b.txt"),))
    assert sides(settings) == (["mine"], ["held out"])
    with pytest.raises(DataError, match="validation_paths hold out every file"):
        list(documents(settings.replace(validation_paths=(str(tmp_path),))))


def test_split_depends_on_the_text_alone(tmp_path: Path) -> None:
    texts = {f"{n:03}.txt": f"document number {n}".encode() for n in range(400)}
    settings = corpus(tmp_path, texts)
    point = split_point(settings.replace(validation_fraction=0.1))
    held_out = {document.text for document in documents(settings) if is_validation(document, point)}
    assert 15 < len(held_out) < 70
    for name in list(texts)[::2]:
        os.rename(tmp_path / name, tmp_path / f"moved-{name}")
    assert held_out == {document.text for document in documents(settings) if is_validation(document, point)}
    assert not any(
        is_validation(document, split_point(settings.replace(validation_fraction=0)))
        for document in documents(settings)
    )


def test_the_set_of_digests_spills_to_disk_and_stays_exact() -> None:
    with SeenDigests(in_memory=10) as seen:
        digests = [os.urandom(16) for _ in range(95)]
        assert all(seen.add(digest) for digest in digests)
        assert not any(seen.add(digest) for digest in digests)


def test_unknown_encoding_in_the_settings_is_refused() -> None:
    from zhixing.config import load_settings

    with pytest.raises(ConfigError, match="encoding"):
        load_settings(TextSettings, None, ["encoding=klingon"])


def test_a_named_encoding_is_used(tmp_path: Path) -> None:
    settings = corpus(tmp_path, {"a.txt": "繁體中文".encode("big5")}, encoding="big5")
    assert next(documents(settings)).text == "繁體中文"


def test_nothing_but_blanks_is_an_error(tmp_path: Path) -> None:
    settings = corpus(tmp_path, {"a.txt": b" \n\t\n", "b.txt": b""})
    with pytest.raises(DataError, match="no text"):
        list(documents(settings))
