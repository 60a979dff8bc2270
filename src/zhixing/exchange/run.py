"""Exporting and importing: files written beside their place, checked there, and moved in only if both sides agree."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zhixing import __version__
from zhixing.errors import ConfigError, InputError, ModelFolderError, reading
from zhixing.exchange.formats import Format, Made, Options, json_text, named, recognise, written_name
from zhixing.exchange.parity import Parity
from zhixing.language import tr
from zhixing.model_folder import MANIFEST_NAME, publish_into, read_manifest, verify_folder
from zhixing.model_folder.durable import commit_folder, replace_file

_log = logging.getLogger(__name__)
REPORT = "parity.json"
Direction = Literal["export", "import"]


@dataclass(frozen=True)
class Exchanged:
    """What an exchange made, and whether it computes the same.

    Attributes:
        direction: ``export`` or ``import``.
        format: its name.
        source: what was read.
        out: the folder that holds the result; where parity failed, the folder where it was kept aside.
        files: in it.
        parity: the report, also in ``parity.json`` there.
    """

    direction: Direction
    format: str
    source: Path
    out: Path
    files: tuple[str, ...]
    parity: Parity

    @property
    def ok(self) -> bool:
        """Whether the result stands where it was asked for: false only where parity was measured and failed."""
        return self.parity.ok is not False

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "format": self.format,
            "source": str(self.source),
            "out": str(self.out),
            "files": list(self.files),
            "parity": self.parity.as_dict(),
        }

    def render(self) -> str:
        """Return the report in words."""
        names = ", ".join(self.files)
        return f"{self.parity.render()}\n\n{self.out}: {names}"

    def problem(self) -> str:
        """Return the sentence of a failed exchange."""
        figures = self.parity.failures()
        return tr(
            f"{self.source} and its {self.format} form do not compute the same: {figures}; what was made is kept in "
            f"{self.out} for inspection, do not use it",
            f"{self.source} 与其 {self.format} 形式的计算结果不同：{figures}；产物保留在 {self.out} 以供查看，请勿使用",
        )


def export_model(
    source: str | Path, format: str, out: str | Path | None = None, options: Options | None = None
) -> Exchanged:
    """Write a model folder in another program's format.

    Args:
        source: a model folder, or one of word vectors.
        format: a name of ``FORMATS``.
        out: the folder to make; None: ``SOURCE-FORMAT`` beside the source.
        options: see ``Options``.

    Raises:
        InputError: the format does not fit the model, the model is damaged, or ``out`` is taken.
    """
    source, options = Path(source), options or _default_options()
    chosen = named(format, "export")
    _refuse_idle(options, chosen)
    with reading(source):
        place = Path(out) if out is not None else _beside(source, chosen)
        _refuse_taken(place, source)
        made = chosen.load().export_files(source, options)
    return _write("export", chosen, source, place, made, lambda folder: chosen.load().check(source, folder, options))


def import_model(
    source: str | Path, out: str | Path, format: str | None = None, options: Options | None = None
) -> Exchanged:
    """Make a model folder of what another program has written.

    Args:
        source: a folder of transformers, or a file.
        out: the folder to make.
        format: a name of ``FORMATS``; None: recognised by the source.
        options: see ``Options``.

    Raises:
        InputError: the source is damaged, unsafe, of an unknown family or format, or ``out`` is taken.
    """
    source, options = Path(source), options or _default_options()
    with reading(source):
        chosen = recognise(source) if format is None else named(format, "import")
        _refuse_idle(options, chosen)
        _refuse_taken(Path(out), source)
        made = chosen.load().import_files(source, options)
    return _write(
        "import", chosen, source, Path(out), made, lambda folder: chosen.load().check(folder, source, options)
    )


def _beside(source: Path, format: Format) -> Path:
    """Return ``SOURCE-FORMAT``, where an export goes by itself."""
    whole = source.resolve()
    if not whole.name:
        raise InputError(tr(f"{source} has no name; give --out", f"{source} 没有名称；请给出 --out"))
    return whole.with_name(f"{whole.name}-{format.name}")


def _refuse_idle(options: Options, format: Format) -> None:
    """Refuse an option that says nothing in this format."""
    if options.precision != "f32" and format.name != "gguf":
        raise ConfigError(
            tr(
                f"--precision is of gguf alone; {format.name} holds float32: leave it out",
                f"--precision 仅用于 gguf；{format.name} 存 float32：请去掉",
            )
        )
    if options.tokenizer is not None and format.name != "arpa":
        raise ConfigError(
            tr(
                f"--tokenizer is of arpa alone; {format.name} has its own: leave it out",
                f"--tokenizer 仅用于 arpa；{format.name} 自有分词方式：请去掉",
            )
        )


def _default_options() -> Options:
    from zhixing.exchange.questions import Sample, default_texts

    return Options(Sample(default_texts()))


def _write(
    direction: Direction, format: Format, source: Path, out: Path, made: Made, check: Callable[[Path], Parity]
) -> Exchanged:
    found: list[Exchanged] = []
    facts = {**made.facts, direction: {"format": format.name, "source": written_name(source), "zhixing": __version__}}

    def fill(folder: Path) -> None:
        try:
            publish_into(folder, made.files, facts=facts)
        except ModelFolderError as error:
            if isinstance(error.__cause__, OSError):  # it names a place that the user has never heard of
                raise error.__cause__ from error
            raise
        parity = check(folder)
        report = {"written_by": f"zhixing {direction}", "format": format.name, **parity.as_dict()}
        replace_file(folder / REPORT, json_text(report))
        aside = out if parity.ok is not False else _aside(out)
        found.append(Exchanged(direction, format.name, source, aside, (*made.files, REPORT), parity))
        if parity.ok is False:
            os.rename(folder, aside)
            raise _NotEqual

    try:
        commit_folder(out, fill, replace=True)
    except _NotEqual:
        return found[0]
    except OSError as error:
        raise _cannot_write(out, error) from error
    if found[0].parity.ok is None:
        _log.warning(
            tr(f"{out} was written but not checked: ", f"{out} 已写出但未核对：") + " ".join(found[0].parity.notes)
        )
    return found[0]


def _cannot_write(out: Path, error: OSError) -> ModelFolderError:
    """Word what the system, or a library that writes, says of a place."""
    number = re.search(r"\(os error ([0-9]{1,4})\)", str(error))  # safetensors
    reason = error.strerror or (os.strerror(int(number[1])) if number else str(error))
    if re.fullmatch("[0-9]+ requested and [0-9]+ written", reason):  # NumPy
        reason = os.strerror(errno.ENOSPC)
    return ModelFolderError(
        tr(
            f"cannot write {out}: {reason}; free some space or choose another place",
            f"无法写入 {out}：{reason}；请腾出空间或换一处",
        )
    )


class _NotEqual(Exception):
    """Parity failed: ``commit_folder`` is left without a commit."""


def _aside(out: Path) -> Path:
    """Return an unused name for what failed."""
    names = (out.with_name(f"{out.name}.failed{'' if number == 0 else f'-{number}'}") for number in range(10_000))
    return next(name for name in names if not name.exists())


def _refuse_taken(out: Path, source: Path) -> None:
    """Refuse a place where something stands that no earlier exchange has made, or the source itself."""
    if out.is_symlink() or (out.exists() and not (out.is_dir() and (not any(out.iterdir()) or _is_ours(out)))):
        raise InputError(
            tr(
                f"{out} exists and was not made by zhixing export or import alone, or was changed since; choose "
                "another name or remove it",
                f"{out} 已存在，且不单是 zhixing export 或 import 的产物，或此后有改动；请换名或先删除",
            )
        )
    if source.resolve().is_relative_to(out.resolve()):
        raise InputError(
            tr(
                f"{out} holds the source {source}, which would be lost; choose another name",
                f"{out} 含有来源 {source}，写入会使其丢失；请换名",
            )
        )


def _is_ours(folder: Path) -> bool:
    """Say whether an exchange made everything in a folder, and nobody has changed it since."""
    try:
        report = read_report(folder)
        manifest = read_manifest(folder)
    except (InputError, OSError):
        return False
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    made = str(report.get("written_by", "")).startswith("zhixing ")
    listed = manifest is not None and files <= {*manifest.files, MANIFEST_NAME, REPORT}
    return made and listed and not verify_folder(folder)


def read_report(folder: str | Path) -> Mapping[str, Any]:
    """Return the parity report of an exchange's folder.

    Raises:
        ModelFolderError: there is none, or it is no JSON object.
    """
    from zhixing.model_folder.paths import file_inside, parse_json

    path = file_inside(Path(folder), REPORT)
    value = parse_json(path.read_bytes()[: 1 << 20], str(path))
    if not isinstance(value, dict):
        raise ModelFolderError(tr(f"{path} is no parity report", f"{path} 不是一致性报告"))
    return value
