"""Rotary position embedding (Su et al. 2021, section 3.2.2), half-split convention of the Llama family.

Feature ``i`` of the first half turns together with feature ``i`` of the second half, by an angle of
``position / theta^(2i/E)``. (The paper pairs neighbours; the two differ by a fixed permutation of features.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Stretch = Callable[[Tensor], Tensor]
"""From the frequencies (E / 2,) of a model's pairs to slower ones, for texts longer than it was trained on."""


class Rotary(nn.Module):
    """Tables of cosines and sines, turned into a rotation of queries and keys."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, head_width: int, context_length: int, theta: float, stretch: Stretch | None = None) -> None:
        super().__init__()
        cosine, sine = rotary_tables(head_width, context_length, theta, stretch)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, positions: Tensor | None, length: int) -> tuple[Tensor, Tensor]:
        """Return cosine and sine, each (T, E), or (B, 1, T, E) when ``positions`` is (B, T)."""
        if positions is None:
            return self.cosine[:length], self.sine[:length]
        return self.cosine[positions].unsqueeze(1), self.sine[positions].unsqueeze(1)


def sinusoidal(positions: int, width: int, base: float = 10000.0) -> Tensor:
    """Return the (P, D) sines and cosines of the places 0 .. P - 1, side by side (Vaswani et al. 2017, section 3.5).

    One linear map takes every place's row to that of the place ``k`` before it: what looks back (or ahead) by a
    distance is learned once, not for each place. An odd width lacks the last cosine.
    """
    evens = torch.arange(0, width, 2, dtype=torch.float64)
    angles = torch.outer(torch.arange(positions, dtype=torch.float64), base ** (-evens / width))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width].float()


def turned_waves(distance: int, width: int, pairs: int, base: float = 10000.0) -> Tensor:
    """Return (2F, 2F) what takes the F fastest waves (sine, cosine, ...) of a place to those ``distance`` before it."""
    angles = distance * base ** (-2 * torch.arange(pairs, dtype=torch.float64) / width)
    sine, cosine = angles.sin(), angles.cos()
    turns = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    return torch.block_diag(*turns).float()  # type: ignore[no-untyped-call]


def rotary_tables(
    head_width: int, context_length: int, theta: float, stretch: Stretch | None = None
) -> tuple[Tensor, Tensor]:
    """Return cos and sin of every position's angles, each (context_length, head_width), float32.

    On the CPU, so that a model first built without memory (``torch.device("meta")``) has them all the same.
    """
    evens = torch.arange(0, head_width, 2, dtype=torch.float32, device="cpu")
    places = torch.arange(context_length, dtype=torch.float32, device="cpu")
    frequencies = 1.0 / theta ** (evens / head_width)
    angles = torch.outer(places, frequencies if stretch is None else stretch(frequencies))
    return torch.cat([angles.cos()] * 2, dim=-1), torch.cat([angles.sin()] * 2, dim=-1)


def stretched_evenly(frequencies: Tensor, factor: float) -> Tensor:
    """Return every frequency over ``factor``: positions are interpolated (Chen et al. 2023, equation 4)."""
    return frequencies / factor


def stretched_by_wavelength(
    frequencies: Tensor, factor: float, low: float, high: float, original_context: int
) -> Tensor:
    """Return the frequencies as Llama 3.1 stretches them: slow ones over ``factor``, fast ones as they are.

    A pair that turns less than ``low`` times in the ``original_context`` is slow, one that turns more than ``high``
    times is fast; between them the two are mixed in proportion (Llama Team 2024, section 3.4.2, and their published
    code).
    """
    turns = original_context * frequencies / (2 * math.pi)
    fast = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return (1.0 - fast) * frequencies / factor + fast * frequencies


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn ``x`` (B, H, T, E) by its positions' angles."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cosine + turned * sine


def looking_back(offset: int, head_width: int, theta: float, pairs: int = 6) -> tuple[Tensor, Tensor]:
    """Return a query and a key, (E,) each, whose rotated product is largest ``offset`` positions back.

    Only the ``pairs`` fastest-turning pairs of features are used: the product falls off sharply on both sides. As part
    of a projection of something that every token has in common, they make a head attend by distance alone.
    """
    half, used = head_width // 2, min(pairs, head_width // 2)
    angles = offset / theta ** (torch.arange(used, dtype=torch.float32) / half)
    query, key = torch.zeros(head_width), torch.zeros(head_width)
    query[:used], query[half : half + used] = angles.cos(), -angles.sin()
    key[:used] = 1.0
    return query, key
