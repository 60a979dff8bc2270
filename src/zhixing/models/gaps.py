"""A T5 that learned to fill gaps, as a writer of what comes next: the text so far ends in a gap, and it fills the gap.

``Continued`` stands in for the network where a text is read block by block (``encoder_decoder.BlockDecoder``): behind
every source it sets the first sentinel, and the target begins with that sentinel, which no one else sees. A gap that is
the rest of a text does not end, so no sentinel can follow: they have no probability.

Gaps of training are short, so what such a model writes is worth little until it has also been trained to continue
(Lester et al. 2021, section 3.1): ``zhixing train --init-from`` with the objective ``sequence_to_sequence``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zhixing.models.t5 import T5
from zhixing.nn.cross_cache import CrossCache

_NEVER = -1e4
"""Added to the logits of what cannot be said; finite, so that every log-probability is a number."""


class Continued:
    """A T5 with sentinels (``settings.gap_ids``), as ``encoder_decoder.EncoderDecoder``."""

    def __init__(self, model: T5) -> None:
        if not model.settings.gap_ids:
            raise ValueError("a T5 without sentinels fills no gaps")
        self._model, self._sentinel = model, model.settings.gap_ids[0]
        self.settings: Any = model.settings

    def parameters(self) -> Any:
        """Return the network's weights."""
        return self._model.parameters()

    @property
    def head_weight(self) -> Tensor:
        """(V, D + 1) output embedding, and a column that keeps sentinels away; hidden states end in a 1."""
        head = self._model.head_weight
        never = head.new_zeros(len(head), 1)
        never[list(self.settings.gap_ids)] = _NEVER
        return torch.cat([head, never], dim=1)

    def new_cache(self, batch: int) -> CrossCache:
        """Return the cache of ``batch`` targets of which nothing has been read."""
        return self._model.new_cache(batch)

    def encode(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of (B, S) sources with the sentinel behind each: (B, S + 1, D)."""
        wider = functional.pad(ids, (0, 1), value=self._sentinel)
        if lengths is None:
            return self._model.encode(wider)
        wider = wider.scatter(1, lengths[:, None], self._sentinel)
        return self._model.encode(wider, lengths + 1)

    def decode(
        self,
        ids: Tensor,
        memory: Tensor | None,
        memory_lengths: Tensor | None = None,
        cache: CrossCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D + 1) hidden states of (B, T) targets; arguments as ``T5.decode``.

        A target that begins here has the sentinel behind its start id. Rows of a cache all begin, or none does.
        """
        read = None if memory_lengths is None else memory_lengths + 1
        begins = cache is None or cache.source_lengths is None
        if begins:
            sentinel = ids.new_full((len(ids), 1), self._sentinel)
            ids = torch.cat([ids[:, :1], sentinel, ids[:, 1:]], dim=1)
            lengths = None if lengths is None else lengths + 1
        hidden = self._model.decode(ids, memory, read, cache, lengths)
        return functional.pad(hidden[:, 1:] if begins else hidden, (0, 1), value=1.0)


def continued(module: nn.Module) -> Any:
    """Return what reads a text block by block: the module itself, or, where it fills gaps, what sets them for it."""
    return Continued(module) if isinstance(module, T5) and module.settings.gap_ids else module
