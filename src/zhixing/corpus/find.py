"""Which files are read: folders, globs and files in one fixed order; and the default text.

A folder is walked recursively in sorted order; names that begin with a dot, and ``__pycache__``, are passed
over, and links to folders are not followed. Files of other types are counted, never silently dropped.
"""

from __future__ import annotations

import glob
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from zhixing.corpus.report import ReadReport
from zhixing.corpus.settings import TextSettings
from zhixing.errors import DataError, nearest
from zhixing.language import tr

LAYOUTS = {
    ".txt": "text",
    ".md": "text",
    ".py": "text",
    ".rst": "text",
    ".html": "html",
    ".jsonl": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
DEFAULT_SUFFIXES = frozenset({".py", ".rst", ".txt", ".md"})
DEFAULT_EXCLUDED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "lib-dynload"}
)


@dataclass(frozen=True)
class InputFile:
    """One file; layout ``text``, ``html``, ``jsonl``, ...; compression ``gzip``, ``zstd`` or ``""``.

    ``held_out``: it is only there to validate on.
    """

    path: str
    layout: str
    compression: str
    held_out: bool = False

    @property
    def identity(self) -> tuple[str, int, int]:
        """Absolute path, size in bytes and time of the last change in nanoseconds."""
        status = os.stat(self.path)
        return os.path.abspath(self.path), status.st_size, status.st_mtime_ns


def find_files(paths: tuple[str, ...], report: ReadReport) -> list[InputFile]:
    """Return the files behind ``paths`` in reading order, each once; none given: the default text.

    Raises:
        DataError: a path does not exist or is of no known type, a glob matches nothing, nothing was found.
    """
    candidates = _named(paths, report) if paths else _default_text()
    found: dict[str, InputFile] = {}
    for file in candidates:
        found.setdefault(os.path.realpath(file.path), file)
    if not found:
        where = ", ".join(paths) or str(default_folder())
        known = " ".join(LAYOUTS)
        raise DataError(
            tr(
                f"no readable file in {where}; it must hold files ending in {known} (also .gz, .zst)",
                f"{where} 中没有可读的文件；文件应以 {known} 结尾（可再加 .gz、.zst）",
            )
        )
    return list(found.values())


def find_text(settings: TextSettings, report: ReadReport) -> list[InputFile]:
    """Return the files that ``settings`` name: those held out whole first, then those not among them.

    Raises:
        DataError: as ``find_files`` does; or nothing is left to learn from.
    """
    validation = find_files(settings.validation_paths, report) if settings.validation_paths else []
    held_out = [replace(file, held_out=True) for file in validation]
    taken = {os.path.realpath(file.path) for file in held_out}
    rest = [file for file in find_files(settings.paths, report) if os.path.realpath(file.path) not in taken]
    if not rest:
        where = ", ".join(settings.paths) or str(default_folder())
        raise DataError(
            tr(
                f"text.validation_paths hold out every file of {where}; leave some to learn from",
                f"text.validation_paths 已留出 {where} 中的全部文件；请留下一些用于学习",
            )
        )
    return held_out + rest


def classify(path: str) -> InputFile | None:
    """Return the file with its layout by its name's ending, or None if the type is not known."""
    stem, suffix = os.path.splitext(path.lower())
    compression = COMPRESSIONS.get(suffix, "")
    if compression:
        suffix = os.path.splitext(stem)[1]
    layout = LAYOUTS.get(suffix)
    return InputFile(path, layout, compression) if layout else None


def default_folder() -> Path:
    """Return the folder of the standard library of the running Python."""
    return Path(sysconfig.get_path("stdlib"))


def _default_text() -> Iterator[InputFile]:
    for path in _walk(str(default_folder()), DEFAULT_EXCLUDED):
        if os.path.splitext(path)[1] in DEFAULT_SUFFIXES:
            yield InputFile(path, "text", "")


def _named(paths: tuple[str, ...], report: ReadReport) -> Iterator[InputFile]:
    for path in paths:
        path = os.path.expanduser(path)
        if os.path.isdir(path):
            yield from _known(_walk(path), report)
        elif os.path.exists(path):
            yield _known_or_error(path)
        elif glob.has_magic(path):
            yield from _matches(path, report)
        else:
            siblings = os.listdir(parent) if os.path.isdir(parent := os.path.dirname(path) or ".") else []
            hint = nearest(os.path.basename(path), siblings) if siblings else ""
            raise DataError(tr(f"{path}: no such file or folder; {hint}", f"{path}：没有这个文件或文件夹；{hint}"))


def _matches(pattern: str, report: ReadReport) -> Iterator[InputFile]:
    matches = sorted(glob.glob(pattern, recursive=True))
    if not matches:
        raise DataError(tr(f"{pattern}: the glob matches no file", f"{pattern}：没有文件与此通配符匹配"))
    for path in matches:
        yield from _known(_walk(path) if os.path.isdir(path) else iter([path]), report)


def _known_or_error(path: str) -> InputFile:
    file = classify(path)
    if file is None or not os.path.isfile(path):
        known = " ".join(LAYOUTS)
        raise DataError(
            tr(
                f"{path}: not a type that can be read; convert it to one of {known} (also .gz, .zst)",
                f"{path}：无法读取此类型；请改名或转换为 {known} 之一（可再加 .gz、.zst）",
            )
        )
    return file


def _known(paths: Iterator[str], report: ReadReport) -> Iterator[InputFile]:
    for path in paths:
        file = classify(path)
        if file is None or not os.path.isfile(path):
            report.add_ignored(path, os.path.splitext(path)[1].lower() or "(no ending)")
        else:
            yield file


def _walk(folder: str, excluded: frozenset[str] = frozenset({"__pycache__"})) -> Iterator[str]:
    """Yield the files below ``folder`` in sorted order, without hidden names and excluded folders."""

    def fail(error: OSError) -> None:
        raise DataError(tr(f"{error.filename}: {error.strerror}", f"{error.filename}：{error.strerror}"))

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if name not in excluded and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.join(parent, name)
