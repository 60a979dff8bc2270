"""Reading a model folder's files: capped in size, checked against the manifest, never executed."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.model_folder.manifest import MANIFEST_NAME, check_record, read_manifest, record_bytes
from zhixing.model_folder.paths import JSON_LIMIT, file_inside, parse_json

logger = logging.getLogger(__name__)

CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate"})
"""Keys by which a config asks a loader to import Python files that lie beside it."""


def read_bytes(folder: str | Path, name: str, *, limit: int | None = None) -> bytes:
    """Return a file of a model folder. What is returned is what was checked: it is read once.

    Args:
        folder: the model folder.
        name: of the file in it, ``/`` between folders.
        limit: the most bytes to accept.

    Raises:
        ModelFolderError: missing, outside the folder, above ``limit``, or not as ``MANIFEST.json`` says.
    """
    folder = Path(folder)
    path = file_inside(folder, name)
    size = path.stat().st_size
    if limit is not None and size > limit:
        raise ModelFolderError(
            tr(
                f"{path} has {size} bytes; a file of its kind may have {limit}",
                f"{path} 有 {size} 字节；此类文件最多 {limit} 字节",
            )
        )
    manifest = read_manifest(folder)
    if manifest is not None and name not in manifest.files:
        raise ModelFolderError(
            tr(
                f"{path} is not listed in {MANIFEST_NAME}: it was added later; remove one of the two",
                f"{path} 未列入 {MANIFEST_NAME}：是后来添加的；请删除其中之一",
            )
        )
    data = path.read_bytes()
    if manifest is not None:
        check_record(path, record_bytes(data), manifest.files[name])
    return data


def read_json(folder: str | Path, name: str, *, limit: int = JSON_LIMIT) -> Any:
    """Return the value of a JSON file of a model folder.

    Raises:
        ModelFolderError: as ``read_bytes``, or not JSON, a key twice, nested too deeply.
    """
    return parse_json(read_bytes(folder, name, limit=limit), str(Path(folder) / name))


def read_config(folder: str | Path, name: str = "config.json") -> dict[str, Any]:
    """Return ``config.json``. Keys that ask for code to be run are left out, with a warning that names them.

    Raises:
        ModelFolderError: as ``read_json``, or it is not an object.
    """
    config = read_json(folder, name, limit=16 * 2**20)
    path = Path(folder) / name
    if not isinstance(config, dict):
        raise ModelFolderError(
            tr(
                f"{path} must be a JSON object, not {config!r:.40}",
                f"{path} 应为 JSON 对象，而不是 {config!r:.40}",
            )
        )
    dropped: set[str] = set()
    cleaned: dict[str, Any] = _without_code_keys(config, dropped)
    if dropped:
        _warn_of_code(path, dropped)
    return cleaned


def _without_code_keys(value: Any, dropped: set[str]) -> Any:
    if isinstance(value, dict):
        dropped |= CODE_KEYS & value.keys()
        return {k: _without_code_keys(v, dropped) for k, v in value.items() if k not in CODE_KEYS}
    if isinstance(value, list):
        return [_without_code_keys(inner, dropped) for inner in value]
    return value


def _warn_of_code(path: Path, keys: Collection[str]) -> None:
    names = ", ".join(sorted(keys))
    logger.warning(
        tr(
            f"{path}: ignored {names}: no code from a model folder is ever run",
            f"{path}：已忽略 {names}：绝不运行模型文件夹中的代码",
        )
    )
