"""Several linear maps of one input, computed as one matrix product."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class PackedLinear(nn.Linear):
    """A linear map whose output is the concatenation of several maps' outputs.

    ``sections`` are their output widths. One product is faster; whoever treats the maps one by one (an
    optimizer that orthogonalises, a table of names) finds where each begins.
    """

    def __init__(self, width: int, sections: Sequence[int], bias: bool = True) -> None:
        super().__init__(width, sum(sections), bias=bias)
        self.sections = tuple(sections)
