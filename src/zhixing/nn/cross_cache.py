"""What the decoder of an encoder-decoder carries from token to token: keys and values of its own text, which grow, and
those of the source, which are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.nn.cache import KeyValueCache


class CrossAttention(Protocol):
    """A decoder layer's look at the source."""

    def source(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) to key and value, (B, H, S, E) each."""


@dataclass
class CrossCache:
    """Attributes:
    own: keys and values of the target read so far.
    keys: one (B, H, S, E) tensor per layer, of the source; values likewise; empty until the source is known.
    source_lengths: (B,) how many of the S are real; None: the source is not known yet.
    """

    own: KeyValueCache
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    source_lengths: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """(B,) target ids read by each row."""
        return self.own.lengths

    def keep_rows(self, rows: Sequence[int]) -> CrossCache:
        """Return a cache with only the given rows, in the given order."""
        index = torch.as_tensor(list(rows), dtype=torch.int64, device=self.lengths.device)
        return CrossCache(
            self.own.keep_rows(rows),
            [key.index_select(0, index) for key in self.keys],
            [value.index_select(0, index) for value in self.values],
            None if self.source_lengths is None else self.source_lengths.index_select(0, index),
        )

    @staticmethod
    def join(caches: Sequence[CrossCache]) -> CrossCache:
        """Return one cache with the rows of all, whose sources are all known, or all not.

        Raises:
            ValueError: some sources are known and some are not.
        """
        own = KeyValueCache.join([cache.own for cache in caches])
        lengths = [cache.source_lengths for cache in caches if cache.source_lengths is not None]
        if not lengths:
            return CrossCache(own)
        if len(lengths) < len(caches):
            raise ValueError("a row whose source is known cannot join one whose source is not")
        widest = max(cache.keys[0].shape[2] for cache in caches)

        def stack(parts: list[Tensor]) -> Tensor:
            return torch.cat([functional.pad(part, (0, 0, 0, widest - part.shape[2])) for part in parts])

        layers = range(len(caches[0].keys))
        return CrossCache(
            own,
            [stack([cache.keys[layer] for cache in caches]) for layer in layers],
            [stack([cache.values[layer] for cache in caches]) for layer in layers],
            torch.cat(lengths),
        )


def source_of(
    layers: Sequence[CrossAttention], memory: Tensor | None, lengths: Tensor | None, cache: CrossCache | None
) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
    """Return each layer's keys and values (B, H, S, E) of the source, and how many of the S are real (None: all).

    A cache that knows the source gives them; one that does not is told.

    Raises:
        ValueError: there is no memory (B, S, D), and no cache that knows the source.
    """
    if cache is not None and cache.source_lengths is not None:
        return cache.keys, cache.values, cache.source_lengths
    if memory is None:
        raise ValueError("a target needs a source: memory, or a cache that knows it")
    pairs = [layer.source(memory) for layer in layers]
    keys, values = [key for key, _ in pairs], [value for _, value in pairs]
    if cache is not None:
        whole = torch.full((len(memory),), memory.shape[1], dtype=torch.int64, device=memory.device)
        cache.keys, cache.values, cache.source_lengths = keys, values, whole if lengths is None else lengths
    return keys, values, lengths
