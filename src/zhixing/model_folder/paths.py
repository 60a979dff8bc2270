"""Names and small files from outside: nothing is opened that leaves its folder or is not what it says.

The faults behind this file are real ones: shard names such as ``../../etc/x`` joined unchecked to the folder,
links that lead out, a FIFO that hangs the reader, JSON nested until the parser dies, a key given twice.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr

JSON_LIMIT = 64 * 2**20
"""bytes; the largest JSON file that is read when the caller names no limit."""


def is_plain_name(name: object) -> bool:
    """Return whether ``name`` is one component of a path: no separator, drive, ``..``, control character."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= 255
        and name not in (".", "..")
        and name == name.strip()
        and not re.search(r"[/\\:\x00-\x1f\x7f]", name)
    )


def is_inner_name(name: object) -> bool:
    """Return whether ``name`` is a relative path of plain names, such as ``part/config.json``."""
    return isinstance(name, str) and name.count("/") < 8 and all(is_plain_name(part) for part in name.split("/"))


def check_names(names: Iterable[object], where: str, *, nested: bool) -> None:
    """Refuse names that leave the folder, and two names that some file systems cannot tell apart.

    Raises:
        ModelFolderError: naming the file that lists them (``where``) and the name.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not (is_inner_name(name) if nested else is_plain_name(name)):
            raise ModelFolderError(
                tr(
                    f"{where}: '{name}' is not the name of a file in this folder; nothing was opened",
                    f"{where}：'{name}' 不是本文件夹内的文件名；未打开任何文件",
                )
            )
        folded = str(name).casefold()
        if seen.setdefault(folded, str(name)) != name:
            raise ModelFolderError(
                tr(
                    f"{where}: '{seen[folded]}' and '{name}' differ only in upper and lower case; rename one",
                    f"{where}：'{seen[folded]}' 与 '{name}' 仅大小写不同；请重命名其一",
                )
            )


def file_inside(folder: Path, name: str) -> Path:
    """Return the path of a regular file that lies in ``folder``.

    A link is followed only within the folder, or into the ``blobs`` of the Hugging Face cache around it.

    Raises:
        ModelFolderError: the name or a link leads out, the file is missing or not a regular file.
    """
    check_names([name], str(folder), nested=True)
    path = folder / name
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(folder)) and not _is_cache_blob(folder, real):
        raise ModelFolderError(
            tr(
                f"{path} is a link to {real}, outside its folder; copy the folder with its contents (cp -rL)",
                f"{path} 链接到文件夹之外的 {real}；请连同内容复制该文件夹（cp -rL）",
            )
        )
    try:
        mode = real.stat().st_mode
    except OSError as error:
        raise ModelFolderError(
            tr(
                f"{path}: {error.strerror}; the folder is incomplete",
                f"{path}：{error.strerror}；文件夹不完整",
            )
        ) from error
    if not stat.S_ISREG(mode):
        raise ModelFolderError(tr(f"{path} is not a regular file", f"{path} 不是普通文件"))
    return path


def parse_json(data: bytes, where: str) -> Any:
    """Return the value of JSON from outside, refusing a repeated key and nesting that exhausts the stack.

    Raises:
        ModelFolderError: not UTF-8, not JSON, a key twice, nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_no_repeats)
    except RecursionError as error:
        raise ModelFolderError(tr(f"{where}: the JSON is nested too deeply", f"{where}：JSON 嵌套过深")) from error
    except ValueError as error:
        raise ModelFolderError(tr(f"{where}: not valid JSON: {error}", f"{where}：JSON 无效：{error}")) from error


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(tr(f"'{repeated}' is given twice", f"'{repeated}' 重复出现"))
    return result


def _is_cache_blob(folder: Path, real: Path) -> bool:
    """In the Hugging Face cache a snapshot is links ``snapshots/REVISION/x -> ../../blobs/DIGEST``."""
    snapshots = Path(os.path.realpath(folder)).parent
    blobs = snapshots.parent / "blobs"
    is_digest = re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", real.name) is not None
    return snapshots.name == "snapshots" and real.parent == blobs and is_digest
