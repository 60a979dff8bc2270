"""The formats of other programs: what each is called, what holds its code, which files look like it.

A format's module offers ``check``, and ``export_files`` or ``import_files`` or both; see ``FormatModule``. Adding a
format is one module and one line of ``FORMATS``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from zhixing.errors import ConfigError, InputError, nearest
from zhixing.exchange.parity import Parity
from zhixing.exchange.questions import Sample
from zhixing.language import tr
from zhixing.model_folder import Content
from zhixing.model_folder.tensors import UNSAFE_SUFFIXES
from zhixing.models.interop.fasttext import is_fasttext

Precision = Literal["f32", "f16"]


@dataclass(frozen=True)
class Options:
    """What a caller may choose.

    Attributes:
        sample: the text of the parity report.
        precision: of the exported matrices, where the format has a choice.
        tokenizer: folder of the tokenizer that a file without one was written with; None: the file's own folder.
    """

    sample: Sample
    precision: Precision = "f32"
    tokenizer: Path | None = None


@dataclass(frozen=True)
class Made:
    """The files of an exchange, by name, and what belongs into the manifest."""

    files: dict[str, Content]
    facts: Mapping[str, Any] = field(default_factory=dict)


class FormatModule(Protocol):
    """What a format's module offers."""

    def export_files(self, source: Path, options: Options) -> Made:
        """Return the other program's files for a model folder."""

    def import_files(self, source: Path, options: Options) -> Made:
        """Return a model folder's files for what another program has written."""

    def check(self, ours: Path, theirs: Path, options: Options) -> Parity:
        """Compare a model folder with what the other program makes of its own files."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: as the user writes it.
        meaning: what it is, in English and Chinese.
        module: in this package; after a colon an object in it.
        file: what an export's one file is called; empty: it is a whole folder.
        endings: of single files that may be in this format.
        exports: whether models can be written in it.
        imports: whether it can be read.
    """

    name: str
    meaning: tuple[str, str]
    module: str
    file: str = ""
    endings: tuple[str, ...] = ()
    exports: bool = True
    imports: bool = True

    def holds(self, folder: Path) -> bool:
        """Say whether a folder is an export in this format: it has the one file of its name."""
        return bool(self.file) and (folder / self.file).is_file()

    def load(self) -> FormatModule:
        """Return the module, or the object in it."""
        name, _, inner = self.module.partition(":")
        module = importlib.import_module(f"zhixing.exchange.{name}")
        return cast("FormatModule", getattr(module, inner) if inner else module)


_TABLE = (
    Format(
        "transformers",
        ("a folder for Hugging Face transformers", "Hugging Face transformers 文件夹"),
        "hugging_face",
    ),
    Format(
        "gguf",
        ("one file for llama.cpp and what is built on it", "供 llama.cpp 及其衍生程序的单文件"),
        "gguf",
        "model.gguf",
        (".gguf",),
        imports=False,
    ),
    Format(
        "onnx",
        ("a graph for ONNX Runtime and others", "供 ONNX Runtime 等使用的计算图"),
        "onnx",
        "model.onnx",
        (".onnx",),
        imports=False,
    ),
    Format(
        "arpa",
        ("n-grams for KenLM, SRILM and others", "供 KenLM、SRILM 等的 n 元模型"),
        "arpa",
        "model.arpa",
        (".arpa", ".lm"),
    ),
    Format("word2vec", ("word vectors as text", "文本格式的词向量"), "vectors:TEXT", "vectors.vec", (".vec", ".txt")),
    Format(
        "word2vec-binary",
        ("word vectors in word2vec's binary format", "word2vec 二进制格式的词向量"),
        "vectors:BINARY",
        "vectors.bin",
    ),
    Format(
        "fasttext",
        ("word and n-gram vectors for fastText", "供 fastText 的词与字符 n 元向量"),
        "vectors:FASTTEXT",
        "fasttext.bin",
        (".ftz",),
    ),
)
FORMATS = {one.name: one for one in _TABLE}


def named(name: str, direction: Literal["export", "import"]) -> Format:
    """Return the format of a name.

    Raises:
        ConfigError: there is none, or it goes the other way only.
    """
    able = {one.name: one for one in FORMATS.values() if (one.exports if direction == "export" else one.imports)}
    if name in able:
        return able[name]
    if name in FORMATS:
        raise ConfigError(
            tr(
                f"{name} files can be written, not read; import the folder or file they were made from",
                f"{name} 文件只能写出，不能读入；请导入其来源的文件夹或文件",
            )
        )
    hint = nearest(name, able)
    raise ConfigError(tr(f"--format {name}: unknown format; {hint}", f"--format {name}：未知格式；{hint}"))


def recognise(source: Path) -> Format:
    """Return the format that a folder or file seems to be in.

    Raises:
        InputError: it does not exist, or is of no known format.
    """
    if source.is_dir():
        inner = [] if (source / "config.json").is_file() else [one for one in FORMATS.values() if one.holds(source)]
        return named(inner[0].name, "import") if inner else FORMATS["transformers"]
    if not source.is_file():
        raise InputError(tr(f"there is no file or folder at {source}", f"{source} 处没有文件或文件夹"))
    with source.open("rb") as file:
        first = file.read(512)
    if is_fasttext(first):
        return FORMATS["fasttext"]
    if first.startswith(b"GGUF"):
        return named("gguf", "import")
    if source.suffix in FORMATS["arpa"].endings or b"\\data\\" in first:
        return FORMATS["arpa"]
    if source.suffix == ".bin" and (counts := first.split(b"\n")[0].split()) and all(map(bytes.isdigit, counts)):
        return FORMATS["word2vec-binary"]
    for one in FORMATS.values():
        if source.suffix in one.endings:
            return named(one.name, "import")
    raise _unrecognised(source)


def _unrecognised(source: Path) -> InputError:
    if source.suffix == ".safetensors":
        return InputError(
            tr(
                f"{source} holds weights alone; give the folder it lies in, with config.json and tokenizer",
                f"{source} 只有权重；请给出其所在的文件夹，连同 config.json 与分词器",
            )
        )
    if source.suffix in UNSAFE_SUFFIXES:
        return InputError(
            tr(
                f"{source} is no word vectors, and other files of its kind can run code: never opened; convert it to "
                "safetensors with the tool that wrote it",
                f"{source} 不是词向量，而同类的其他文件可运行代码，绝不打开；请用写出它的工具转换为 safetensors",
            )
        )
    known = " ".join(ending for one in FORMATS.values() if one.imports for ending in one.endings)
    return InputError(
        tr(
            f"{source}: the format is not recognised ({known}, or a folder); name it with --format",
            f"{source}：无法识别格式（{known} 或文件夹）；请用 --format 指定",
        )
    )


def file_of(source: Path, name: str) -> Path:
    """Return the one file of a source: itself, or that of its name in a folder.

    Raises:
        InputError: there is none; what is no regular file, such as a pipe, has no size to judge its counts by.
    """
    path = source / name if source.is_dir() else source
    if not path.is_file():
        raise InputError(tr(f"there is no file at {path}", f"{path} 处没有文件"))
    return path


def written_name(path: Path) -> str:
    """Return the name of a file or folder as it can be written: bytes that are not UTF-8 as ``\\udcff``."""
    return path.resolve().name.encode("utf-8", "backslashreplace").decode("utf-8")


def json_text(value: Mapping[str, Any]) -> str:
    """Return a JSON file's text."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
