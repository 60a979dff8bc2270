"""fastText's own binary file (``.bin``, version 12): word vectors with those of the n-grams they are made of.

Bojanowski et al. 2017; the layout is that of the authors' program. A word's vector is the mean of its own row and the
rows of its n-grams; a word that is not in the table has the mean of its n-grams alone. A model folder keeps the mean,
so the own row is solved for on writing. Counts of words are not kept in a model folder: ranks stand in their place.
The output matrix, needed only to go on training, is written as zeros. Quantised files (``.ftz``) and classifiers are
refused.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.word_vector_tables import gram_bucket, word_grams
from zhixing.models.word_vectors import WordVectors

MAGIC, VERSION = 793712314, 12
_SETTINGS = struct.Struct("<12id")
"""dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate, t."""
_SIZES = struct.Struct("<3i2q")
"""entries, words, labels, tokens, pruned."""
_NEGATIVE_SAMPLING, _SKIP_GRAM, _SUPERVISED = 2, 2, 3
_LONGEST_WORD = 1 << 16
_LONGEST_GRAM = 1 << 10
"""Letters; every word is gone through for every length."""

Floats = NDArray[np.float32]


def is_fasttext(first: bytes) -> bool:
    """Say whether a file that begins with these bytes is a fastText model."""
    return first.startswith(MAGIC.to_bytes(4, "little"))


def write_fasttext(model: WordVectors, path: str | Path) -> None:
    """Write vectors and n-grams.

    Raises:
        DataError: a word has white space in it or is empty, or n-grams of one letter are used, which fastText cuts
            otherwise.
    """
    _refuse_unwritable(model)
    grams = model.grams if model.grams is not None else np.zeros((0, model.width), np.float32)
    shortest, longest = model.lengths if len(grams) else (0, 0)
    count, width = len(model), model.width
    settings = (width, 5, 5, 1, 5, 1, _NEGATIVE_SAMPLING, _SKIP_GRAM, len(grams), shortest, longest, 100, 1e-4)
    with Path(path).open("wb") as file:
        file.write(struct.pack("<2i", MAGIC, VERSION) + _SETTINGS.pack(*settings))
        file.write(_SIZES.pack(count, count, 0, count * (count + 1) // 2, -1))
        for number, word in enumerate(model.words):
            file.write(word.encode("utf-8", "surrogatepass") + b"\0" + struct.pack("<qb", count - number, 0))
        file.write(b"\0" + struct.pack("<2q", count + len(grams), width))
        for number, word in enumerate(model.words):
            file.write(_own_row(word, model.vectors[number], grams, shortest, longest).astype("<f4").tobytes())
        file.write(grams.astype("<f4").tobytes())
        file.write(b"\0" + struct.pack("<2q", count, width))
        file.write(bytes(4 * count * width))


def read_fasttext(path: str | Path) -> WordVectors:
    """Read vectors and n-grams.

    Raises:
        DataError: the file cannot be read, is not whole, or is of a kind that is not read here; file and entry.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise DataError(tr(f"cannot read {path}: {error.strerror}", f"无法读取 {path}：{error.strerror}")) from error


def _refuse_unwritable(model: WordVectors) -> None:
    for word in model.words:
        if not word or any(character in word for character in " \t\n\r\0"):
            raise DataError(
                tr(
                    f"the word {word!r} has white space in it or is empty, which a vector file cannot hold",
                    f"词 {word!r} 含空白或为空，无法写入词向量文件",
                )
            )
    shortest, longest = model.lengths
    if model.grams is not None and (not shortest <= longest <= _LONGEST_GRAM or len(model.grams) >= 1 << 31):
        raise DataError(
            tr(
                f"n-grams of {shortest} to {longest} letters cannot be written: the model folder is damaged",
                f"无法写出 {shortest} 到 {longest} 个字符的 n 元：模型文件夹已损坏",
            )
        )
    if model.grams is not None and shortest == 1:
        raise DataError(
            tr(
                "fastText leaves the word's borders out of n-grams of one letter, this model does not; "
                "train with shortest_gram: 2 or more",
                "fastText 的单字符 n 元不含词界，而此模型包含；请以 shortest_gram: 2 或更大训练",
            )
        )


def _own_row(word: str, mean: Floats, grams: Floats, shortest: int, longest: int) -> NDArray[np.float64]:
    """Return (D,) the row that, with its n-grams' rows, has the mean ``mean``."""
    rows = _rows(word, len(grams), shortest, longest)
    return mean.astype(np.float64) * (len(rows) + 1) - grams[rows].astype(np.float64).sum(axis=0)


def _rows(word: str, buckets: int, shortest: int, longest: int) -> list[int]:
    """Return the rows of a word's n-grams; the end of a sentence has none."""
    if not buckets or word == "</s>":
        return []
    return [gram_bucket(gram, buckets) for gram in word_grams(word, shortest, longest)]


def _read(file: BinaryIO, path: Path) -> WordVectors:
    size = path.stat().st_size
    magic, version = _unpack(file, struct.Struct("<2i"), path, "the header", "文件头")
    if magic != MAGIC or version != VERSION:
        raise _wrong(
            path,
            f"no fastText file of version {VERSION} (found {version})",
            f"不是版本 {VERSION} 的 fastText 文件（{version}）",
        )
    settings = _unpack(file, _SETTINGS, path, "the settings", "设置")
    width, kind, buckets, shortest, longest = (int(settings[place]) for place in (0, 7, 8, 9, 10))
    count, words_count, labels, _, pruned = (int(value) for value in _unpack(file, _SIZES, path, "the sizes", "大小"))
    _check_kind(path, kind, labels, pruned, shortest, longest)
    if count != words_count or not 0 < count * 10 <= size or width < 1:
        raise _wrong(
            path,
            f"announces {count:,} words of {width} numbers in {size:,} bytes",
            f"声明 {count:,} 个 {width} 维的词，而文件只有 {size:,} 字节",
        )
    words = _words(file, path, count)
    buckets = buckets if longest > 0 else 0
    rows = _matrix(file, path, count, width, size)
    _check_rest(file, path, size)
    if len(rows) not in (count, count + buckets):
        raise _wrong(
            path,
            f"has {len(rows):,} rows for {count:,} words and {buckets:,} n-grams",
            f"有 {len(rows):,} 行，而词有 {count:,} 个、n 元有 {buckets:,} 个",
        )
    grams = rows[count:] if len(rows) > count else None
    vectors = _means(words, rows[:count], grams, shortest, longest)
    made_by = {"read_from": path.name, "format": "fasttext"}
    return WordVectors(words, vectors, grams, (shortest, longest) if grams is not None else (3, 6), made_by)


def _means(words: Sequence[str], own: Floats, grams: Floats | None, shortest: int, longest: int) -> Floats:
    if grams is None:
        return own
    means = np.empty_like(own)
    for number, word in enumerate(words):
        rows = _rows(word, len(grams), shortest, longest)
        means[number] = (own[number].astype(np.float64) + grams[rows].astype(np.float64).sum(axis=0)) / (len(rows) + 1)
    return means


def _check_kind(path: Path, kind: int, labels: int, pruned: int, shortest: int, longest: int) -> None:
    if kind == _SUPERVISED or labels:
        raise _wrong(path, "is a classifier, not word vectors", "是分类器，而不是词向量")
    if pruned > 0:
        raise _wrong(path, "is pruned and quantised; import the file it was made from", "已剪枝与量化；请导入其原文件")
    if longest > 0 and not 1 < shortest <= longest <= _LONGEST_GRAM:
        raise _wrong(
            path,
            f"uses n-grams of {shortest} to {longest} letters, which are cut otherwise here",
            f"使用 {shortest} 到 {longest} 个字符的 n 元，此处切法不同",
        )


def _words(file: BinaryIO, path: Path, count: int) -> list[str]:
    seen: dict[str, int] = {}
    for entry in range(1, count + 1):
        raw = bytearray()
        while (byte := file.read(1)) != b"\0":
            raw += byte
            if not byte or len(raw) > _LONGEST_WORD:
                raise _wrong(
                    path, f"ends within word {entry} of {count:,}", f"在 {count:,} 个词中的第 {entry} 个处结束"
                )
        try:
            word = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(
                path, f"word {entry} is not UTF-8 ({bytes(raw[:40])!r})", f"第 {entry} 个词不是 UTF-8"
            ) from error
        _, label = _unpack(file, struct.Struct("<qb"), path, f"word {entry}", f"第 {entry} 个词")
        if word in seen or not word or label:
            raise _wrong(
                path,
                f"word {entry} ('{word:.80}') is empty, a label, or the same as word {seen.get(word)}",
                f"第 {entry} 个词（'{word:.80}'）为空、为标签，或与第 {seen.get(word)} 个相同",
            )
        seen[word] = entry
    return list(seen)


def _matrix(file: BinaryIO, path: Path, count: int, width: int, size: int) -> Floats:
    (quantised,) = _unpack(file, struct.Struct("<b"), path, "the vectors", "向量")
    if quantised:
        raise _wrong(path, "is quantised; import the file it was made from", "已量化；请导入其原文件")
    rows, columns = (int(value) for value in _unpack(file, struct.Struct("<2q"), path, "the vectors", "向量"))
    if columns != width or rows < count or 4 * rows * columns > size:
        raise _wrong(
            path,
            f"announces {rows:,} × {columns} numbers in {size:,} bytes",
            f"声明 {rows:,} × {columns} 个数，而文件只有 {size:,} 字节",
        )
    data = file.read(4 * rows * columns)
    if len(data) < 4 * rows * columns:
        raise _wrong(
            path, "ends within the vectors; it was cut short, copy it again", "在向量中途结束；文件不完整，请重新复制"
        )
    values = np.frombuffer(data, "<f4").reshape(rows, columns)
    if not (finite := np.isfinite(values).all(axis=1)).all():
        row = int(np.flatnonzero(~finite)[0])
        raise _wrong(path, f"row {row + 1} has a value that is not finite", f"第 {row + 1} 行含有非有限值")
    return values.astype(np.float32)


def _check_rest(file: BinaryIO, path: Path, size: int) -> None:
    """Refuse a file whose output matrix, which is not needed here, is not whole: who copied it should know."""
    (quantised,) = _unpack(file, struct.Struct("<b"), path, "the output matrix", "输出矩阵")
    if not quantised:
        rows, columns = (
            int(value) for value in _unpack(file, struct.Struct("<2q"), path, "the output matrix", "输出矩阵")
        )
        if file.tell() + 4 * rows * columns != size:
            raise _wrong(
                path,
                f"should end after {rows:,} × {columns} numbers of the output matrix; copy it again",
                f"应在输出矩阵的 {rows:,} × {columns} 个数之后结束；请重新复制",
            )


def _unpack(file: BinaryIO, layout: struct.Struct, path: Path, what: str, what_zh: str) -> tuple[float, ...]:
    data = file.read(layout.size)
    if len(data) < layout.size:
        raise _wrong(
            path, f"ends within {what}; it was cut short, copy it again", f"在{what_zh}处结束；文件不完整，请重新复制"
        )
    return layout.unpack(data)


def _wrong(path: Path, problem: str, problem_zh: str) -> DataError:
    return DataError(f"{path}: {tr(problem, problem_zh)}")
