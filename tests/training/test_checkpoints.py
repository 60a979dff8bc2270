"""Checkpoints: saved, found, kept and removed."""

import logging
from pathlib import Path

import pytest
import torch

from zhixing.errors import CheckpointError
from zhixing.model_folder import read_config, read_tensors
from zhixing.training.checkpoints import Checkpoints

MODEL = {"weight": torch.arange(6.0).reshape(2, 3)}


def save(checkpoints: Checkpoints, step: int) -> None:
    optimizer = {"weight.exp_avg": torch.full((2, 3), float(step)), "weight.step": torch.tensor(float("nan"))}
    state = {"step": step, "rate": 0.1 + 0.2, "best": float("inf"), "cursor": {"epoch": 0, "index": 2**60}}
    checkpoints.save(step, {"model": MODEL, "optimizer": optimizer}, state, {"config.json": '{"a": 1}'})


def test_round_trip(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run" / "training_state") as checkpoints:
        assert checkpoints.latest() is None
        save(checkpoints, 200)
    checkpoint = Checkpoints(tmp_path / "run" / "training_state").latest()
    assert checkpoint is not None and checkpoint.step == 200
    assert checkpoint.path.name == "step-00000200"
    state = checkpoint.state()
    assert state == {
        "step": 200,
        "rate": 0.1 + 0.2,
        "best": float("inf"),
        "cursor": {"epoch": 0, "index": 2**60},
    }
    assert checkpoint.tensors("optimizer")["weight.exp_avg"].tolist() == [[200.0] * 3] * 2
    assert checkpoint.tensors("optimizer")["weight.step"].isnan()
    assert checkpoint.read("config.json") == b'{"a": 1}'
    assert read_config(checkpoint.path) == {"a": 1}  # a step is a model folder as well
    assert torch.equal(read_tensors(checkpoint.path)["weight"], MODEL["weight"])


def test_retention(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, keep=2, keep_every=300) as checkpoints:
        for step in range(100, 1001, 100):
            save(checkpoints, step)
        assert checkpoints.steps() == [300, 600, 900, 1000]
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("step-")) == [".lock"]


def test_load_a_given_step(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
        assert checkpoints.load(1).state()["step"] == 1
        with pytest.raises(CheckpointError, match="no step 3; it has: 1, 2"):
            checkpoints.load(3)


def test_a_whole_step_is_never_overwritten(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        with pytest.raises(CheckpointError, match="not overwritten"):
            checkpoints.save(1, {"model": {}}, {"step": 99})
        assert checkpoints.load(1).state()["step"] == 1


def test_a_run_that_comes_again_to_a_damaged_step_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        save(checkpoints, 100)
        save(checkpoints, 200)
        (tmp_path / "step-00000200" / "optimizer.safetensors").write_bytes(b"")
        resumed = checkpoints.latest()
        assert resumed is not None and resumed.step == 100
        save(checkpoints, 150)  # the damaged step is not counted among the two that are kept
        assert checkpoints.steps() == [100, 150, 200]
        with caplog.at_level(logging.WARNING):
            save(checkpoints, 200)
        assert "damaged-step-00000200" in caplog.text
        assert checkpoints.steps() == [150, 200]
        newest = checkpoints.latest()
        assert newest is not None and newest.step == 200


def test_a_step_under_another_name_is_damaged(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        (tmp_path / "step-00000001").rename(tmp_path / "step-00000005")
        with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
            checkpoints.latest()


def test_leftovers_of_killed_saves_are_removed(tmp_path: Path) -> None:
    (tmp_path / "step-00000003.tmp-0a1b2c3d").mkdir()
    (tmp_path / "step-00000003.tmp-0a1b2c3d" / "model.safetensors").write_bytes(b"half")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == []
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_state_that_json_would_change_is_refused(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        for state in ({"a": (1, 2)}, {"a": {1: 2}}, {"a": torch.tensor(1)}):
            with pytest.raises(TypeError):
                checkpoints.save(1, {}, state)
        assert checkpoints.steps() == []


def test_nonsense_retention_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)
