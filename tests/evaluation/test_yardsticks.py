import lzma
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from zhixing.errors import DataError
from zhixing.evaluation.yardsticks import deflate, xz, xz_after_training, xz_size

SOURCE = [path.read_text(encoding="utf-8") for path in sorted(Path(lzma.__file__).parent.glob("js*/*.py"))]


def test_xz_is_what_preset_nine_gives():
    data = "\n".join(SOURCE).encode()
    result = xz(SOURCE)
    assert result.compressed == len(lzma.compress(data, preset=9))
    assert result.bits_per_byte == pytest.approx(8 * result.compressed / (len(data) - len(SOURCE) + 1))
    assert result.documents == len(SOURCE)


@pytest.mark.skipif(not shutil.which("xz"), reason="needs the xz program")
def test_xz_is_what_the_program_gives(tmp_path):
    file = tmp_path / "text"
    file.write_text("\n".join(SOURCE), encoding="utf-8", newline="\n")
    out = subprocess.run(["xz", "-9", "-T1", "-c", str(file)], capture_output=True, check=True).stdout
    assert xz(SOURCE).compressed == pytest.approx(len(out), abs=8)


@pytest.mark.parametrize("data", [b"", b"a", b"ab" * 5000])
def test_small_data_keeps_its_size(data):
    assert xz_size(data) == len(lzma.compress(data, preset=9))


def test_deflate_is_zlib():
    assert deflate(SOURCE).compressed == len(zlib.compress("\n".join(SOURCE).encode(), 9))


def test_training_text_helps_xz():
    alone, helped = xz(SOURCE[:2]), xz_after_training(SOURCE[:2], SOURCE)
    assert helped.bits_per_byte < 0.2 * alone.bits_per_byte


@pytest.mark.parametrize("measure", [xz, deflate])
@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_an_error(measure, texts):
    with pytest.raises(DataError):
        measure(texts)
