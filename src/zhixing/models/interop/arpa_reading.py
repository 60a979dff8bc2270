"""Read an n-gram model in the ARPA format, as KenLM, SRILM, IRSTLM or this program write it.

Every number, count and word is checked, because a file that was cut short or edited still looks like one: what is wrong
is said with its line. ``<s>`` and ``</s>`` become the one separator; ``<unk>`` becomes an id of its own if the
vocabulary has one. Probabilities and weights are taken as they stand, smoothed by whoever made them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.ngram import NgramModel
from zhixing.models.ngram_tables import OrderTable

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
_UNKNOWN_NAMES = (UNKNOWN, "<UNK>")
_COUNT = re.compile(r"ngram\s+([0-9]{1,18})\s*=\s*([0-9]{1,18})")
_SECTION = re.compile(r"\\([0-9]{1,18})-grams:")
_TINY = float(np.finfo(np.float32).tiny)
_MOST_ORDERS = 10
_LONGEST_LINE = 1 << 20
"""Bytes after which a line without end is taken for damage."""


@dataclass
class _Lines:
    """The lines of a file that are not blank, with the number of the one read last."""

    path: Path
    number: int = 0
    _rest: Iterator[tuple[int, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._rest = self._read()

    def _read(self) -> Iterator[tuple[int, str]]:
        with self.path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(_LONGEST_LINE + 1), b""), 1):
                if len(raw) > _LONGEST_LINE:
                    raise _wrong(
                        self.path,
                        number,
                        f"is longer than {_LONGEST_LINE:,} bytes: no ARPA file",
                        f"超过 {_LONGEST_LINE:,} 字节：不是 ARPA 文件",
                    )
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n")
                except UnicodeDecodeError as error:
                    raise _wrong(
                        self.path,
                        number,
                        f"is not UTF-8 ({error.reason}); convert the file",
                        "不是 UTF-8；请转换该文件",
                    ) from error
                if line:
                    yield number, line

    def next(self) -> str:
        """Return the next line, or refuse the file as cut short."""
        number, line = next(self._rest, (0, ""))
        if number:
            self.number = number
            return line
        raise self.wrong(
            "the file ends before \\end\\; it was cut short, copy it again",
            "文件在 \\end\\ 之前结束；不完整，请重新复制",
        )

    def end(self) -> None:
        """Refuse the file if anything stands after this line."""
        number, line = next(self._rest, (0, ""))
        if number:
            self.number = number
            raise self.wrong(
                f"stands behind \\end\\: {line[:40]!r}; two files in one?",
                f"位于 \\end\\ 之后：{line[:40]!r}；是否拼接了两个文件？",
            )

    def wrong(self, problem: str, problem_zh: str) -> DataError:
        """Return the error that names this line."""
        return _wrong(self.path, max(self.number, 1), problem, problem_zh)


def read_arpa(path: str | Path, names: Mapping[str, int] | None = None) -> tuple[NgramModel, tuple[str, ...]]:
    """Read a model.

    Args:
        path: the file.
        names: id of each word, ``</s>`` (the separator) and, if there is such an id, ``<unk>`` among them; None: the
            words of the file in its order, then ``</s>``, then ``<unk>``.

    Returns:
        The model, and the name of each id.

    Raises:
        DataError: the file cannot be read, is not whole, or has words that are not in ``names``; file and line.
    """
    lines = _Lines(Path(path))
    try:
        return _read(lines, names)
    except OSError as error:
        raise DataError(tr(f"cannot read {path}: {error.strerror}", f"无法读取 {path}：{error.strerror}")) from error


def _read(lines: _Lines, names: Mapping[str, int] | None) -> tuple[NgramModel, tuple[str, ...]]:
    counts, section = _header(lines)
    grams = _Section(lines, 1, counts[0], last=len(counts) == 1)
    section = grams.read(section)
    words = _vocabulary(grams) if names is None else dict(names)
    separator = words[END]
    unigram, backoffs = _unigrams(grams, words)
    tables: list[OrderTable] = []
    nodes: list[dict[int, int]] = []
    for order, count in enumerate(counts[1:], start=2):
        grams = _Section(lines, order, count, last=order == len(counts))
        section = grams.read(section)
        table, found = _table(grams, words, nodes, len(unigram) if order == 2 else len(tables[-1].words))
        tables.append(table)
        nodes.append(found)
    if section != "\\end\\":
        raise lines.wrong(f"should be \\end\\, not {section[:40]!r}", f"应为 \\end\\，而不是 {section[:40]!r}")
    lines.end()
    by_id = {index: word for word, index in words.items() if word != BEGIN}
    return NgramModel(unigram, backoffs, tables, separator), tuple(by_id[index] for index in range(len(unigram)))


def _header(lines: _Lines) -> tuple[list[int], str]:
    """Return the counts of each order, and the line after them."""
    while (line := lines.next()) != "\\data\\":
        if lines.number > 1000:
            raise lines.wrong("\\data\\ is missing: no ARPA file", "缺少 \\data\\：不是 ARPA 文件")
    size = lines.path.stat().st_size
    counts: list[int] = []
    while match := _COUNT.fullmatch(line := lines.next()):
        order, count = int(match[1]), int(match[2])
        if order != len(counts) + 1 or order > _MOST_ORDERS:
            raise lines.wrong(
                f"counts n-grams of order {order}, should be {len(counts) + 1} (at most {_MOST_ORDERS})",
                f"统计的是 {order} 阶，应为 {len(counts) + 1} 阶（最多 {_MOST_ORDERS} 阶）",
            )
        if 4 * count > size:
            raise lines.wrong(
                f"announces {count:,} n-grams, more than the file's {size:,} bytes can hold",
                f"声明 {count:,} 个 n 元组，超过文件 {size:,} 字节所能容纳",
            )
        counts.append(count)
    if not counts:
        raise lines.wrong("should be 'ngram 1=COUNT'", "应为 'ngram 1=个数'")
    return counts, line


class _Section:
    """The n-grams of one order as they stand in the file."""

    def __init__(self, lines: _Lines, order: int, count: int, last: bool) -> None:
        self.lines, self.order, self.count, self.last = lines, order, count, last
        self.grams: list[tuple[str, ...]] = []
        self.logs: list[float] = []
        self.weights: list[float] = []
        self.numbers: list[int] = []

    def read(self, heading: str) -> str:
        """Read all, and return the line after them."""
        lines = self.lines
        match = _SECTION.fullmatch(heading)
        if match is None or int(match[1]) != self.order:
            raise lines.wrong(
                f"should be \\{self.order}-grams:, not {heading[:40]!r}",
                f"应为 \\{self.order}-grams:，而不是 {heading[:40]!r}",
            )
        while not (line := lines.next()).startswith("\\"):
            self._take(line)
        if len(self.grams) != self.count:
            raise lines.wrong(
                f"ends {len(self.grams):,} n-grams of order {self.order}, but {self.count:,} were announced",
                f"此前有 {len(self.grams):,} 个 {self.order} 元组，而声明的是 {self.count:,} 个",
            )
        return line

    def _take(self, line: str) -> None:
        parts = line.split("\t")
        if len(parts) == 1:  # a writer that puts spaces everywhere
            flat = [part for part in line.split(" ") if part]
            parts = [flat[0], " ".join(flat[1 : self.order + 1]), *flat[self.order + 1 :]]
        gram = tuple(word for word in parts[1].split(" ") if word) if len(parts) > 1 else ()
        if len(gram) != self.order or len(parts) > 3:
            raise self.lines.wrong(
                f"should hold a probability, {self.order} words, and perhaps a weight",
                f"应为概率、{self.order} 个词，以及可有可无的权重",
            )
        self.grams.append(gram)
        self.logs.append(self._number(parts[0], most=1e-4))
        self.weights.append(self._number(parts[2], most=38.0) if len(parts) == 3 else 0.0)
        self.numbers.append(self.lines.number)

    def _number(self, text: str, most: float) -> float:
        try:
            value = math.nan if "_" in text else float(text)  # Python's own numbers may have one
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value > most:
            raise self.lines.wrong(
                f"{text[:40]!r} is not the logarithm of a probability or weight",
                f"{text[:40]!r} 不是概率或权重的对数",
            )
        return value

    def wrong(self, place: int, problem: str, problem_zh: str) -> DataError:
        """Return the error that names the line of the n-gram at a place."""
        return _wrong(self.lines.path, self.numbers[place], problem, problem_zh)


def _vocabulary(grams: _Section) -> dict[str, int]:
    """Return the ids of the file's own words."""
    plain = (word for (word,) in grams.grams if word not in (BEGIN, END, *_UNKNOWN_NAMES))
    words = {word: number for number, word in enumerate(dict.fromkeys(plain))}
    return {**words, END: len(words), UNKNOWN: len(words) + 1}


def _unigrams(grams: _Section, words: dict[str, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probability and weight of every id, and enter ``<s>`` among the words."""
    size = max(words.values()) + 1
    probs, weights = np.zeros(size), np.ones(size)
    separator, lost, seen = words[END], 0.0, set()
    for place, ((word,), log, weight) in enumerate(zip(grams.grams, grams.logs, grams.weights, strict=True)):
        word = UNKNOWN if word in _UNKNOWN_NAMES else word
        if word in seen:
            raise grams.wrong(place, f"repeats '{word}'", f"重复了 '{word}'")
        seen.add(word)
        if word == BEGIN:
            weights[separator] = 10.0**weight
            continue
        if word == UNKNOWN and UNKNOWN not in words:
            lost = 10.0**log
            continue
        if word not in words:
            raise grams.wrong(place, f"'{word}' is not a token of the tokenizer", f"'{word}' 不是该分词器的词元")
        probs[words[word]] = 0.0 if log <= -98 else min(10.0**log, 1.0)
        if word != END:
            weights[words[word]] = 10.0**weight
    words[BEGIN] = separator
    if END not in seen or BEGIN not in seen:
        raise grams.lines.wrong("no <s> or no </s> among the words before", "此前的词中缺少 <s> 或 </s>")
    if abs(probs.sum() - 1) > 1e-3:
        raise _no_distribution(grams, float(probs.sum()), lost)
    return probs.astype(np.float32), np.maximum(weights, _TINY).astype(np.float32)


def _no_distribution(grams: _Section, total: float, lost: float) -> DataError:
    """Return the error of single words whose probabilities do not sum to 1."""
    if abs(total + lost - 1) > 1e-3:
        return grams.lines.wrong(
            f"the probabilities of the single words before sum to {total + lost:.4f}, not to 1",
            f"此前各单词的概率之和为 {total + lost:.4f}，而不是 1",
        )
    return grams.lines.wrong(
        f"<unk> has the probability {lost:.4f}, but the tokenizer has no id for unknown words",
        f"<unk> 的概率为 {lost:.4f}，而分词器没有未知词的编号",
    )


def _table(
    grams: _Section, words: Mapping[str, int], nodes: list[dict[int, int]], contexts: int
) -> tuple[OrderTable, dict[int, int]]:
    """Return the table of one order, and the node of each n-gram by ``context * V + id``."""
    size = max(words.values()) + 1
    keys = np.empty(len(grams.grams), np.int64)
    before: tuple[str, ...] = ()
    context = -1
    for place, gram in enumerate(grams.grams):
        if gram[:-1] != before:
            before, context = gram[:-1], _context(grams, place, gram[:-1], words, nodes, size)
        keys[place] = context * size + _id(grams, place, gram[-1], words, last=True)
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    if len(twice := np.flatnonzero(ranked[1:] == ranked[:-1])):
        place = int(order[twice[0] + 1])
        raise grams.wrong(
            place, f"repeats '{' '.join(grams.grams[place])}'", f"重复了 '{' '.join(grams.grams[place])}'"
        )
    probs = np.minimum(10.0 ** np.array(grams.logs, np.float64)[order], 1.0)
    weights = 10.0 ** np.array(grams.weights, np.float64)[order]
    starts = np.searchsorted(ranked, np.arange(contexts + 1) * size).astype(np.uint32)
    table = OrderTable(
        starts=starts,
        words=(ranked % size).astype(np.uint32),
        probs=np.maximum(probs, _TINY).astype(np.float32),
        backoffs=np.zeros(0, np.float32) if grams.last else np.maximum(weights, _TINY).astype(np.float32),
    )
    return table, {} if grams.last else {key: node for node, key in enumerate(ranked.tolist())}


def _context(
    grams: _Section,
    place: int,
    before: tuple[str, ...],
    words: Mapping[str, int],
    nodes: list[dict[int, int]],
    size: int,
) -> int:
    """Return the node of the words before the last."""
    node = _id(grams, place, before[0], words, first=True)
    for word, known in zip(before[1:], nodes, strict=True):
        found = known.get(node * size + _id(grams, place, word, words))
        if found is None:
            shown = " ".join(before)
            raise grams.wrong(
                place,
                f"its beginning '{shown}' is not among the shorter n-grams",
                f"其开头 '{shown}' 不在更短的 n 元组中",
            )
        node = found
    return node


def _id(
    grams: _Section, place: int, word: str, words: Mapping[str, int], first: bool = False, last: bool = False
) -> int:
    word = UNKNOWN if word in _UNKNOWN_NAMES else word
    if (word == BEGIN and not first) or (word == END and not last):
        raise grams.wrong(place, f"'{word}' cannot stand inside an n-gram", f"'{word}' 不能位于 n 元组内部")
    if word not in words:
        raise grams.wrong(place, f"'{word}' is not among the single words", f"'{word}' 不在单词之列")
    return words[word]


def _wrong(path: Path, line: int, problem: str, problem_zh: str) -> DataError:
    return DataError(f"{path}:{line}: {tr(problem, problem_zh)}")
