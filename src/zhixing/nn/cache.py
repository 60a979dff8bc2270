"""The keys and values of everything read so far: what lets a decoder read each token once.

Row ``b`` holds ``lengths[b]`` tokens in slots ``0 .. lengths[b] - 1``, so a token's slot is its position.
Rows of different lengths share a batch without left padding: what lies beyond a row's length is masked and
later overwritten.

A layer whose tokens see only a window of the past needs no more slots than that, however long the text grows: its
slots are used in turn (the rolling buffer of Jiang et al. 2023, section 2), a token's slot being its position modulo
the layer's limit. See ``nn.sliding_window``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass
class KeyValueCache:
    """Keys and values of every layer, with room to grow.

    Attributes:
        keys: one (B, G, capacity, E) tensor per layer; values likewise.
        lengths: (B,) int64, tokens read by each row.
        limits: the most slots a layer may have, for the first layers onwards; None, or a layer not named: no limit.
    """

    keys: list[Tensor]
    values: list[Tensor]
    lengths: Tensor
    limits: tuple[int | None, ...] = ()

    @classmethod
    def empty(
        cls,
        layers: int,
        batch: int,
        heads: int,
        head_width: int,
        like: Tensor,
        capacity: int = 64,
        limits: tuple[int | None, ...] = (),
    ) -> KeyValueCache:
        """Return a cache of ``batch`` rows holding nothing, on the device and of the type of ``like``."""
        keys, values = [], []
        for layer in range(layers):
            limit = limits[layer] if layer < len(limits) else None
            shape = (batch, heads, capacity if limit is None else min(capacity, limit), head_width)
            keys.append(like.new_zeros(shape))
            values.append(like.new_zeros(shape))
        return cls(keys, values, torch.zeros(batch, dtype=torch.int64, device=like.device), limits)

    @property
    def capacity(self) -> int:
        """Slots allocated per row, in the layer that has most."""
        return max(keys.shape[2] for keys in self.keys)

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` tokens per row, at least doubling, so that growing stays cheap."""
        if capacity <= self.capacity:
            return
        wanted = max(capacity, 2 * self.capacity)
        for tensors in (self.keys, self.values):
            for layer, old in enumerate(tensors):
                batch, heads, held, width = old.shape
                limit = self.limits[layer] if layer < len(self.limits) else None
                more = (wanted if limit is None else min(wanted, limit)) - held
                if more:
                    tensors[layer] = torch.cat([old, old.new_zeros(batch, heads, more, width)], dim=2)

    def write(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Store (B, G, T, E) keys and values at (B, T) positions; return everything the layer holds."""
        self.store(layer, keys, values, positions)
        return self.held(layer, int(positions.max()) + 1)

    def store(self, layer: int, keys: Tensor, values: Tensor, slots: Tensor) -> None:
        """Store (B, G, T, E) keys and values in (B, T) slots."""
        index = slots[:, None, :, None].expand_as(keys)
        self.keys[layer].scatter_(2, index, keys)
        self.values[layer].scatter_(2, index, values)

    def held(self, layer: int, slots: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of a layer's first slots, views of (B, G, slots, E)."""
        return self.keys[layer][:, :, :slots], self.values[layer][:, :, :slots]

    def keep_rows(self, rows: Sequence[int]) -> KeyValueCache:
        """Return a cache with only the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.lengths.device)
        return KeyValueCache(
            [k.index_select(0, index) for k in self.keys],
            [v.index_select(0, index) for v in self.values],
            self.lengths.index_select(0, index),
            self.limits,
        )

    @staticmethod
    def join(caches: Sequence[KeyValueCache]) -> KeyValueCache:
        """Return one cache with the rows of all, as roomy as the roomiest."""

        def stack(parts: list[Tensor]) -> Tensor:
            capacity = max(part.shape[2] for part in parts)
            return torch.cat([functional.pad(p, (0, 0, 0, capacity - p.shape[2])) for p in parts], dim=0)

        layers = range(len(caches[0].keys))
        return KeyValueCache(
            [stack([cache.keys[layer] for cache in caches]) for layer in layers],
            [stack([cache.values[layer] for cache in caches]) for layer in layers],
            torch.cat([cache.lengths for cache in caches]),
            caches[0].limits,
        )


@dataclass
class RecurrentState:
    """What a recurrent network remembers: of one size, however much it has read.

    Attributes:
        layers: for each layer its state, (h,) or an LSTM's (h, memory), each (B, D).
        lengths: (B,) int64, tokens read by each row.
    """

    layers: list[tuple[Tensor, ...]]
    lengths: Tensor

    def keep_rows(self, rows: Sequence[int]) -> RecurrentState:
        """Return a state with only the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.lengths.device)
        layers = [tuple(part.index_select(0, index) for part in layer) for layer in self.layers]
        return RecurrentState(layers, self.lengths.index_select(0, index))

    @staticmethod
    def join(states: Sequence[RecurrentState]) -> RecurrentState:
        """Return one state with the rows of all."""
        layers = [
            tuple(torch.cat(parts) for parts in zip(*same, strict=True))
            for same in zip(*(state.layers for state in states), strict=True)
        ]
        return RecurrentState(layers, torch.cat([state.lengths for state in states]))


Cache = KeyValueCache | RecurrentState
"""What a causal decoder carries from one reading to the next."""
