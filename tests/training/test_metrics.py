"""The metrics log: what is written, what a resumed run keeps, what a bad disk costs."""

import json
import math
from pathlib import Path

import pytest

from zhixing.training.metrics import NAME, MetricsLog, read_metrics


def test_round_trip(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write({"step": 1, "loss": 0.1 + 0.2})
    log.write({"step": 2, "loss": math.nan, "gradient_norm": math.inf})
    log.close()
    assert read_metrics(tmp_path) == [
        {"step": 1, "loss": 0.1 + 0.2},
        {"step": 2, "loss": "nan", "gradient_norm": "inf"},
    ]
    for line in (tmp_path / NAME).read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_no_log_is_no_records(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_a_resumed_run_forgets_what_it_will_do_again(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        MetricsLog(tmp_path, after_step=step).write({"step": step})
    MetricsLog(tmp_path, after_step=20).write({"step": 21})
    assert [record["step"] for record in read_metrics(tmp_path)] == [10, 20, 21]
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_a_line_cut_short_by_a_kill(tmp_path: Path) -> None:
    torn = '{"step": 1}\n{"step": 2, "name": "猫'.encode()[:-1]
    (tmp_path / NAME).write_bytes(torn)
    assert read_metrics(tmp_path) == [{"step": 1}]
    MetricsLog(tmp_path, after_step=5).write({"step": 6})
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 6}]


def test_a_failing_disk_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).mkdir()  # opening it to write fails for everyone, root included
    log = MetricsLog(tmp_path)
    for step in range(5):
        log.write({"step": step})
    log.close()
    assert caplog.text.count("metrics cannot be written") == 1
    assert "training goes on without them" in caplog.text


def test_a_folder_that_is_gone_costs_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = MetricsLog(tmp_path / "gone")
    for step in range(3):
        log.write({"step": step})
    assert caplog.text.count("metrics cannot be written") == 1


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = MetricsLog(tmp_path, tensorboard=True)
    log.write({"step": 1, "loss": 2.0})
    log.write({"step": 2, "loss": 9.0})  # will be made again by the resumed run
    log.close()
    log = MetricsLog(tmp_path, tensorboard=True, after_step=1)
    log.write({"step": 2, "loss": 1.5})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.0), (2, 1.5)]


def test_a_tensorboard_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way", encoding="utf-8")
    log = MetricsLog(tmp_path, tensorboard=True)
    log.write({"step": 1})
    log.close()
    assert caplog.text.count("metrics cannot be written") == 1
    assert read_metrics(tmp_path) == [{"step": 1}]
