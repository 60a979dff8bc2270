"""Edit distance and longest common subsequence of two sequences, a whole column of the table at a time.

Neighbouring entries of the dynamic program's table differ by at most one, so a column fits in two rows of bits, and
Python's integers have as many bits as are needed: n steps on m bits instead of n x m entries. Myers (1999) for the
edit distance, in the form of Hyyrö (2003); Crochemore et al. (2001) for the subsequence. The tables themselves:
``zhixing.theory.text_measures``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

Tokens = Sequence[Hashable]


def edit_distance(first: Tokens, second: Tokens) -> int:
    """Return the fewest insertions, deletions and substitutions of tokens that turn one into the other."""
    first, second = _without_common_ends(first, second)
    if not first or not second:
        return len(first) + len(second)
    where, every = _places(first), (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    up, down, distance = every, 0, len(first)  # where the column rises by one, where it falls; its last entry
    for token in second:
        match = where.get(token, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right, left = down | ~(diagonal | up), up & diagonal
        distance += bool(right & last) - bool(left & last)
        right, left = (right << 1) | 1, left << 1
        up, down = (left | ~(diagonal | right)) & every, right & diagonal & every
    return distance


def common_subsequence(first: Tokens, second: Tokens) -> int:
    """Return the length of the longest common subsequence."""
    where, every = _places(first), (1 << len(first)) - 1
    column = every  # a 0 where the column rises by one
    for token in second:
        match = column & where.get(token, 0)
        column = ((column + match) | (column - match)) & every
    return len(first) - column.bit_count()


def _places(tokens: Tokens) -> dict[Hashable, int]:
    """Return for every token the places where it stands, as bits."""
    places: defaultdict[Hashable, int] = defaultdict(int)
    for place, token in enumerate(tokens):
        places[token] |= 1 << place
    return dict(places)


def _without_common_ends(first: Tokens, second: Tokens) -> tuple[Tokens, Tokens]:
    """Drop what both begin and end with: it costs nothing, and in good transcripts it is nearly everything."""
    shorter = min(len(first), len(second))
    start = next((i for i in range(shorter) if first[i] != second[i]), shorter)
    shorter -= start
    end = next((i for i in range(shorter) if first[-1 - i] != second[-1 - i]), shorter)
    return first[start : len(first) - end], second[start : len(second) - end]
