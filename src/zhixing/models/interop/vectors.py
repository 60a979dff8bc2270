"""Word vectors in other programs' files: word2vec's text and binary, and fastText's ``.vec``, which is that text.

Text: a line ``V D``, then a word and D numbers a line, spaces between. Binary: the same first line, then for each word
its bytes, a space, D little-endian float32 and, in most files, a line feed. GloVe's files lack the first line. Neither
can hold a word with a space in it. Nothing is guessed: a file that is cut short, counts wrongly, repeats a word or
holds a value that is no number is refused with the line (or the entry, in a binary file) where it goes wrong.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.model_folder.durable import replace_file
from zhixing.models.word_vectors import WordVectors

_log = logging.getLogger(__name__)
Format = Literal["text", "binary"]
_LONGEST_WORD = 1 << 16
"""Bytes after which a word without end is taken for damage."""
_LONGEST_LINE = 1 << 24
"""Bytes after which a line without end is: a million numbers fit."""
_BOM = b"\xef\xbb\xbf"
"""What some editors put before a text in UTF-8."""


def write_vectors(model: WordVectors, path: str | Path, form: Format = "text") -> None:
    """Write the table; n-grams stay behind, these files have no place for them.

    Args:
        model: what to write.
        path: the file; written whole or not at all.
        form: ``text`` (also fastText's ``.vec``) or ``binary``.

    Raises:
        DataError: a word has white space in it or is empty.
    """
    for word in model.words:
        if not word or any(character in word for character in " \t\n\r"):
            raise DataError(
                tr(
                    f"the word {word!r} has white space in it or is empty, which a vector file cannot hold",
                    f"词 {word!r} 含空白或为空，无法写入词向量文件",
                )
            )
    out = io.BytesIO()
    out.write(f"{len(model)} {model.width}\n".encode())
    for word, vector in zip(model.words, model.vectors, strict=True):
        out.write(word.encode("utf-8", "surrogateescape") + b" ")
        if form == "binary":
            out.write(vector.astype("<f4").tobytes() + b"\n")
        else:  # the shortest digits that give the same float32 back
            out.write(" ".join(map(str, vector.astype(np.float32))).encode() + b"\n")
    replace_file(Path(path), out.getvalue())


def read_vectors(path: str | Path, form: Format | None = None) -> WordVectors:
    """Read a table.

    Args:
        path: the file.
        form: None: binary if the name ends in ``.bin``, text otherwise.

    Raises:
        DataError: the file cannot be read or is not whole; file and line are named.
    """
    path = Path(path)
    form = form or ("binary" if path.suffix == ".bin" else "text")
    try:
        with open(path, "rb") as file:
            read = _read_binary if form == "binary" else _read_text
            words, vectors = read(file, path)
    except OSError as error:
        raise DataError(tr(f"cannot read {path}: {error.strerror}", f"无法读取 {path}：{error.strerror}")) from error
    return WordVectors(words, vectors, made_by={"read_from": path.name, "format": form})


def _header(line: bytes, path: Path, file_bytes: int, bytes_each: int) -> tuple[int, int]:
    """Return V and D, and refuse numbers that no file of this size can hold."""
    parts = line.split()
    # No count has so many digits, and Python converts no endless ones.
    numbers = len(parts) == 2 and all(part.isdigit() and len(part) < 20 for part in parts)
    if not numbers or min(map(int, parts)) < 1:
        raise _wrong(path, 1, "should be the number of words and the width", "应为词数与向量维数")
    count, width = map(int, parts)
    _refuse_more(count, width, path, file_bytes, bytes_each)
    return count, width


def _refuse_more(count: int, width: int, path: Path, file_bytes: int, bytes_each: int) -> None:
    """Refuse more numbers than a file of this size can hold."""
    if count * width * bytes_each > file_bytes:
        raise _wrong(
            path,
            1,
            f"announces {count:,} words of {width} numbers, more than the file's {file_bytes:,} bytes can hold; "
            "it was cut short, or is of the other format",
            f"声明 {count:,} 个 {width} 维的词，超过文件 {file_bytes:,} 字节所能容纳；文件不完整，或为另一种格式",
        )


def _read_text(file: IO[bytes], path: Path) -> tuple[list[str], NDArray[np.float32]]:
    size = file.seek(0, 2)
    begin = _after_mark(file)
    first = _line(file, path, 1)
    announced = len(first.split()) == 2
    if announced:
        count, width = _header(first, path, size, 2)
    else:  # GloVe's own format
        file.seek(begin)
        width, count = len(first.split()) - 1, sum(1 for _ in file)
        file.seek(begin)
        _refuse_more(count, width, path, size, 2)
    if count < 1 or width < 1:
        raise _wrong(path, 1, "holds no words, or none with numbers", "没有词，或词后没有数")
    words = _Words(path)
    vectors = np.empty((count, width), np.float32)
    line, latest = int(announced), b"\n"
    while raw := _line(file, path, line + 1):
        line, latest = line + 1, raw
        if len(words.seen) == count:
            if not raw.strip():
                continue
            raise _wrong(path, line, f"is beyond the {count:,} words announced", f"超出声明的 {count:,} 个词")
        word, _, numbers = raw.rstrip(b" \r\n").partition(b" ")
        words.add(word, line)
        vectors[len(words.seen) - 1] = _numbers(numbers, width, path, line)
    if len(words.seen) != count:
        raise _short(path, line, len(words.seen), count)
    if not latest.endswith(b"\n"):
        _tell_no_end(path, line)
    return list(words.seen), vectors


def _tell_no_end(path: Path, line: int) -> None:
    """Say that the last number may lack digits: nothing else shows it."""
    _log.warning(
        tr(
            f"{path}:{line}: has no line end; if the file was cut short, its last number is wrong",
            f"{path}:{line}：末行没有换行；若文件不完整，则最后一个数有误",
        )
    )


def _after_mark(file: IO[bytes]) -> int:
    """Go to where the text begins, behind a byte order mark, and return that place."""
    file.seek(0)
    begin = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
    file.seek(begin)
    return begin


def _line(file: IO[bytes], path: Path, number: int) -> bytes:
    """Return the next line, b"" at the end of the file."""
    line = file.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise _wrong(
            path,
            number,
            f"is longer than {_LONGEST_LINE:,} bytes: no vectors",
            f"超过 {_LONGEST_LINE:,} 字节：不是词向量",
        )
    return line


def _numbers(text: bytes, width: int, path: Path, line: int) -> NDArray[np.float32]:
    parts = text.split()
    if len(parts) != width or not width:
        raise _wrong(path, line, f"has {len(parts)} numbers, not {width}", f"有 {len(parts)} 个数，而不是 {width} 个")
    if b"_" in text:  # Python's own numbers may have it
        raise _wrong(path, line, "has a value with '_' in it", "含有带 '_' 的值")
    try:
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as that
            values = np.array(parts, np.float64).astype(np.float32)
    except ValueError as error:
        raise _wrong(path, line, f"has a value that is no number ({error})", f"含有不是数的值（{error}）") from error
    return _finite(values, path, line)


def _read_binary(file: IO[bytes], path: Path) -> tuple[list[str], NDArray[np.float32]]:
    size = file.seek(0, 2)
    file.seek(0)
    count, width = _header(file.readline(_LONGEST_WORD), path, size, 4)
    words, vectors = _Words(path), np.empty((count, width), np.float32)
    for entry in range(1, count + 1):
        word = _word(file)
        data = file.read(4 * width)
        if word is None or len(data) < 4 * width:
            raise _short(path, entry, entry - 1, count)
        words.add(word.lstrip(b"\n"), entry)
        vectors[entry - 1] = _finite(np.frombuffer(data, "<f4"), path, entry)
    if rest := file.read(2).strip():
        raise _wrong(
            path, count + 1, f"goes on ({rest!r}) after the {count:,} words announced", "在声明的词数之后仍有内容"
        )
    return list(words.seen), vectors


def _word(file: IO[bytes]) -> bytes | None:
    """Return the bytes up to a space, None where the file ends or no word can be so long."""
    word = bytearray()
    while (byte := file.read(1)) != b" ":
        word += byte
        if not byte or len(word) > _LONGEST_WORD:
            return None
    return bytes(word)


class _Words:
    """The words so far, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, int] = {}

    def add(self, raw: bytes, line: int) -> None:
        try:
            word = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(self.path, line, f"has a word that is not UTF-8 ({raw[:40]!r})", "中的词不是 UTF-8") from error
        if not word:
            raise _wrong(self.path, line, "has no word", "缺少词")
        if word in self.seen:
            before = self.seen[word]
            raise _wrong(
                self.path,
                line,
                f"repeats the word '{word:.80}' of line {before}",
                f"与第 {before} 行的词 '{word:.80}' 重复",
            )
        self.seen[word] = line


def _finite(values: NDArray[np.float32], path: Path, line: int) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise _wrong(path, line, "has a value that is not finite", "含有非有限值")
    return values


def _short(path: Path, line: int, found: int, count: int) -> DataError:
    return _wrong(
        path,
        line,
        f"the file ends after {found:,} of {count:,} words; it was cut short, copy it again",
        f"文件在 {count:,} 个词中的第 {found:,} 个之后结束；文件不完整，请重新复制",
    )


def _wrong(path: Path, line: int, problem: str, problem_zh: str) -> DataError:
    return DataError(f"{path}:{line}: {tr(problem, problem_zh)}")
