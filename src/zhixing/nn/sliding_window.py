"""Sliding-window attention: a token sees itself and the ``W - 1`` tokens before it (Beltagy et al. 2020, section 3.1;
Jiang et al. 2023, section 2). What lies further back still reaches it through the layers between.

``narrow`` takes what ``plan_reading`` decided for layers that see everything and narrows it to a window. Where the text
is not longer than the window, nothing changes: the same fused kernel, no mask.

A layer with a window needs only the last ``W`` keys and values; its cache has ``W + 1`` slots that are used in turn
(position modulo ``W + 1``). The one slot more takes what is not to be kept: padding, and of a long prompt whatever
no token to come can see. So no row ever overwrites what it still needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from zhixing.nn.attention import Reading

NEVER = -1
"""A position that no query sees, as that of a slot which holds nothing."""


def slots_needed(window: int) -> int:
    """Return how many cache slots a layer with this window needs at most."""
    return window + 1


def window_mask(length: int, window: int, device: torch.device | None = None) -> Tensor:
    """Return the (T, T) mask of "not later, and fewer than ``window`` places before"."""
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return causal.triu(1 - window)


def position_mask(queries: Tensor, keys: Tensor, window: int) -> Tensor:
    """Return the (B, 1, T, S) mask by which queries at (B, T) positions see keys at (B, S) within the window."""
    query, key = queries[:, :, None], keys[:, None, :]
    return ((key > NEVER) & (key <= query) & (key > query - window)).unsqueeze(1)


def positions_held(last: Tensor, slots: int, used: int) -> Tensor:
    """Return the (B, used) positions in the slots of rows whose (B,) newest position is ``last``; < 0: nothing."""
    slot = torch.arange(used, device=last.device)
    return last[:, None] - (last[:, None] - slot) % slots


@dataclass(frozen=True)
class WindowReading(Reading):
    """A ``Reading`` whose cache keeps only the window.

    Attributes:
        used: how many slots of the layer hold something once it has been read.
        past: how many slots held something before, where the new tokens would overwrite what the first of them
            still see, so that these are attended to from a copy; None: what the cache then holds is enough.
    """

    used: int = 0
    past: int | None = None

    def remember(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store this layer's keys and values; return those to attend to."""
        assert self.cache is not None and self.slots is not None
        seen = (key, value)
        if self.past is not None:
            old_keys, old_values = self.cache.held(layer, self.past)
            seen = torch.cat([old_keys, key], dim=2), torch.cat([old_values, value], dim=2)
        self.cache.store(layer, key, value, self.slots)
        return self.cache.held(layer, self.used) if self.past is None and self.used else seen


def narrow(reading: Reading, window: int, ids: Tensor, lengths: Tensor | None = None) -> Reading:
    """Return the reading of layers that see ``window`` tokens, themselves included.

    Args:
        reading: as ``plan_reading`` returned it for the same ids.
        window: at least 2.
        ids: (B, T).
        lengths: (B,) how many of the T ids of each row are real; None: all.
    """
    length = ids.shape[1]
    fits = length <= window
    if reading.cache is None:
        if fits:
            return reading
        near = window_mask(length, window, ids.device)
        return replace(reading, mask=near if reading.mask is None else near & reading.mask, causal=False)
    assert reading.slots is not None
    positions, after = reading.slots, reading.cache.lengths  # (B, T), (B,): of full layers, slots are positions
    # Of several tokens for one slot only the newest is kept; the spare slot takes the others and the padding.
    kept = torch.where(positions >= (after - window)[:, None], positions, after[:, None])
    place = WindowReading(
        positions, kept % slots_needed(window), reading.mask, reading.causal, reading.cache,
    )  # fmt: skip
    if reading.causal:  # a prompt: it sees itself
        return place if fits else replace(place, mask=window_mask(length, window, ids.device), causal=False)
    before = after - (length if lengths is None else lengths)
    return _going_on(place, window, before)


def _going_on(reading: WindowReading, window: int, before: Tensor) -> WindowReading:
    """Add what a block sees that follows (B,) ``before`` tokens."""
    positions, slots = reading.positions, slots_needed(window)
    assert positions is not None
    newest = int(positions.max())
    used = min(newest + 1, slots)
    if newest < slots or positions.shape[1] == 1:  # nothing is overwritten that a token of this block sees
        if reading.mask is None and newest < window:
            return replace(reading, used=used)
        held = positions_held(positions[:, -1], slots, used)
        return replace(reading, mask=position_mask(positions, held, window), used=used)
    past = min(int(before.max()), slots)
    keys = torch.cat([positions_held(before - 1, slots, past), positions], dim=1)
    return replace(reading, mask=position_mask(positions, keys, window), used=used, past=past)
