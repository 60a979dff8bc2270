"""Is this tokenizer any good for this text? Compression by script, losses (there should be none), and the
worst strings.

A token may hold characters of several scripts (a blank and a word): it counts for each by its share of the
token's bytes, so that the tokens of all scripts sum to the tokens of the text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.language import tr
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.scripts import SCRIPTS, ScriptTable, utf8_widths

_PIECE = 1 << 20
"""Characters looked at together: memory stays flat however long a text is."""
_WORDS_KEPT = 200_000
"""Different words remembered on the way to the worst ones."""
_LONGEST_WORD = 32
_WORD = regex.compile(
    rf" ?(?:\p{{L}}[\p{{L}}\p{{M}}]{{0,{_LONGEST_WORD - 1}}}|\p{{N}}{{1,{_LONGEST_WORD}}}"
    rf"|[^\s\p{{L}}\p{{N}}]{{1,{_LONGEST_WORD}}})"
)
"""A run of letters, digits or marks, with the blank before it: tokenizers see them together."""


@dataclass(frozen=True)
class ScriptRow:
    """One writing system in the text."""

    script: str
    characters: int
    utf8_bytes: int
    tokens: float

    @property
    def characters_per_token(self) -> float:
        """Characters that one token covers on average."""
        return self.characters / self.tokens

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 that one token covers on average."""
        return self.utf8_bytes / self.tokens


@dataclass(frozen=True)
class WorstString:
    """A word that costs many tokens."""

    text: str
    count: int
    tokens: int
    bytes_per_token: float


@dataclass(frozen=True)
class TokenizerReport:
    """What ``tokenizer_report`` found."""

    kind: str
    fingerprint: str
    vocab_size: int
    texts: int
    characters: int
    utf8_bytes: int
    tokens: int
    unknown_tokens: int
    round_trip_failures: int
    failed_texts: tuple[str, ...]
    """The beginnings of at most ten texts that did not come back."""
    used_ids: int
    scripts: tuple[ScriptRow, ...]
    worst: tuple[WorstString, ...]

    @property
    def characters_per_token(self) -> float:
        """Characters that one token covers on average."""
        return self.characters / max(self.tokens, 1)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 that one token covers on average."""
        return self.utf8_bytes / max(self.tokens, 1)

    @property
    def unknown_rate(self) -> float:
        """Share of the tokens that stand for text the tokenizer cannot represent."""
        return self.unknown_tokens / max(self.tokens, 1)

    @property
    def vocabulary_use(self) -> float:
        """Share of the ids, special ones included, that the text uses."""
        return self.used_ids / self.vocab_size

    def to_dict(self) -> dict[str, Any]:
        """Return everything, the derived figures too, ready for JSON."""
        derived = ("characters_per_token", "bytes_per_token", "unknown_rate", "vocabulary_use")
        rows = [
            asdict(row) | {"characters_per_token": row.characters_per_token, "bytes_per_token": row.bytes_per_token}
            for row in self.scripts
        ]
        return asdict(self) | {name: getattr(self, name) for name in derived} | {"scripts": rows}


def tokenizer_report(tokenizer: Tokenizer, texts: Iterable[str], worst: int = 50) -> TokenizerReport:
    """Return the report of ``tokenizer`` on ``texts``, read once; ``worst`` is how many of the worst words
    it lists.

    Raises:
        DataError: the texts hold no character.
    """
    sums = _Sums(tokenizer)
    count = 0
    for text in texts:
        count += 1
        for piece in _pieces(text):
            sums.add(piece)
    if not sums.characters.sum():
        raise DataError(tr("there is no text to report on", "没有可供报告的文本"))
    return TokenizerReport(
        kind=tokenizer.kind,
        fingerprint=tokenizer.fingerprint,
        vocab_size=tokenizer.vocab_size,
        texts=count,
        characters=int(sums.characters.sum()),
        utf8_bytes=int(sums.utf8_bytes.sum()),
        tokens=int(sums.uses.sum()),
        unknown_tokens=int(sums.uses[sorted(tokenizer.special_ids)].sum()),
        round_trip_failures=sums.failures,
        failed_texts=tuple(sums.failed),
        used_ids=int(np.count_nonzero(sums.uses)),
        scripts=sums.rows(),
        worst=_worst_words(tokenizer, sums.words, worst),
    )


class _Sums:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._table = ScriptTable()
        lengths = [len(tokenizer.token_bytes(index)) for index in range(tokenizer.vocab_size)]
        self._lengths = np.array(lengths, dtype=np.int64)
        self.uses = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        self.characters = np.zeros(len(SCRIPTS), dtype=np.int64)
        self.utf8_bytes = np.zeros(len(SCRIPTS), dtype=np.int64)
        self.tokens = np.zeros(len(SCRIPTS))
        self.failures = 0
        self.failed: list[str] = []
        self.words: Counter[str] = Counter()

    def add(self, text: str) -> None:
        """Count one piece of text."""
        ids = self._tokenizer.encode_batch([text])[0]
        self.uses += np.bincount(ids, minlength=len(self.uses))
        if self._tokenizer.decode(ids.tolist()) != text:
            self.failures += 1
            self.failed += [text[:80]] if len(self.failed) < 10 else []
        classes, widths = self._table.classes(text), utf8_widths(text)
        self.characters += np.bincount(classes, minlength=len(SCRIPTS))
        self.utf8_bytes += np.bincount(classes, weights=widths, minlength=len(SCRIPTS)).astype(np.int64)
        self.tokens += self._tokens_by_script(ids, np.repeat(classes, widths))
        self.words.update(_WORD.findall(text))
        if len(self.words) > 2 * _WORDS_KEPT:
            self.words = Counter(dict(self.words.most_common(_WORDS_KEPT)))

    def _tokens_by_script(self, ids: NDArray[np.int64], classes: NDArray[np.int8]) -> NDArray[np.float64]:
        """Share each token out over the classes of its bytes: ``ids (T,)``, ``classes (bytes,)``."""
        lengths = self._lengths[ids]
        if lengths.sum() == len(classes):
            share = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
        else:  # a foreign tokenizer changed the text: every byte counts alike
            share = np.full(len(classes), len(ids) / len(classes))
        return np.bincount(classes, weights=share, minlength=len(SCRIPTS)).astype(np.float64)

    def rows(self) -> tuple[ScriptRow, ...]:
        """Return the scripts that occur, most bytes first."""
        order = np.argsort(-self.utf8_bytes, kind="stable")
        return tuple(
            ScriptRow(SCRIPTS[i], int(self.characters[i]), int(self.utf8_bytes[i]), float(self.tokens[i]))
            for i in order
            if self.tokens[i]
        )


def _pieces(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > _PIECE:
        end = text.rfind("\n", start, start + _PIECE) + 1 or start + _PIECE
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _worst_words(tokenizer: Tokenizer, words: Counter[str], number: int) -> tuple[WorstString, ...]:
    """Return the words of at least two characters with the fewest bytes per token; of equal ones, those
    that waste most."""
    common = [(word, count) for word, count in words.most_common(_WORDS_KEPT) if len(word.strip()) > 1]
    encoded: Sequence[NDArray[np.int64]] = tokenizer.encode_batch([word for word, _ in common])
    found = [
        WorstString(word, count, len(ids), len(word.encode("utf-8")) / max(len(ids), 1))
        for (word, count), ids in zip(common, encoded, strict=True)
    ]
    return tuple(sorted(found, key=lambda row: (row.bytes_per_token, -row.count * row.tokens, row.text))[:number])
