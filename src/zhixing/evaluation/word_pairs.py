"""How good word vectors are: word pairs against people's judgement, and analogies.

Pairs: lines ``word word score`` with tabs, spaces or commas between (WordSim-353, SimLex, MEN, the Chinese sets), ``#``
comments and a title line allowed; the figure is Spearman's rank correlation. Analogies: Mikolov et al. 2013 (a),
section 4.1: lines ``a b c d`` under ``: section`` titles; right if d is nearest to b - a + c, the three left out.
What has a word without a vector is not counted as wrong but named by number: ``covered`` of ``total``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.models.word_vectors import WordVectors

_ROWS_AT_ONCE = 256
"""Analogies answered by one matrix product."""


@dataclass(frozen=True)
class PairsResult:
    """What word pairs say.

    Attributes:
        spearman: rank correlation, -1 to 1; None below two pairs, or where all scores are equal.
        interval: 95 % of it, by Fisher's transformation (with Bonett & Wright's variance); None below ten pairs.
        covered: pairs with two vectors.
        total: pairs in the file.
    """

    spearman: float | None
    interval: tuple[float, float] | None
    covered: int
    total: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class AnalogyResult:
    """What analogies say: of ``covered`` questions (all words have vectors) of ``total``, ``right`` were answered."""

    right: int
    covered: int
    total: int
    sections: dict[str, AnalogyResult] = field(default_factory=dict)

    @property
    def accuracy(self) -> float | None:
        """Share of the covered questions, None if none is."""
        return self.right / self.covered if self.covered else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of the accuracy, by Wilson's score."""
        if not self.covered:
            return None
        n, p, z = self.covered, self.right / self.covered, 1.96
        middle, half = p + z * z / (2 * n), z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
        return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)

    def as_dict(self) -> dict[str, Any]:
        """Return counts, accuracy and its interval, and the same of every section."""
        own = {"accuracy": self.accuracy, "interval": self.interval, "right": self.right}
        counts = {"covered": self.covered, "total": self.total}
        inner = {"sections": {name: part.as_dict() for name, part in self.sections.items()}} if self.sections else {}
        return {**own, **counts, **inner}


def read_pairs(path: str | Path) -> list[tuple[str, str, float]]:
    """Return word, word, score of every line.

    Raises:
        DataError: the file cannot be read, or a line is none of these; file and line are named.
    """
    pairs: list[tuple[str, str, float]] = []
    title_allowed = True
    for number, line in _lines(path):
        parts = _split(line)
        try:
            first, second, score = parts[0], parts[1], float(parts[2])
            if not np.isfinite(score):
                raise ValueError
        except (IndexError, ValueError):
            if title_allowed and len(parts) > 2:
                title_allowed = False
                continue
            raise DataError(
                tr(
                    f"{path}:{number}: should be two words and a score: {line[:80]!r}",
                    f"{path}:{number}：应为两个词与一个分数：{line[:80]!r}",
                )
            ) from None
        title_allowed = False
        pairs.append((first, second, score))
    if not pairs:
        raise DataError(tr(f"{path}: holds no word pairs", f"{path}：没有词对"))
    return pairs


def read_analogies(path: str | Path) -> dict[str, list[tuple[str, str, str, str]]]:
    """Return the questions of every section, in order; before the first title the section is ``""``.

    Raises:
        DataError: the file cannot be read, or a line has not four words; file and line are named.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    name = ""
    for number, line in _lines(path):
        if line.startswith(":"):
            name = line[1:].strip()
            continue
        parts = line.split()
        if len(parts) != 4:
            raise DataError(
                tr(
                    f"{path}:{number}: should be four words: {line[:80]!r}",
                    f"{path}:{number}：应为四个词：{line[:80]!r}",
                )
            )
        sections.setdefault(name, []).append((parts[0], parts[1], parts[2], parts[3]))
    if not sections:
        raise DataError(tr(f"{path}: holds no analogies", f"{path}：没有类比题"))
    return sections


def judge_pairs(model: WordVectors, pairs: list[tuple[str, str, float]]) -> PairsResult:
    """Return how the vectors' cosines rank pairs, beside the scores."""
    spell = speller(model)
    known = [(spell(a), spell(b), score) for a, b, score in pairs]
    found = [(model.similarity(a, b), score) for a, b, score in known if a is not None and b is not None]
    return judge_cosines(np.array([c for c, _ in found]), np.array([s for _, s in found]), len(pairs))


def judge_cosines(cosines: NDArray[np.float64], scores: NDArray[np.float64], total: int) -> PairsResult:
    """Return how (N,) cosines rank pairs, beside the (N,) scores; ``total``: pairs of the file."""
    rho = _correlation(_ranks(cosines), _ranks(scores)) if len(cosines) > 1 else None
    return PairsResult(rho, _interval(rho, len(cosines)), len(cosines), total)


def judge_analogies(model: WordVectors, sections: dict[str, list[tuple[str, str, str, str]]]) -> AnalogyResult:
    """Return how many questions the vectors answer, for each section and in all."""
    parts = {name: _judge_section(model, questions) for name, questions in sections.items()}
    right, covered, total = (sum(getattr(p, n) for p in parts.values()) for n in ("right", "covered", "total"))
    return AnalogyResult(right, covered, total, parts)


def speller(model: WordVectors) -> Callable[[str], str | None]:
    """Return the function that gives a word as the vectors spell it: as it is, in lower case, or None (no vector)."""

    def spell(word: str) -> str | None:
        for form in (word, word.lower()):
            if form in model:
                return form
        lowered = word.lower() if model.made_by.get("lowercase", False) else word
        return lowered if model.grams is not None else None

    return spell


def _judge_section(model: WordVectors, questions: list[tuple[str, str, str, str]]) -> AnalogyResult:
    """All four words must stand in the table: what n-grams make up could never be an answer."""
    rows = []
    for question in questions:
        numbers = [_row(model, word) for word in question]
        if None not in numbers:
            rows.append(numbers)
    right = sum(_answered(model, np.array(rows[i : i + _ROWS_AT_ONCE])) for i in range(0, len(rows), _ROWS_AT_ONCE))
    return AnalogyResult(right, len(rows), len(questions))


def _row(model: WordVectors, word: str) -> int | None:
    exact = model.number(word)
    return model.number(word.lower()) if exact is None else exact


def _answered(model: WordVectors, rows: NDArray[np.int64]) -> int:
    a, b, c, d = rows.T
    unit = model.directions
    cosines = (unit[b] - unit[a] + unit[c]) @ unit.T
    np.put_along_axis(cosines, rows[:, :3], -np.inf, axis=1)
    return int((cosines.argmax(axis=1) == d).sum())


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places])


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else None


def _interval(rho: float | None, count: int) -> tuple[float, float] | None:
    if rho is None or count < 10 or abs(rho) >= 1:
        return None
    half = 1.96 * np.sqrt((1 + rho * rho / 2) / (count - 3))
    return float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


def _split(line: str) -> list[str]:
    for separator in ("\t", ","):
        if separator in line:
            return [part.strip() for part in line.split(separator)]
    return line.split()


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(tr(f"cannot read {path}: {error}", f"无法读取 {path}：{error}")) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()
