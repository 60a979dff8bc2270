"""Writing a whole model folder, publishing into one that holds a run, and checking one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.model_folder.durable import (
    Content,
    commit_folder,
    flush_folder,
    replace_file,
    temporary_beside,
    write_flushed,
)
from zhixing.model_folder.manifest import (
    MANIFEST_NAME,
    FileRecord,
    Manifest,
    check_record,
    manifest_text,
    read_manifest,
    record_file,
)
from zhixing.model_folder.paths import check_names, file_inside
from zhixing.model_folder.tensors import UNSAFE_SUFFIXES


def write_folder(
    path: str | Path, files: Mapping[str, Content], *, facts: Mapping[str, Any], replace: bool = False
) -> Manifest:
    """Write a model folder that is whole or absent, whenever the process is killed.

    Args:
        path: the folder to make.
        files: by name (``/`` for a folder within): bytes, text, or a function that writes the file.
        facts: for the manifest: recipe digest, data digest, seed, versions, ... (JSON values).
        replace: put it in the place of one that exists.

    Raises:
        ModelFolderError: it exists and ``replace`` is false, a name is not allowed, or writing failed.
    """
    path = Path(path)
    _check_file_names(files, path)
    written: list[Manifest] = []

    def fill(folder: Path) -> None:
        written.append(Manifest({name: _write(folder / name, files[name]) for name in files}, dict(facts)))
        write_flushed(folder / MANIFEST_NAME, manifest_text(written[0]))

    try:
        commit_folder(path, fill, replace=replace)
    except FileExistsError as error:
        raise ModelFolderError(
            tr(
                f"{path} exists and is not overwritten; choose another name or remove it",
                f"{path} 已存在，不会覆盖；请换名或先删除",
            )
        ) from error
    except OSError as error:
        raise _cannot_write(path, error) from error
    return written[0]


def publish_into(path: str | Path, files: Mapping[str, Content], *, facts: Mapping[str, Any]) -> Manifest:
    """Put a model into a folder that holds other things as well (a run's recipe, metrics, training state).

    Only ``files`` and ``MANIFEST.json`` are written, and files of the model that stood there before are
    removed; the manifest covers ``files`` alone. Everything is written beside first, so a full disk changes
    nothing. A kill between the renames leaves old and new files mixed, which every reader refuses by the
    digests; publish again.

    Raises:
        ModelFolderError: a name is not allowed, or writing failed.
    """
    path = Path(path)
    _check_file_names(files, path)
    staged: dict[Path, Path] = {}
    try:
        path.mkdir(parents=True, exist_ok=True)
        records = {}
        for name, content in files.items():
            staged[path / name] = temporary_beside(path / name)
            records[name] = _write(staged[path / name], content)
        for final, temporary in staged.items():
            os.replace(temporary, final)
        for stale in _earlier_files(path) - set(files):
            (path / stale).unlink(missing_ok=True)
        for folder in {final.parent for final in staged}:
            flush_folder(folder)
        manifest = Manifest(records, dict(facts))
        replace_file(path / MANIFEST_NAME, manifest_text(manifest))
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        for temporary in staged.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return manifest


def verify_folder(path: str | Path) -> list[str]:
    """Return what is wrong with a model folder, one sentence each; an empty list: it is as it was written."""
    path = Path(path)
    try:
        manifest = read_manifest(path)
    except ModelFolderError as error:
        return [str(error)]
    if manifest is None:
        return [tr(f"{path} has no {MANIFEST_NAME} to check against", f"{path} 没有可供核对的 {MANIFEST_NAME}")]
    problems = []
    for name, expected in manifest.files.items():
        try:
            file = file_inside(path, name)
            check_record(file, record_file(file), expected)
        except ModelFolderError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{path / name}: {error.strerror}")
    return problems + _unlisted_weights(path, manifest)


def _check_file_names(files: Iterable[str], path: Path) -> None:
    check_names([*files, MANIFEST_NAME], str(path), nested=True)
    if MANIFEST_NAME in files:
        raise ModelFolderError(
            tr(
                f"{path}: {MANIFEST_NAME} is written by the program itself",
                f"{path}：{MANIFEST_NAME} 由程序自身写入",
            )
        )


def _write(path: Path, content: Content) -> FileRecord:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flushed(path, content)
    return record_file(path)


def _earlier_files(path: Path) -> set[str]:
    """A damaged manifest names nothing: what it would have named is overwritten or stays unlisted."""
    try:
        manifest = read_manifest(path) if (path / MANIFEST_NAME).exists() else None
    except ModelFolderError:
        return set()
    return set(manifest.files) if manifest else set()


def _unlisted_weights(path: Path, manifest: Manifest) -> list[str]:
    names = sorted(file.name for file in path.iterdir() if file.suffix in UNSAFE_SUFFIXES | {".safetensors"})
    return [
        tr(
            f"{path / name} is a weight file that {MANIFEST_NAME} does not list; it is never opened",
            f"{path / name} 是未列入 {MANIFEST_NAME} 的权重文件；绝不打开",
        )
        for name in names
        if name not in manifest.files
    ]


def _cannot_write(path: Path, error: OSError) -> ModelFolderError:
    reason = error.strerror or str(error)
    return ModelFolderError(
        tr(
            f"cannot write {path}: {reason}; free some space or choose another place",
            f"无法写入 {path}：{reason}；请腾出空间或换一处",
        )
    )
