"""What writing costs, measured in a process of its own."""

from pathlib import Path

import pytest

from zhixing.comparison.probe import peak_bytes, spent_in_writing
from zhixing.comparison.table import CompareReport
from zhixing.errors import ZhixingError


def test_a_model_without_torch_needs_less_memory(report: CompareReport) -> None:
    rows = {row.model: row for row in report.finished}
    small, large = rows["trigram"].megabytes, rows["llama"].megabytes
    assert small is not None and large is not None
    if rows["trigram"].megabytes_of == "process":
        assert 20 < small < large / 2 < 1000  # Python and NumPy are some 40 MB, torch some 200 MB more
    for row in rows.values():
        assert row.tokens_per_second is not None and row.tokens_per_second > 1
        assert row.milliseconds_per_token is not None and 0 < row.milliseconds_per_token < 1000


def test_what_went_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(ZhixingError, match=r"writing with the model failed: .*there is no model folder at"):
        spent_in_writing(tmp_path / "nothing", [[0]], 2)


def test_the_peak_stays_when_memory_is_given_back() -> None:
    before = peak_bytes()
    if before is None:
        pytest.skip("this system does not tell")
    held = bytearray(b"1") * 80_000_000
    during = peak_bytes()
    del held
    after = peak_bytes()
    assert during is not None and after is not None
    assert during >= before and after > during - 1_000_000  # the kernel counts in portions
