"""A bounded sample of a corpus, taken from all over it, to train a tokenizer on.

The first megabytes of a folder are one corner of it. Here the whole text is read once and cut into chunks,
and the chunks with the smallest hash stay (bottom-k sampling, Cohen & Kaplan 2007): the same text gives the
same sample.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import regex

from zhixing.language import tr
from zhixing.progress import progress

_CHUNK = 1 << 16
"""Characters."""

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
"""Scripts that put no blank between words (members of a character class)."""

_LONGEST_WORD = 1024
"""Characters that a trainer may have to take for one word."""

_UNSPACED_COST = 160.0
_SPACED_COST = 15.0
"""Bytes of memory that the trainer holds per byte of text, measured: an unspaced script has hardly two
equal runs, so that each is stored; words repeat."""

_unspaced = regex.compile(f"[{UNSPACED}]+")


@dataclass(frozen=True)
class Sample:
    """Chunks of text, and how much of the corpus they are."""

    texts: tuple[str, ...]
    utf8_bytes: int
    corpus_bytes: int
    memory_bytes: float
    """Estimate of what training on it takes."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing was left out."""
        return self.utf8_bytes == self.corpus_bytes


def take_sample(texts: Iterable[str], sample_bytes: int, memory_bytes: float) -> Sample:
    """Return chunks of at most ``sample_bytes`` of UTF-8 whose training takes about ``memory_bytes`` at
    most."""
    kept: list[tuple[int, int, str, int, float]] = []  # (-hash, order, text, bytes, memory): the largest hash is on top
    held = corpus = 0
    memory = 0.0
    with progress(tr("reading text for the tokenizer", "读取分词器训练文本"), unit="bytes") as bar:
        for order, chunk in enumerate(chunk for text in texts for chunk in _chunks(text)):
            size, cost = len(chunk.encode("utf-8")), _memory(chunk)
            corpus, held, memory = corpus + size, held + size, memory + cost
            heapq.heappush(kept, (-_hash(chunk), order, chunk, size, cost))
            while kept and (held > sample_bytes or memory > memory_bytes):
                *_, out_size, out_cost = heapq.heappop(kept)
                held, memory = held - out_size, memory - out_cost
            bar.advance(size)
    return Sample(tuple(chunk for _, _, chunk, _, _ in sorted(kept, reverse=True)), held, corpus, memory)


def stretches(texts: Iterable[str], longest_run: int) -> Iterator[str]:
    """Cut runs of unspaced scripts after every ``longest_run`` characters, and any run without a blank after 1,024.

    What a trainer takes for one word costs it the square of the length, and such a run is no word.
    """
    long = rf"\S{{{_LONGEST_WORD}}}(?=\S)"
    cut, cut_ascii = regex.compile(f"[{UNSPACED}]{{{longest_run}}}(?=[{UNSPACED}])|{long}"), regex.compile(long)
    for text in texts:
        start = 0
        for match in (cut_ascii if text.isascii() else cut).finditer(text):
            yield text[start : match.end()]
            start = match.end()
        yield text[start:]


def _chunks(text: str) -> Iterator[str]:
    """Cut a long text after the last line end of each window, so that no word is cut."""
    start = 0
    while len(text) - start > _CHUNK:
        end = text.rfind("\n", start, start + _CHUNK) + 1 or start + _CHUNK
        yield text[start:end]
        start = end
    if start < len(text):
        yield text[start:]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def _memory(text: str) -> float:
    size = len(text.encode("utf-8"))
    if text.isascii():
        return _SPACED_COST * size
    unspaced = sum(len(run.encode("utf-8")) for run in _unspaced.findall(text))
    return _UNSPACED_COST * unspaced + _SPACED_COST * (size - unspaced)
