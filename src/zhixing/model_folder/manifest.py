"""``MANIFEST.json``: the size and SHA-256 of every file of a model folder, and the facts that produced it.

safetensors refuses files that cannot be laid out, but not a flipped byte; the digests do. The manifest also
carries the digest of itself. It proves that a folder is as it was written, not who wrote it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.model_folder.paths import JSON_LIMIT, check_names, file_inside, parse_json

MANIFEST_NAME = "MANIFEST.json"
FORMAT = "zhixing-model-folder"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class FileRecord:
    """What a file is: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a folder by name, and free facts: recipe digest, data digest, seed, versions, ..."""

    files: Mapping[str, FileRecord]
    facts: Mapping[str, Any] = field(default_factory=dict)


def record_file(path: Path) -> FileRecord:
    """Return the size and digest of a file, reading it once."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(file.tell(), digest)


def record_bytes(data: bytes) -> FileRecord:
    """Return the size and digest of ``data``."""
    return FileRecord(len(data), hashlib.sha256(data).hexdigest())


def manifest_text(manifest: Manifest) -> str:
    """Return the manifest as JSON. A number that JSON cannot hold (NaN, infinity) is written as its name."""
    body = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "files": {
            name: {"size": record.size, "sha256": record.sha256} for name, record in sorted(manifest.files.items())
        },
        "facts": _json_safe(manifest.facts),
    }
    return json.dumps(body | {"digest": _digest(body)}, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read_manifest(folder: str | Path) -> Manifest | None:
    """Return the manifest of a folder, or that of its parent where it lists files of this folder, or None.

    Raises:
        ModelFolderError: it is damaged, or of a later version of the format.
    """
    folder = Path(folder)
    if (folder / MANIFEST_NAME).exists() or (folder / MANIFEST_NAME).is_symlink():
        return _load(folder)
    parent = folder.absolute().parent
    if not (parent / MANIFEST_NAME).is_file():
        return None
    outer, prefix = _load(parent), f"{folder.absolute().name}/"
    files = {name.removeprefix(prefix): rec for name, rec in outer.files.items() if name.startswith(prefix)}
    return Manifest(files, outer.facts) if files else None


def check_record(path: Path, found: FileRecord, expected: FileRecord) -> None:
    """Compare a file with its record.

    Raises:
        ModelFolderError: size or digest differ; the message names the file.
    """
    if found == expected:
        return
    if found.size != expected.size:
        en, zh = f"{found.size} bytes instead of {expected.size}", f"{found.size} 字节，应为 {expected.size}"
    else:
        en, zh = "its SHA-256 differs", "其 SHA-256 不符"
    raise ModelFolderError(
        tr(
            f"{path} is not the file that {MANIFEST_NAME} lists ({en}): it is damaged or was edited; "
            f"copy it again, or delete {MANIFEST_NAME} to accept the folder as it is",
            f"{path} 与 {MANIFEST_NAME} 的记录不符（{zh}）：文件已损坏或被手工修改；"
            f"请重新复制，或删除 {MANIFEST_NAME} 以接受现状",
        )
    )


def _load(folder: Path) -> Manifest:
    path = file_inside(folder, MANIFEST_NAME)
    if path.stat().st_size > JSON_LIMIT:
        raise _damaged(path, tr("it is too large", "文件过大"))
    body = parse_json(path.read_bytes(), str(path))
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise _damaged(path, tr(f"it is not of the format '{FORMAT}'", f"格式不是 '{FORMAT}'"))
    version = body.get("version")
    if version != FORMAT_VERSION:
        raise ModelFolderError(
            tr(
                f"{path} has version {version} of the format; this program reads {FORMAT_VERSION}: update it",
                f"{path} 的格式版本为 {version}；本程序读取版本 {FORMAT_VERSION}：请更新程序",
            )
        )
    if body.pop("digest", None) != _digest(body):
        raise _damaged(path, tr("its own digest differs", "其自身的摘要不符"))
    return Manifest(_records(path, body.get("files")), _facts(path, body.get("facts")))


def _records(path: Path, files: Any) -> dict[str, FileRecord]:
    if not isinstance(files, dict):
        raise _damaged(path, tr("it lists no files", "未列出文件"))
    check_names(files, str(path), nested=True)
    records = {}
    for name, entry in files.items():
        size = entry.get("size") if isinstance(entry, dict) else None
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", str(sha256)):
            raise _damaged(path, tr(f"the entry of '{name}' is malformed", f"'{name}' 的条目有误"))
        records[name] = FileRecord(size, str(sha256))
    return records


def _facts(path: Path, facts: Any) -> dict[str, Any]:
    if not isinstance(facts, dict):
        raise _damaged(path, tr("it has no facts", "缺少 facts"))
    return facts


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _damaged(path: Path, what: str) -> ModelFolderError:
    return ModelFolderError(
        tr(f"{path} is damaged: {what}; copy the folder again", f"{path} 已损坏：{what}；请重新复制文件夹")
    )


def _json_safe(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json_safe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_safe(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
