from pathlib import Path

import pytest

from zhixing.corpus.find import classify, default_folder, find_files
from zhixing.corpus.report import ReadReport
from zhixing.errors import DataError


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")


def found(folder: Path, *paths: str, report: ReadReport | None = None) -> list[str]:
    files = find_files(paths or (str(folder),), report or ReadReport())
    return [Path(file.path).relative_to(folder).as_posix() for file in files]


def test_folder_is_walked_in_sorted_order_and_nothing_vanishes(tmp_path: Path) -> None:
    write(
        tmp_path,
        "b.txt",
        "a/z.md",
        "a/k.jsonl.gz",
        ".hidden.txt",
        ".git/x.txt",
        "__pycache__/y.py",
        "photo.PNG",
        "noending",
    )
    report = ReadReport()
    assert found(tmp_path, report=report) == ["b.txt", "a/k.jsonl.gz", "a/z.md"]
    assert report.ignored == {".png": 1, "(no ending)": 1}


def test_globs_and_repeated_paths_give_each_file_once(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b.txt", "c/d.txt")
    assert found(tmp_path, f"{tmp_path}/*.txt", str(tmp_path / "a.txt"), str(tmp_path)) == [
        "a.txt",
        "b.txt",
        "c/d.txt",
    ]
    assert found(tmp_path, f"{tmp_path}/**/d.txt") == ["c/d.txt"]


@pytest.mark.parametrize("name", ["missing.txt", "*.csv", "picture.png"])
def test_wrong_path_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, "picture.png", "missin.txt")
    with pytest.raises(DataError, match=name.replace("*", r"\*")):
        found(tmp_path, f"{tmp_path}/{name}")


def test_a_misspelt_name_gets_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "corpus.txt")
    with pytest.raises(DataError, match=r"corpus\.txt"):
        found(tmp_path, f"{tmp_path}/corpsu.txt")


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no readable file"):
        found(tmp_path)


def test_classify() -> None:
    file = classify("/x/Data.JSONL.ZST")
    assert file is not None
    assert (file.layout, file.compression) == ("jsonl", "zstd")
    assert classify("x.gz") is None


def test_default_text_is_the_standard_library_without_tests() -> None:
    files = [Path(file.path).relative_to(default_folder()) for file in find_files((), ReadReport())]
    assert Path("argparse.py") in files
    assert Path("pydoc_data/topics.py") in files
    assert not {"test", "tests", "idle_test", "site-packages", "__pycache__"} & {
        part for f in files for part in f.parts[:-1]
    }
    assert files == [Path(file.path).relative_to(default_folder()) for file in find_files((), ReadReport())]
