"""Pictures as data: what is drawn, not how. The terminal and the page each draw them in their own way.

Texts are in the reader's language; arrays are float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class HeatMap:
    """Values (R, C) as shades, with labelled rows and columns: attention weights, a table of counts."""

    title: str
    values: Array
    rows: Sequence[str]
    columns: Sequence[str]
    row_axis: str = ""
    column_axis: str = ""


@dataclass(frozen=True)
class Lines:
    """Curves over a common x (N,): name to y (N,); NaN leaves a gap."""

    title: str
    x: Array
    curves: Mapping[str, Array]
    x_axis: str = ""
    y_axis: str = ""


@dataclass(frozen=True)
class Bars:
    """Groups of bars: for every label one bar of each series; name to heights (N,)."""

    title: str
    labels: Sequence[str]
    series: Mapping[str, Array]
    y_axis: str = ""


@dataclass(frozen=True)
class Valley:
    """Paths over a landscape: ``height`` (Y, X) on the grid ``x`` (X,), ``y`` (Y,); name to path (N, 2) of (x, y)."""

    title: str
    x: Array
    y: Array
    height: Array
    paths: Mapping[str, Array]
    x_axis: str = ""
    y_axis: str = ""


@dataclass(frozen=True)
class Lattice:
    """States against time: ``score`` (S, T) in each node, ``best`` (T,) the states on the best path, ``came_from``
    (S, T) the predecessor of each node (-1 in the first column): Viterbi, beam search, edit distance."""

    title: str
    states: Sequence[str]
    times: Sequence[str]
    score: Array
    best: Sequence[int]
    came_from: Array


@dataclass(frozen=True)
class Tree:
    """Nested nodes, each a text and its children: the back-off of an n-gram, a Huffman tree, the merges of BPE."""

    text: str
    children: tuple[Tree, ...] = ()


Picture = HeatMap | Lines | Bars | Valley | Lattice | Tree
