"""What the decoder of an encoder-decoder carries from token to token: keys and values of its own text, which grow, and
those of the source, which are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.nn.cache import KeyValueCache


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
