"""What the unigram model begins with: every frequent run of characters, and the lattice of all their places.

Runs are found by length (Agrawal & Srikant 1994, "a priori"): a run of k + 1 characters can only be frequent where
its first k and its last k are. Runs are of whole characters; below the character there are only the 256 bytes,
so that no piece ends inside a character unless it is a single byte.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.tokenizers.scripts import utf8_widths
from zhixing.tokenizers.unigram_lattice import BYTES, Block, Floats, Integers, Lattice, Sweep
from zhixing.tokenizers.words import Words

_BLOCK = 250_000
"""Edges in a block, about: some 25 MB of work at a time for each thread."""


class _Text(NamedTuple):
    """All words as characters, one after the other."""

    points: Integers
    word: Integers
    """The word of each character: shape ``(characters,)``."""
    room: Integers
    """How many characters there are from each to its word's end."""
    byte: Integers
    """Where each character begins in the bytes of all words, and the end: shape ``(characters + 1,)``."""
    data: Integers
    """The bytes."""


class _Runs(NamedTuple):
    """Frequent runs of one length."""

    length: int
    at: Integers
    """Where they stand, in rising order: shape ``(places,)``."""
    run: Integers
    """Which run stands there."""
    occurs: Floats
    """How often each run occurs in the text: shape ``(runs,)``."""
    first: Integers
    """One place of each run."""


def seed_lattice(words: Words, longest: int, min_frequency: int, number: int) -> tuple[Lattice, Floats]:
    """Return the lattice of the 256 bytes and at most ``number`` runs, and how often each piece occurs (pieces,).

    ``longest``: bytes. Of too many runs those with the largest count times length stay (as SentencePiece ranks them).
    """
    text = _text(words)
    levels = list(_frequent_runs(text, words.counts, longest, min_frequency))
    number_of_run, counts, pieces = _choose(text, levels, number)
    bytes_seen = np.bincount(text.data, words.counts[np.repeat(text.word, np.diff(text.byte))], BYTES)
    edges = _edges(text, levels, number_of_run)
    return Lattice(list(_blocks(text, words, edges)), pieces), np.concatenate([bytes_seen, counts])


def _text(words: Words) -> _Text:
    whole = "".join(words.texts)
    lengths = np.array([len(word) for word in words.texts])
    ends = np.repeat(np.cumsum(lengths), lengths)
    points = np.frombuffer(whole.encode("utf-32-le"), dtype="<u4")
    return _Text(
        points=points,
        word=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        room=(ends - np.arange(len(points))).astype(np.int32),
        byte=np.concatenate([[0], np.cumsum(utf8_widths(whole))]),
        data=np.frombuffer(whole.encode("utf-8"), dtype=np.uint8),
    )


def _frequent_runs(text: _Text, counts: Integers, longest: int, min_frequency: int) -> Iterator[_Runs]:
    """Yield the runs that occur at least ``min_frequency`` times, of one character, of two, and so on."""
    at: Integers = np.arange(len(text.points), dtype=np.int32)
    key: Integers = text.points.astype(np.int64)
    for length in itertools.count(1):
        fits = text.byte[at + length] - text.byte[at] <= longest
        at, key = at[fits], key[fits]
        _, first, run = np.unique(key, return_index=True, return_inverse=True)
        occurs: Floats = np.bincount(run, counts[text.word[at]], len(first)).astype(np.float64, copy=False)
        frequent = occurs >= min_frequency
        renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1)
        run = renumbered[run]
        there = run >= 0
        first = at[first[frequent]]
        at, run = at[there], run[there]
        if not len(at):
            return
        yield _Runs(length, at, run.astype(np.int32), occurs[frequent], first)
        here = np.full(len(text.points) + 1, -1, dtype=np.int64)
        here[at] = run
        at = at[(text.room[at] > length) & (here[at + 1] >= 0)]
        key = here[at] * int(frequent.sum()) + here[at + 1]


def _choose(text: _Text, levels: Sequence[_Runs], number: int) -> tuple[list[Integers], Floats, list[bytes]]:
    """Return the piece of each run of each level (-1: none), the counts of those chosen, and all pieces."""
    pieces = [bytes([byte]) for byte in range(BYTES)]
    if not levels:  # nothing occurs often enough
        return [], np.zeros(0), pieces
    count = np.concatenate([level.occurs for level in levels])
    first = np.concatenate([level.first for level in levels])
    length = np.repeat([level.length for level in levels], [len(level.occurs) for level in levels])
    begin, end = text.byte[first], text.byte[first + length]
    value = np.where(end - begin > 1, count * length, -1.0)  # an ASCII character is its byte
    chosen = np.argsort(-value, kind="stable")[: min(number, int((value > 0).sum()))]
    number_of_run = np.full(len(count), -1, dtype=np.int32)
    number_of_run[chosen] = BYTES + np.arange(len(chosen))
    whole = text.data.tobytes()
    pieces += [whole[b:e] for b, e in zip(begin[chosen].tolist(), end[chosen].tolist(), strict=True)]
    splits = np.cumsum([len(level.occurs) for level in levels])[:-1]
    return np.split(number_of_run, splits), count[chosen], pieces


_Edges = tuple[Integers, Integers, Integers]
"""Where pieces begin and end in the bytes of all words, and which they are; by rising beginnings."""


def _edges(text: _Text, levels: Sequence[_Runs], number_of_run: Sequence[Integers]) -> list[_Edges]:
    """Return the edges of each length of run, and those of the bytes."""
    begin = np.arange(len(text.data), dtype=np.int64)
    found: list[_Edges] = [(begin, begin + 1, text.data.astype(np.int32))]
    for level, numbers in zip(levels, number_of_run, strict=True):
        piece = numbers[level.run]
        at = level.at[piece >= 0]
        found.append((text.byte[at], text.byte[at + level.length], piece[piece >= 0]))
    return found


def _blocks(text: _Text, words: Words, edges: Sequence[_Edges]) -> Iterator[Block]:
    """Yield blocks of neighbouring words with about equally many edges; words of equal length are neighbours."""
    lengths = np.array([len(word.encode("utf-8")) for word in words.texts])
    begins = np.concatenate([[0], np.cumsum(lengths)])
    before = np.sum([np.searchsorted(begin, begins) for begin, _, _ in edges], axis=0)  # edges before each word
    number = max(1, round(before[-1] / _BLOCK))
    borders = np.unique([*np.searchsorted(before, np.linspace(0, before[-1], number + 1)[:-1]), len(lengths)])
    for low, high in itertools.pairwise(borders.tolist()):
        parts = [np.searchsorted(begin, begins[[low, high]]) for begin, _, _ in edges]
        some = [tuple(each[a:b] for each in part) for part, (a, b) in zip(edges, parts, strict=True)]
        begin, end, piece = (np.concatenate(each) for each in zip(*some, strict=True))
        yield _block(begin - begins[low], end - begins[low], piece, lengths[low:high], words.counts[low:high])


def _block(begin: Integers, end: Integers, piece: Integers, lengths: Integers, counts: Integers) -> Block:
    of_byte = np.repeat(np.arange(len(lengths)), lengths)
    word = of_byte[begin]
    last = np.cumsum(lengths + 1) - 1
    source, target = (begin + word).astype(np.int32), (end + word).astype(np.int32)
    forward, order = Sweep.of(source, target, target - (last - lengths)[word])
    backward, back = Sweep.of(forward.target, forward.source, last[word[order]] - forward.source)
    places: NDArray[np.int64] = word.astype(np.int64) * (int(piece.max()) + 1) + piece
    _, which, times = np.unique(places, return_inverse=True, return_counts=True)
    return Block(
        counts=counts,
        word=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths + 1),
        last=last,
        forward=forward,
        backward=backward,
        order=back,
        piece=piece[order],
        repeated=((times[which] > 1) & (piece >= BYTES))[order],
    )
