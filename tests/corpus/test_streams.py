import bz2
import gzip
from pathlib import Path

import pytest

from zhixing.corpus.find import InputFile
from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.corpus.streams import CHUNK, chunks
from zhixing.errors import DataError

DATA = bytes(range(256)) * 20_000


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_bytes_come_back_in_bounded_chunks_and_the_file_is_counted(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "data"
    if compression == "zstd":
        path.write_bytes(pytest.importorskip("zstandard").compress(DATA))
    else:
        path.write_bytes(
            gzip.compress(DATA[: len(DATA) // 2]) + gzip.compress(DATA[len(DATA) // 2 :]) if compression else DATA
        )
    report = ReadReport()
    pieces = list(chunks(InputFile(str(path), "text", compression), TextSettings(max_compression_ratio=1e6), report))
    assert b"".join(pieces) == DATA
    assert max(len(piece) for piece in pieces) <= CHUNK
    assert report.file_bytes == path.stat().st_size


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_another_compression_under_the_name_is_named(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "data.gz"
    path.write_bytes(bz2.compress(DATA))
    with pytest.raises(DataError, match=r"data\.gz: the compressed file is cut or damaged"):
        list(chunks(InputFile(str(path), "text", compression), TextSettings(), ReadReport()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read"):
        list(chunks(InputFile(str(tmp_path / "gone.txt"), "text", ""), TextSettings(), ReadReport()))
