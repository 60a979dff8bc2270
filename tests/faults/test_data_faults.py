"""Faults D1-D4, D7 and D8: damaged, hostile and changed input, and a full disk."""

import gzip
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from zhixing.corpus.reader import documents
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import open_prepared, prepare
from zhixing.data.shards import TokenShards
from zhixing.errors import DataError, ZhixingError
from zhixing.tokenizers.bytes import ByteTokenizer


def read(path: Path, report: ReadReport | None = None, **settings: object) -> list[str]:
    chosen = TextSettings(paths=(str(path),)).replace(**settings)
    return [document.text for document in documents(chosen, report)]


# D1: invalid UTF-8, lone surrogates, NUL, byte order mark, mixed newlines.


def test_d1_dirty_bytes_are_repaired_and_counted_twice_alike(tmp_path: Path) -> None:
    path = tmp_path / "dirty.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rth\0ree\n\xff\xed\xa0\x80 end \xe4\xb8")
    first, second = ReadReport(), ReadReport()
    texts = read(path, first)
    assert texts == read(path, second)
    assert first == second
    assert texts[0].startswith("one\ntwo\nthree\n\ufffd")
    assert first.removed_nul_characters == 1
    assert first.repaired_bytes >= 3
    assert first.repaired_files == [str(path)]


def test_d1_random_bytes_named_txt_are_refused_or_skipped(tmp_path: Path) -> None:
    (tmp_path / "noise.txt").write_bytes(random.Random(0).randbytes(100_000))
    (tmp_path / "good.txt").write_text("good", encoding="utf-8")
    with pytest.raises(DataError, match=r"noise\.txt.*UTF-8"):
        read(tmp_path)
    report = ReadReport()
    assert read(tmp_path, report, on_error="skip") == ["good"]
    assert report.broken == 1


# D2: one line of 1 GB; nothing but blanks (the latter in tests/corpus/test_reader.py).

GIGABYTE = """
import sys
from zhixing.corpus.reader import documents
from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError
try:
    for document in documents(TextSettings(paths=(sys.argv[1],), on_error=sys.argv[2])):
        assert document.text == "after\\n", document.text[:50]
except DataError as error:
    print(error)
with open("/proc/self/status", encoding="utf-8") as status:  # ru_maxrss begins with the parent's size
    print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_d2_a_line_of_one_gigabyte_is_named_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    with open(path, "wb") as file:
        for _ in range(1024):
            file.write(b"x" * (1 << 20))
        file.write(b"\nafter\n")
    for on_error in ("fail", "skip"):
        command = [sys.executable, "-c", GIGABYTE, str(path), on_error]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
        assert int(out[-2]) < 512
        assert (f"{path}:1: longer than" in out[0]) == (on_error == "fail")


# D3: a megabyte that becomes ten gigabytes.


@pytest.mark.parametrize("suffix", [".txt.gz", ".jsonl.gz", ".html.zst"])
def test_d3_a_bomb_stops_at_the_cap(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    block = (b" " * 4095 + b"\n") * 256
    if suffix.endswith("gz"):
        path.write_bytes(gzip.compress(block, mtime=0) * 10_000)
    else:
        zstandard = pytest.importorskip("zstandard")
        path.write_bytes(zstandard.compress(block) * 10_000)
    report = ReadReport()
    with pytest.raises(DataError, match=rf"bomb{suffix}: .*max_compression_ratio"):
        read(path, report, max_line_bytes=1 << 28, max_compression_ratio=4.0)
    assert report.file_bytes < path.stat().st_size


def test_d3_the_size_cap(tmp_path: Path) -> None:
    path = tmp_path / "big.txt.gz"
    path.write_bytes(gzip.compress(os.urandom(3000).hex().encode()))
    with pytest.raises(DataError, match="max_decompressed_bytes"):
        read(path, max_decompressed_bytes=1000)


# D4: cut and damaged files.


def damaged(tmp_path: Path, kind: str) -> Path:
    text = "".join(f'{{"text": "line {n} {os.urandom(8).hex()}"}}\n' for n in range(2000)).encode()
    data = gzip.compress(text)
    if kind == "cut gz":
        path, data = tmp_path / "rows.jsonl.gz", data[: len(data) // 2]
    elif kind == "bad crc":
        path, data = tmp_path / "rows.jsonl.gz", data[:-8] + b"\0\0\0\0" + data[-4:]
    elif kind == "cut zst":
        zstandard = pytest.importorskip("zstandard")
        path, data = tmp_path / "rows.jsonl.zst", zstandard.compress(text)
        data = data[: len(data) // 2]
    else:
        path, data = tmp_path / "rows.jsonl", text[: text.rfind(b"text") + 20]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["cut gz", "bad crc", "cut zst", "cut jsonl"])
def test_d4_damage_is_named_and_can_be_skipped(tmp_path: Path, kind: str) -> None:
    path = damaged(tmp_path, kind)
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        read(path)
    (tmp_path / "whole.txt").write_text("whole", encoding="utf-8")
    report = ReadReport()
    texts = read(tmp_path, report, on_error="skip")
    assert texts[-1] == "whole"
    assert report.broken == 1
    assert path.name in report.broken_examples[0]


@pytest.mark.parametrize("where", ["end", "middle"])
def test_d4_damaged_parquet_is_named(tmp_path: Path, where: str) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "rows.parquet"
    table = arrow.table({"text": [os.urandom(200).hex() for _ in range(4000)]})
    parquet.write_table(table, path, row_group_size=1000, use_dictionary=False)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] if where == "end" else data[:half] + b"\xff" * 5000 + data[half + 5000 :])
    with pytest.raises(DataError, match=r"rows\.parquet:\d+: .*(cut or damaged)"):
        read(path)
    report = ReadReport()
    (tmp_path / "whole.txt").write_text("whole", encoding="utf-8")
    assert read(tmp_path, report, on_error="skip")[-1] == "whole"
    assert report.broken == 1


# D7: shards changed after they were written.


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    (tmp_path / "text").mkdir()
    for n in range(40):
        (tmp_path / f"text/{n}.txt").write_text(f"document {n} " * 20, encoding="utf-8")
    prepare(TextSettings(paths=(str(tmp_path / "text"),)), ByteTokenizer(), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("name", ["train/part-00000.ids", "train/part-00000.documents", "validation/part-00000.ids"])
def test_d7_one_changed_byte_is_noticed(prepared: Path, name: str) -> None:
    path = prepared / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"{name}.*SHA-256"):
        open_prepared(prepared)
    with pytest.raises(DataError, match="SHA-256"):
        prepare(TextSettings(paths=(str(prepared.parent / "text"),)), ByteTokenizer(), prepared)
    mended = prepare(TextSettings(paths=(str(prepared.parent / "text"),)), ByteTokenizer(), prepared, replace=True)
    assert mended.report.documents == 40


def test_d7_cut_missing_and_swapped_files_are_noticed_even_without_digests(prepared: Path) -> None:
    path = prepared / "train/part-00000.ids"
    data = path.read_bytes()
    path.write_bytes(data[:-2])
    with pytest.raises(DataError, match="bytes instead of"):
        TokenShards.open(prepared / "train", verify=False)
    path.unlink()
    with pytest.raises(DataError, match="missing"):
        TokenShards.open(prepared / "train", verify=False)
    path.write_bytes(data)
    os.rename(prepared / "train", prepared / "aside")
    os.rename(prepared / "validation", prepared / "train")
    os.rename(prepared / "aside", prepared / "validation")
    with pytest.raises(DataError, match="not the shards"):
        open_prepared(prepared)


# D8: the disk is full. A limit on file size makes the system refuse a write as a full disk does.


def test_d8_a_full_disk_leaves_no_partial_shard_and_the_rerun_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").mkdir()
    for n in range(50):
        (tmp_path / f"text/{n:02}.txt").write_text(f"{n} " * (3000 if n == 40 else 200), encoding="utf-8")
    text, out = TextSettings(paths=(str(tmp_path / "text"),)), tmp_path / "out"
    monkeypatch.setattr("zhixing.data.writer.PART_BYTES", 5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (14_000, hard))
    try:
        with pytest.raises(ZhixingError, match="disk is full"):
            prepare(text, ByteTokenizer(), out, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    names = {path.name for path in out.rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith(".tmp")]
    assert "manifest.json" not in names
    assert any(name.endswith(".done") for name in names)
    with pytest.raises(DataError, match="no finished"):
        open_prepared(out)
    rerun = prepare(text, ByteTokenizer(), out)
    assert rerun.report.documents == 50
    assert rerun.train.digest == prepare(text, ByteTokenizer(), tmp_path / "fresh").train.digest


def test_d8_a_real_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("only root may mount a small disk")
    try:
        (tmp_path / "big.txt").write_text("".join(f"line {n}\n" for n in range(40_000)), encoding="utf-8")
        with pytest.raises(ZhixingError, match="disk is full"):
            prepare(TextSettings(paths=(str(tmp_path / "big.txt"),)), ByteTokenizer(), disk / "out")
        assert not list(disk.rglob("*.ids*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
