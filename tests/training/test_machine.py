"""What the probe chooses, what it refuses, and the meters."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from zhixing.errors import ConfigError
from zhixing.training import machine
from zhixing.training.machine import EnergyMeter, Machine, available_cores, matmul_rate, probe, resident_bytes
from zhixing.training.settings import TrainingSettings


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{"steps": 1, "threads": 1, "device": "cpu", **changes})


@pytest.fixture
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[torch.dtype, float]:
    """Stand in for a machine whose two rates are known."""
    table = {torch.float32: 100e9, torch.bfloat16: 1e9}
    monkeypatch.setattr(machine, "matmul_rate", lambda device, dtype, **_: table[dtype])
    return table


def test_float32_where_bfloat16_is_slower(rates: dict[torch.dtype, float]) -> None:
    found = probe(settings())
    assert (found.precision, found.matmul_rate) == ("float32", 100e9)


def test_bfloat16_where_it_is_clearly_faster(rates: dict[torch.dtype, float]) -> None:
    rates[torch.bfloat16] = 140e9
    assert probe(settings()).precision == "float32"  # not enough to give precision away
    rates[torch.bfloat16] = 400e9
    found = probe(settings())
    assert (found.precision, found.matmul_rate) == ("bfloat16", 400e9)
    assert probe(settings(precision="float32")).precision == "float32"


def test_a_slow_wish_is_granted_with_a_warning(
    rates: dict[torch.dtype, float], caplog: pytest.LogCaptureFixture
) -> None:
    assert probe(settings(precision="bfloat16")).precision == "bfloat16"
    assert "bfloat16 is 100 times slower than float32 on this machine" in caplog.text


def test_the_real_probe_decides_by_the_real_rates() -> None:
    found = probe(settings())
    single = matmul_rate("cpu", torch.float32, size=512, seconds=0.05)
    half = matmul_rate("cpu", torch.bfloat16, size=256, seconds=0.05)
    if half < single:
        assert found.precision == "float32"
    assert 1e8 < found.matmul_rate < 1e14
    assert found.threads == torch.get_num_threads() == 1
    assert "cpu" in found.describe()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "quantum"])
def test_a_device_that_is_not_here(device: str) -> None:
    with pytest.raises(ConfigError, match=rf"training.device = '{device}' cannot be used here \(.+\); try auto"):
        probe(settings(device=device))


def test_compilation_is_for_long_runs_or_by_wish(
    rates: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert not probe(settings()).compiled
    assert not probe(settings(minutes=19.0)).compiled
    assert probe(settings(minutes=20.0)).compiled
    assert probe(settings(compile="yes")).compiled
    assert not probe(settings(minutes=600.0, compile="no")).compiled
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)  # no compiler
    assert not probe(settings(minutes=20.0)).compiled


def test_threads_are_the_cores_unless_given(rates: dict[torch.dtype, float], monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert probe(settings(threads=0)).threads == available_cores() == torch.get_num_threads() == 1
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert probe(settings(threads=0)).threads == available_cores() == torch.get_num_threads()
    finally:
        torch.set_num_threads(1)


def test_the_contract_holds_what_decides_the_bits_and_not_the_speed() -> None:
    slow, fast = (Machine("cpu", "float32", False, 2, rate) for rate in (1.0, 2.0))
    assert slow.contract() == fast.contract()
    assert slow.contract() != Machine("cpu", "float32", False, 1, 1.0).contract()
    assert slow.contract()["torch"] == torch.__version__


def test_autocast_is_off_in_float32_and_on_in_bfloat16() -> None:
    a = torch.ones(2, 2)
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with Machine("cpu", precision, False, 1, 1.0).autocast():
            assert (a @ a).dtype == dtype


def test_estimated_energy_grows_with_time_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EnergyMeter, "_read", lambda self: None)
    one, four = EnergyMeter(1, 10.0), EnergyMeter(4, 10.0)
    time.sleep(0.02)
    first = one.joules()
    assert not one.measured
    assert 0.2 <= first < four.joules()
    time.sleep(0.01)
    assert one.joules() > first


def test_measured_energy_is_the_counters(tmp_path: Path) -> None:
    meter = EnergyMeter(1, 10.0)
    meter._counter = tmp_path / "energy_uj"
    meter._counter.write_text("5000000\n", encoding="ascii")
    meter._start = meter._read()
    meter._counter.write_text("7500000\n", encoding="ascii")
    assert meter.measured
    assert meter.joules() == 2.5
    meter._counter.write_text("17\n", encoding="ascii")  # it went round: an estimate is better than nonsense
    assert 0 <= meter.joules() < 10


def test_resident_bytes_is_plausible() -> None:
    assert 10e6 < resident_bytes() < 1e12
