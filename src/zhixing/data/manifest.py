"""What a folder of shards holds: counts, and the size and SHA-256 of every file.

A folder ``train/`` or ``validation/`` holds ``manifest.json`` and, for each part, ``part-00000.ids`` (token
ids, little-endian, 2 or 4 bytes each) and ``part-00000.documents`` (the place within the part at which each
document's separator stands, little-endian 8-byte integers). File names follow from the part's number and are
never read from the manifest, so a manifest cannot point outside its folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from zhixing.data.files import file_digest, whole_file
from zhixing.errors import DataError
from zhixing.language import tr

FORMAT = "zhixing-token-shards"
VERSION = 1
NAME = "manifest.json"
Kind = Literal["ids", "documents"]
KINDS: tuple[Kind, ...] = ("ids", "documents")


@dataclass(frozen=True)
class Part:
    """One pair of files; ``tokens`` counts the ids in it, separators included."""

    documents: int
    tokens: int
    text_bytes: int
    ids_bytes: int
    ids_sha256: str
    documents_bytes: int
    documents_sha256: str

    def expected(self, kind: Kind) -> tuple[int, str]:
        """Return the size in bytes and the SHA-256 of one of the part's files."""
        if kind == "ids":
            return self.ids_bytes, self.ids_sha256
        return self.documents_bytes, self.documents_sha256


@dataclass(frozen=True)
class Manifest:
    """The description of one folder of shards."""

    vocab_size: int
    separator_id: int
    tokenizer_fingerprint: str
    parts: tuple[Part, ...]

    @property
    def id_bytes(self) -> int:
        """Bytes of one id: 2 if every id fits, else 4."""
        return id_bytes(self.vocab_size)

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the manifest: it covers every id, every boundary and the tokenizer."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``manifest.json``; only with it is the folder complete."""
        totals = {name: sum(getattr(p, name) for p in self.parts) for name in ("documents", "tokens", "text_bytes")}
        save_json(folder / NAME, {"format": FORMAT, "version": VERSION, **totals, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``manifest.json`` of ``folder``.

        Raises:
            DataError: there is none, or it is not one of ours.
        """
        values = load_json(folder / NAME)
        if "splits" in values:
            raise DataError(
                tr(
                    f"{folder}: open its train or its validation folder",
                    f"{folder}：请打开其中的 train 或 validation",
                )
            )
        try:
            parts = tuple(Part(**part) for part in values["parts"])
            fields = (values["vocab_size"], values["separator_id"], values["tokenizer_fingerprint"])
        except (KeyError, TypeError) as error:
            raise DataError(_damaged(folder / NAME, error)) from error
        return cls(*fields, parts)


def part_path(folder: Path, index: int, kind: str) -> Path:
    """Return the path of a file of part ``index``."""
    return folder / f"part-{index:05d}.{kind}"


def id_bytes(vocab_size: int) -> int:
    """Return how many bytes one id takes on disk."""
    return 2 if vocab_size <= 1 << 16 else 4


def check_part(folder: Path, index: int, part: Part, digests: bool) -> str:
    """Return what is wrong with a part's files, "" if nothing: sizes, and with ``digests`` every byte."""
    for kind in KINDS:
        path = part_path(folder, index, kind)
        size, digest = part.expected(kind)
        if not path.is_file():
            return tr(f"{path}: missing", f"{path}：缺失")
        if path.stat().st_size != size:
            return tr(
                f"{path}: {path.stat().st_size:,} bytes instead of {size:,}",
                f"{path}：大小为 {path.stat().st_size:,} 字节，应为 {size:,}",
            )
        if digests and file_digest(path) != digest:
            return tr(f"{path}: its SHA-256 is not the recorded one", f"{path}：SHA-256 与记录不符")
    return ""


def save_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write ``values`` as readable JSON, whole or not at all."""
    with whole_file(path) as file:
        file.write((json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode())


def load_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of this format.

    Raises:
        DataError: it is missing, not JSON, or of another format or version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT or values["version"] != VERSION:
            raise ValueError(f"{values['format']} {values['version']}")
    except FileNotFoundError as error:
        raise DataError(
            tr(
                f"{path.parent}: no finished token shards here; run `zhixing data prepare` (again)",
                f"{path.parent}：此处没有已完成的词元分片；请（重新）运行 `zhixing data prepare`",
            )
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(_damaged(path, error)) from error
    return dict(values)


def _damaged(path: Path, error: Exception) -> str:
    return tr(
        f"{path}: not a manifest that this version reads ({error}); prepare the shards again",
        f"{path}：不是此版本可读的清单（{error}）；请重新准备分片",
    )
