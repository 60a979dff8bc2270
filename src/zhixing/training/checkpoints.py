"""Checkpoints: ``RUN/training_state/step-00000200/``, each a complete folder that is whole or absent.

A step folder holds safetensors files, ``state.json`` and ``MANIFEST.json`` (size and SHA-256 of each); with
the stem ``model`` and a ``config.json`` it is a model folder. It is written beside its place, flushed, and
renamed; a reader accepts only a folder whose manifest verifies, and finds the latest by looking, not by a
link that could be wrong. Old steps are renamed to a temporary name before they are removed. So a kill
at any time leaves the previous or the new step, never a torn one. One process at a time saves into a folder.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zhixing.errors import CheckpointError, ModelFolderError
from zhixing.language import tr
from zhixing.model_folder import (
    Content,
    read_bytes,
    read_json,
    read_manifest,
    read_tensors,
    tensor_files,
    verify_folder,
    write_folder,
)
from zhixing.model_folder.durable import TEMPORARY_MARK, remove_folder, temporary_beside

logger = logging.getLogger(__name__)

STATE_NAME = "state.json"
LOCK_NAME = ".lock"
_STEP = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """One committed step. Every read checks the digest of what it reads."""

    step: int
    path: Path

    def state(self) -> dict[str, Any]:
        """Return what was given as ``state``: the JSON values, floats bit-exact."""
        state: dict[str, Any] = read_json(self.path, STATE_NAME)
        return state

    def tensors(self, stem: str) -> dict[str, torch.Tensor]:
        """Return the CPU tensors of ``STEM.safetensors``; values need not be finite."""
        return read_tensors(self.path, stem=stem, check_finite=False)

    def read(self, name: str) -> bytes:
        """Return one of the other files."""
        return read_bytes(self.path, name)

    def problems(self) -> list[str]:
        """Return what is wrong with the step, one sentence each; an empty list: it is whole."""
        problems = verify_folder(self.path)
        if problems:
            return problems
        manifest = read_manifest(self.path)
        found = manifest.facts.get("step") if manifest else None
        if found != self.step:
            return [tr(f"{self.path} holds step {found}", f"{self.path} 实为第 {found} 步")]
        return []


class Checkpoints:
    """The checkpoints of one run. Use as a context manager, or ``close`` it, to let another process save."""

    def __init__(self, folder: str | Path, *, keep: int = 2, keep_every: int | None = None) -> None:
        """Name the folder; nothing is touched until the first ``save`` or ``latest``.

        Args:
            folder: usually ``RUN/training_state``.
            keep: how many of the newest steps to keep, at least 1 (2 survive damage to the newest).
            keep_every: also keep every step that is a multiple of this number.
        """
        if keep < 1 or (keep_every is not None and keep_every < 1):
            raise ValueError(f"keep = {keep}, keep_every = {keep_every}: both must be at least 1")
        self.folder = Path(folder)
        self.keep = keep
        self.keep_every = keep_every
        self._unlock: weakref.finalize[..., Any] | None = None

    def __enter__(self) -> Checkpoints:
        """Take the folder for this process."""
        self.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        """Let it go."""
        self.close()

    def acquire(self) -> None:
        """Take the folder for this process, and remove what killed saves have left in it.

        Raises:
            CheckpointError: another process is saving there, or the folder cannot be made.
        """
        if self._unlock is not None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = _lock(self.folder / LOCK_NAME)
        except OSError as error:
            raise _cannot_save(self.folder, error) from error
        self._unlock = weakref.finalize(self, os.close, descriptor)
        for leftover in self.folder.glob(f"*{TEMPORARY_MARK}*"):
            logger.info(
                tr(
                    f"removed {leftover}, left by a save that was killed",
                    f"已删除被中断的保存留下的 {leftover}",
                )
            )
            shutil.rmtree(leftover, ignore_errors=True)

    def close(self) -> None:
        """Let another process save into the folder."""
        if self._unlock is not None:
            self._unlock()
            self._unlock = None

    def steps(self) -> list[int]:
        """Return the committed steps, oldest first; whether they are whole is not checked."""
        if not self.folder.is_dir():
            return []
        matches = (_STEP.fullmatch(entry.name) for entry in self.folder.iterdir() if entry.is_dir())
        return sorted(int(match[1]) for match in matches if match)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
        files: Mapping[str, Content] | None = None,
    ) -> Checkpoint:
        """Commit one step, then remove the steps that retention no longer keeps.

        Args:
            step: its number; a step that is there and whole is never overwritten.
            tensors: file stem → tensors: ``{"model": ..., "optimizer": ..., "random": ...}``.
            state: JSON values with string keys, NaN and infinity allowed (``flatten_state`` makes them).
            files: more files of the step folder, such as ``config.json``.

        Raises:
            CheckpointError: the disk is full, a write failed, the step exists, or another process saves here.
                What was saved before is intact, and training may go on.
        """
        self.acquire()
        path = self.folder / f"step-{step:08d}"
        if path.exists():
            self._set_aside_damaged(Checkpoint(step, path))
        contents = dict(files or {})
        for stem, group in tensors.items():
            contents |= tensor_files(group, stem=stem)
        contents[STATE_NAME] = _state_text(state)
        try:
            write_folder(path, contents, facts={"step": step, "torch": torch.__version__})
        except (OSError, ModelFolderError) as error:
            raise _cannot_save(path, error) from error
        self._retain(step)
        return Checkpoint(step, path)

    def latest(self, verify: bool = True) -> Checkpoint | None:
        """Return the newest whole step, or None if nothing was ever committed.

        A damaged step is passed over with a warning that names the file.

        Raises:
            CheckpointError: there are steps, but none is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            checkpoint = Checkpoint(step, self.folder / f"step-{step:08d}")
            problems = checkpoint.problems() if verify else []
            if not problems:
                return checkpoint
            logger.warning(
                tr(
                    f"checkpoint step {step} is damaged and passed over: {problems[0]}",
                    f"第 {step} 步的检查点已损坏，跳过：{problems[0]}",
                )
            )
        if steps:
            raise CheckpointError(
                tr(
                    f"{self.folder}: none of the {len(steps)} checkpoints is whole; restore the folder "
                    "from a copy, or remove it to start again",
                    f"{self.folder}：{len(steps)} 个检查点均已损坏；请从备份恢复，或删除该文件夹后重新开始",
                )
            )
        return None

    def load(self, step: int) -> Checkpoint:
        """Return a given step.

        Raises:
            CheckpointError: it is not there, or damaged.
        """
        checkpoint = Checkpoint(step, self.folder / f"step-{step:08d}")
        if step not in self.steps():
            have = ", ".join(map(str, self.steps())) or tr("none", "无")
            raise CheckpointError(
                tr(
                    f"{self.folder} has no step {step}; it has: {have}",
                    f"{self.folder} 没有第 {step} 步；现有：{have}",
                )
            )
        if problems := checkpoint.problems():
            raise CheckpointError("; ".join(problems))
        return checkpoint

    def _set_aside_damaged(self, checkpoint: Checkpoint) -> None:
        """Make room where the run, resumed from an earlier step, comes again to a step that was damaged."""
        if not checkpoint.problems():
            raise CheckpointError(
                tr(
                    f"{checkpoint.path} is whole and is not overwritten; choose another run folder",
                    f"{checkpoint.path} 是完整的检查点，不会覆盖；请另选运行文件夹",
                )
            )
        aside = temporary_beside(checkpoint.path)
        aside = aside.with_name("damaged-" + aside.name.replace(TEMPORARY_MARK, "-"))
        try:
            os.rename(checkpoint.path, aside)
        except OSError as error:
            raise _cannot_save(checkpoint.path, error) from error
        logger.warning(tr(f"moved the damaged checkpoint to {aside}", f"已将损坏的检查点移至 {aside}"))

    def _retain(self, newest: int) -> None:
        """Remove old steps; those after ``newest`` are damaged, were passed over, and do not count."""
        for step in [step for step in self.steps() if step <= newest][: -self.keep]:
            if self.keep_every is not None and step % self.keep_every == 0:
                continue
            path = self.folder / f"step-{step:08d}"
            try:
                remove_folder(path)
            except OSError as error:
                logger.warning(
                    tr(
                        f"cannot remove the old checkpoint {path}: {error}",
                        f"无法删除旧检查点 {path}：{error}",
                    )
                )


def _state_text(state: Mapping[str, Any]) -> str:
    """Refuse what JSON would silently change, such as tuples and integer keys."""
    text = json.dumps(state, ensure_ascii=False, indent=1) + "\n"
    if repr(json.loads(text)) != repr(dict(state)):
        raise TypeError("the state is not made of JSON values with string keys; see flatten_state")
    return text


def _lock(path: Path) -> int:
    """Return a descriptor that holds the lock until it is closed, also by the death of the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        import fcntl  # absent on Windows

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        logger.warning(tr("this system cannot lock a folder", "本系统无法锁定文件夹"))
    except BlockingIOError as error:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise CheckpointError(
            tr(
                f"process {holder} is saving into {path.parent}; stop it or choose another run folder",
                f"进程 {holder} 正在向 {path.parent} 保存；请先停止它或另选运行文件夹",
            )
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _cannot_save(path: Path, error: Exception) -> CheckpointError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return CheckpointError(
        tr(
            f"the checkpoint {path} was not saved ({reason}); earlier ones are intact",
            f"检查点 {path} 未能保存（{reason}）；此前的检查点完好",
        )
    )
