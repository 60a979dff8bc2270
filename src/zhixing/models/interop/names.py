"""Reversible rules between our tensor names and another library's.

The tables made of them are the only place where foreign names are known. A rule moves tensors in both
directions; ``{}`` in a name stands for a layer's number.
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
    """One correspondence: each direction moves what it knows from ``source`` to ``target``."""

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
        """Theirs to ours; nothing unless all parts are there."""
        names = [their.format(layer) for their in self.theirs]
        if all(name in source for name in names):
            target[self.ours.format(layer)] = cat([source.pop(name) for name in names])


def without_copies(tensors: Mapping[str, Tensor], copies: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors without those that only repeat another.

    Args:
        tensors: another library's.
        copies: name of each copy → name of the tensor that it repeats.

    Raises:
        ModelFolderError: a copy is none: the file says something that would be lost.
    """
    present = {name: original for name, original in copies.items() if name in tensors and original in tensors}
    if others := [name for name, original in present.items() if not _equal(tensors[name], tensors[original])]:
        names = ", ".join(f"{name} ≠ {present[name]}" for name in others)
        raise ModelFolderError(
            tr(
                f"model.safetensors: by config.json these are one tensor, but they differ: {names}",
                f"model.safetensors：按 config.json 下列张量应为同一个，却不相等：{names}",
            )
        )
    return {name: tensor for name, tensor in tensors.items() if name not in copies}


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


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
    """Return the other library's tensors under our names; every one must have a rule.

    Raises:
        ModelFolderError: weights that are no floating-point numbers: quantised ones mean nothing without their scales.
    """
    if whole := sorted(name for name, tensor in theirs.items() if not tensor.is_floating_point()):
        names = f"{', '.join(whole[:8])}{' …' if len(whole) > 8 else ''} ({theirs[whole[0]].dtype})"
        raise ModelFolderError(
            tr(
                f"model.safetensors: quantised weights are not read: {names}; take a model with floating-point ones",
                f"model.safetensors：不读取量化的权重：{names}；请用浮点权重的模型",
            )
        )
    source, target = dict(theirs), Tensors()
    for rule in table:
        for layer in range(layers):
            rule.load(str(layer), source, target)
    if source:
        raise ValueError(f"no rule for {sorted(source)}")
    return target
