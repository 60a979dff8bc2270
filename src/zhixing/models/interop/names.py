"""Reversible rules between our tensor names and another library's: the only place where foreign names are known.

A rule moves tensors in both directions; a table is a tuple of rules. ``{}`` in a name stands for a layer's number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, cat, split

from zhixing.errors import ModelFolderError
from zhixing.language import tr

Tensors = dict[str, Tensor]


class Rule(Protocol):
    """One correspondence; each direction takes what it needs out of ``source`` and puts the result into ``target``."""

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours."""


@dataclass(frozen=True)
class Rename:
    """The same tensor under another name; ``transposed`` when the other library stores matrices (in, out)."""

    ours: str
    theirs: str
    transposed: bool = False

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""
        self._move(self.ours.format(layer), self.theirs.format(layer), source, target)

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours."""
        self._move(self.theirs.format(layer), self.ours.format(layer), source, target)

    def _move(self, old: str, new: str, source: Tensors, target: Tensors) -> None:
        if old in source:
            tensor = source.pop(old)
            target[new] = tensor.T.contiguous() if self.transposed else tensor


@dataclass(frozen=True)
class Packed:
    """One tensor of ours that stacks several of theirs along the rows, ``rows`` of each."""

    ours: str
    theirs: tuple[str, ...]
    rows: tuple[int, ...]

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""
        if (name := self.ours.format(layer)) in source:
            for part, their in zip(split(source.pop(name), list(self.rows)), self.theirs, strict=True):
                target[their.format(layer)] = part.contiguous()

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours."""
        names = [their.format(layer) for their in self.theirs]
        present = [name for name in names if name in source]
        if present and len(present) < len(names):
            missing = ", ".join(sorted(set(names) - set(present)))
            raise ModelFolderError(tr(f"weights are missing: {missing}", f"缺少权重：{missing}"))
        if present:
            parts = [source.pop(name) for name in names]
            found = tuple(part.shape[0] for part in parts)
            if found != self.rows:
                raise ModelFolderError(
                    tr(
                        f"{', '.join(names)} have {found} rows; config.json asks for {self.rows}",
                        f"{', '.join(names)} 的行数为 {found}，而 config.json 要求 {self.rows}",
                    )
                )
            target[self.ours.format(layer)] = cat(parts)


def to_theirs(table: Sequence[Rule], layers: int, ours: Mapping[str, Tensor]) -> Tensors:
    """Return our tensors under the other library's names; every one must have a rule."""
    source, target = dict(ours), Tensors()
    for rule in table:
        for layer in range(layers):
            rule.export(str(layer), source, target)
    if source:
        raise ValueError(f"no rule for {sorted(source)}")
    return target


def to_ours(table: Sequence[Rule], layers: int, theirs: Mapping[str, Tensor]) -> Tensors:
    """Return the other library's tensors under our names; what no rule knows keeps its name, to be refused later."""
    source, target = dict(theirs), Tensors()
    for rule in table:
        for layer in range(layers):
            rule.load(str(layer), source, target)
    return target | source
