"""Faults of checkpoints: kills (C1), failing disks (C2), damage (C3), two processes (C4)."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zhixing.errors import CheckpointError, ModelFolderError
from zhixing.model_folder import publish_into, read_config, write_folder
from zhixing.training.checkpoints import Checkpoints

SAVER = """
import itertools, sys, torch
from zhixing.training.checkpoints import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep=2)
newest = checkpoints.latest()
for step in itertools.count(newest.step + 1 if newest else 1):
    tensors = {"weight": torch.full((10_000,), float(step))}
    checkpoints.save(step, {"model": tensors, "optimizer": tensors}, {"step": step})
    print(step, flush=True)
"""

FORKING_SAVER = """
import os, sys, torch
import safetensors.torch  # once, not in every child
from zhixing.training.checkpoints import Checkpoints
def save_for_ever(folder, when):
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.acquire()
    newest = checkpoints.latest()
    step = newest.step if newest else 0
    if when == "early":
        print(os.getpid(), flush=True)
    while True:
        step += 1
        tensors = {"weight": torch.full((10_000,), float(step))}
        checkpoints.save(step, {"model": tensors, "optimizer": tensors}, {"step": step})
        if when == "late":
            print(os.getpid(), flush=True)
            when = "done"
torch.set_num_threads(1)
for line in sys.stdin:
    if (child := os.fork()) == 0:
        save_for_ever(sys.argv[1], line.strip())
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def save(checkpoints: Checkpoints, step: int, size: int = 1000) -> None:
    tensors = {"weight": torch.full((size,), float(step))}
    checkpoints.save(step, {"model": tensors, "optimizer": tensors}, {"step": step})


def assert_whole(folder: Path, at_least: int) -> int:
    for step in Checkpoints(folder).steps():  # the older ones too: none is half removed
        assert Checkpoints(folder).load(step).step == step
    newest = Checkpoints(folder).latest()
    assert newest is not None or at_least == 0
    if newest is None:
        return 0
    assert newest.step >= at_least
    assert newest.state() == {"step": newest.step}
    for stem in ("model", "optimizer"):
        assert newest.tensors(stem)["weight"].unique().tolist() == [float(newest.step)]
    return newest.step


def test_c1_fifty_kills_leave_no_torn_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(1)
    newest = 0
    with Checkpoints(tmp_path / "clock") as clock:
        started = time.perf_counter()
        for step in range(5):
            save(clock, step, size=10_000)
        seconds_of_a_save = (time.perf_counter() - started) / 5
    folder = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", FORKING_SAVER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin and parent.stdout
        leftovers = 0
        for kill in range(50):
            parent.stdin.write("early\n" if kill % 2 else "late\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            time.sleep(dice.uniform(0, 1.5 * seconds_of_a_save))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "dead\n"
            leftovers += len(list(folder.glob("*.tmp-*")))
            newest = assert_whole(folder, newest)
        parent.stdin.close()
    assert newest >= 25, "every late kill comes after a save"
    assert leftovers > 0, "no kill fell into a save"
    assert caplog.text == "", "a damaged step was passed over"
    with Checkpoints(folder) as checkpoints:
        save(checkpoints, newest + 1)
        assert not list(folder.glob("*.tmp-*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_c2_a_failing_disk_fails_the_save_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    """Fail each single call of its kind in turn, until a save needs no more of them."""
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
        before = snapshot(tmp_path)
        for nth in range(1, 100):
            with monkeypatch.context() as patch:
                patch.setattr(os, call, fail_on(getattr(os, call), nth, code))
                try:
                    save(checkpoints, 3)
                except CheckpointError as error:
                    assert os.strerror(code) in str(error)
                    assert snapshot(tmp_path) == before
                    continue
            break
        assert nth > 1, f"os.{call} was never called"
        assert assert_whole(tmp_path, 3) == 3
        save(checkpoints, 4)
        assert checkpoints.steps()[-2:] == [3, 4]


def test_c2_a_real_write_limit_fails_the_save_and_nothing_else(tmp_path: Path) -> None:
    """The kernel itself refuses to write on, in the middle of the tensors."""
    program = (
        "import resource, signal, sys, torch\n"
        "from zhixing.errors import CheckpointError\n"
        "from zhixing.training.checkpoints import Checkpoints\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "checkpoints = Checkpoints(sys.argv[1])\n"
        "def save(step): checkpoints.save(step, {'model': {'w': torch.ones(100_000)}}, {'step': step})\n"
        "save(1)\n"
        "hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))\n"
        "try: save(2)\n"
        "except CheckpointError as error: print(error)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "print(checkpoints.steps())\n"
        "save(3)\n"
        "print(checkpoints.steps(), checkpoints.latest().step)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    message, after_failure, at_end = done.stdout.splitlines()
    assert "too large" in message.lower()
    assert after_failure == "[1]"
    assert at_end == "[1, 3] 3"
    assert not list(tmp_path.glob("*.tmp-*"))


def test_c2_a_removal_that_fails_leaves_no_half_step_and_does_not_fail_the_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail_half_way(path: Path, **options: Any) -> None:
        next(Path(path).iterdir()).unlink()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Checkpoints(tmp_path, keep=1) as checkpoints:
        save(checkpoints, 1)
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", fail_half_way)
            save(checkpoints, 2)
        assert "cannot remove the old checkpoint" in caplog.text
        assert checkpoints.steps() == [2]
    with Checkpoints(tmp_path):
        assert not list(tmp_path.glob("*.tmp-*"))


def test_c2_a_read_only_or_impossible_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CheckpointError, match="was not saved"):
        save(Checkpoints(tmp_path / "file" / "training_state"), 1)


@pytest.mark.parametrize("call", ["fsync", "rename", "replace"])
def test_c2_a_failed_replace_of_a_model_folder_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = tmp_path / "model"
    write_folder(folder, {"config.json": '{"old": 1}'}, facts={})
    before = snapshot(tmp_path)
    write = publish_into if call == "replace" else write_folder
    options: dict[str, Any] = {} if call == "replace" else {"replace": True}
    last = {"fsync": 4, "rename": 2, "replace": 1}[call]  # how many of these calls a write makes
    for nth in range(1, last + 1):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail_on(getattr(os, call), nth, errno.EIO))
            with pytest.raises(ModelFolderError, match=os.strerror(errno.EIO)):
                write(folder, {"config.json": '{"new": 1}'}, facts={}, **options)
        assert snapshot(tmp_path) == before, f"os.{call} number {nth}"
    write(folder, {"config.json": '{"new": 1}'}, facts={}, **options)
    assert read_config(folder) == {"new": 1}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "empty", "lengthen"])
def test_c3_a_damaged_step_is_passed_over_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
        whole = (tmp_path / "step-00000002" / name).read_bytes()
        for place in random.Random(name).sample(range(len(whole)), 8) if damage == "flip" else [0]:
            damage_file(tmp_path / "step-00000002" / name, whole, damage, place)
            caplog.clear()
            newest = checkpoints.latest()
            assert newest is not None and newest.step == 1, f"{damage} at byte {place}"
            assert str(tmp_path / "step-00000002") in caplog.text and name in caplog.text
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
            checkpoints.load(2)


def test_c3_two_swapped_files_are_found(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        a, b = ((tmp_path / "step-00000001" / f"{stem}.safetensors") for stem in ("model", "optimizer"))
        checkpoints.save(2, {"model": {"a": torch.ones(4)}, "optimizer": {"a": torch.zeros(4)}}, {"step": 2})
        a, b = ((tmp_path / "step-00000002" / f"{stem}.safetensors") for stem in ("model", "optimizer"))
        one, other = a.read_bytes(), b.read_bytes()
        a.write_bytes(other), b.write_bytes(one)
        newest = checkpoints.latest()
        assert newest is not None and newest.step == 1


def test_c3_steps_but_none_whole_is_an_error_not_a_fresh_start(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
        for step in (1, 2):
            (tmp_path / f"step-0000000{step}" / "MANIFEST.json").unlink()
        with pytest.raises(CheckpointError, match="none of the 2 checkpoints is whole"):
            checkpoints.latest()


def test_c3_damage_after_the_scan_is_found_when_read(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1)
        newest = checkpoints.latest()
        assert newest is not None
        path = newest.path / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")
        with pytest.raises(ModelFolderError, match="SHA-256"):
            newest.tensors("model")


def test_c4_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        other.stdout.readline()
        checkpoints = Checkpoints(tmp_path)
        with pytest.raises(CheckpointError, match=f"process {other.pid} is saving"):
            checkpoints.acquire()
        assert checkpoints.latest() is not None  # reading is free
        other.kill()
    with checkpoints:  # a killed process leaves no lock behind
        newest = checkpoints.latest()
        assert newest is not None
        save(checkpoints, newest.step + 1)


def fail_on(call: Callable[..., Any], nth: int, code: int) -> Callable[..., Any]:
    """Return ``call`` as a disk that fails once: at the ``nth`` call."""
    count = 0

    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(code, os.strerror(code))
        return call(*arguments, **options)

    return failing


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def damage_file(path: Path, whole: bytes, damage: str, place: int) -> None:
    if damage == "delete":
        path.unlink()
        return
    flipped = whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :]
    path.write_bytes(
        {"flip": flipped, "truncate": whole[: len(whole) // 2], "empty": b"", "lengthen": whole + b"\0"}[damage]
    )
