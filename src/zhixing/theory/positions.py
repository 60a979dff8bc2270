r"""How a Transformer, blind to order by itself, is told where a token stands.

Legend: T tokens, D width of the model, E width of a head, H heads.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


def sinusoidal(positions: Ids, width: int, base: float = 10000.0) -> Array:
    r"""$PE_{p,2i} = \sin(p/b^{2i/D}),\ PE_{p,2i+1} = \cos(p/b^{2i/D})$; (T,) -> (T, D). Vaswani et al.
    (2017), section 3.5. Equation (positions.1).

    >>> sinusoidal(np.array([0, 1]), width=4).round(4)
    array([[0.    , 1.    , 0.    , 1.    ],
           [0.8415, 0.5403, 0.01  , 1.    ]])
    """
    angles = positions[:, None] / base ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(positions), width)


def learned(positions: Ids, table: Array) -> Array:
    r"""Row p of a table (P, D) that is trained like any weight; (T,) -> (T, D). Gehring et al. (2017),
    section 3.1. Equation (positions.2).

    >>> learned(np.array([1, 0]), table=np.array([[0.1, 0.2], [0.3, 0.4]]))
    array([[0.3, 0.4],
           [0.1, 0.2]])
    """
    return table[positions]


def rotary_angles(positions: Ids, width: int, base: float = 10000.0) -> Array:
    r"""$p\,\theta_i$ with $\theta_i = b^{-2i/E},\ i = 0 \dots E/2-1$; (T,) -> (T, E/2). Su et al. (2021),
    section 3.2.2. Equation (positions.3).

    >>> rotary_angles(np.array([0, 2]), width=4)
    array([[0.  , 0.  ],
           [2.  , 0.02]])
    """
    return positions[:, None] * base ** (-np.arange(0, width, 2) / width)


def rotary(x: Array, positions: Ids, base: float = 10000.0) -> Array:
    r"""Turns the pair $(x_i, x_{i+E/2})$ by the angle $p\,\theta_i$; (..., T, E) -> (..., T, E). Su et al.
    (2021), equation 34.

    The product of a turned query and a turned key depends only on their distance. The pairs are the two
    *halves* of a head, as Llama's weights are stored; the paper pairs neighbours: the same map after
    reordering the columns. Equation (positions.4).

    >>> rotary(np.array([[1.0, 0.0]]), np.array([1])).round(4)  # (cos 1, sin 1)
    array([[0.5403, 0.8415]])
    """
    angles = rotary_angles(positions, x.shape[-1], base)
    first, second = np.split(x, 2, axis=-1)
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cosine - second * sine, first * sine + second * cosine], axis=-1)


def alibi_slopes(heads: int) -> Array:
    r"""$m_h = 2^{-8h/H},\ h = 1 \dots H$, for H a power of two; else those of the power below, then every
    other one of the power above. Press, Smith and Lewis (2022), section 3, and the authors' note in its
    appendix. Equation (positions.6).

    >>> alibi_slopes(4), len(alibi_slopes(6))
    (array([0.25      , 0.0625    , 0.015625  , 0.00390625]), 6)
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = 2.0 ** (-8.0 * np.arange(1, below + 1) / below)
    between = 2.0 ** (-4.0 * np.arange(1, 2 * below + 1, 2) / below)
    return np.concatenate([slopes, between])[:heads]


def alibi(queries: int, keys: int, heads: int) -> Array:
    r"""Bias $-m_h\,|t - s|$ on the scores, queries standing at the end of the keys; -> (H, T, S). Section 3.
    Equation (positions.7).

    >>> alibi(2, 2, heads=1)[0] * 256 + 0.0
    array([[ 0., -1.],
           [-1.,  0.]])
    """
    distance: Ids = np.abs(np.arange(keys - queries, keys)[:, None] - np.arange(keys))
    return -alibi_slopes(heads)[:, None, None] * distance


def relative_bucket(distance: Ids, buckets: int = 32, farthest: int = 128, both_ways: bool = True) -> Ids:
    r"""Bucket of the distance $s - t$: one each up to half the buckets, then logarithmic up to ``farthest``.

    Raffel et al. (2020), section 2.1. ``both_ways``: half of the buckets for keys after the query; else those
    share bucket 0. Equation (positions.8).

    >>> relative_bucket(np.array([0, -1, -8, -64, -500, 1, 8]))
    array([ 0,  1,  8, 14, 15, 17, 24])
    """
    later = np.where(both_ways & (distance > 0), buckets // 2, 0)
    count = buckets // 2 if both_ways else buckets
    far = np.abs(distance) if both_ways else np.maximum(-distance, 0)
    exact = count // 2
    share = np.log(np.maximum(far, 1) / exact) / math.log(farthest / exact)
    steps = np.minimum(exact + (share * (count - exact)).astype(np.int64), count - 1)
    return later + np.where(far < exact, far, steps)


def relative_bias(queries: int, keys: int, table: Array, farthest: int = 128, both_ways: bool = True) -> Array:
    r"""A learned number per bucket of distance and head, added to the scores; table (buckets, H) ->
    (H, T, S). Equation (positions.9).

    >>> table = np.arange(32.0)[:, None]
    >>> relative_bias(2, 2, table)[0]
    array([[ 0., 17.],
           [ 1.,  0.]])
    """
    distance = np.arange(keys) - np.arange(keys - queries, keys)[:, None]
    return table[relative_bucket(distance, len(table), farthest, both_ways)].transpose(2, 0, 1)


def looking_back(offset: int, width: int, base: float = 10_000.0, pairs: int = 6) -> tuple[Array, Array]:
    r"""Query and key whose score under rotary positions depends on the distance alone, largest at ``offset``.

    With $q_i = e^{-\mathrm{i}\,o\,\theta_i}$ and $k_i = 1$ for the ``pairs`` fastest frequencies, the score of a key
    $d$ positions back is $\sum_i \cos((d - o)\,\theta_i)$: it follows from Su et al. (2021), equation 16.
    Equation (positions.5).

    >>> query, key = looking_back(2, width=16)
    >>> scores = [rotary(query[None], np.array([9]))[0] @ rotary(key[None], np.array([9 - d]))[0] for d in range(5)]
    >>> int(np.argmax(scores))
    2
    """
    half, used = width // 2, min(pairs, width // 2)
    angles = offset * base ** (-np.arange(used) / half)
    query, key = np.zeros(width), np.zeros(width)
    query[:used], query[half : half + used] = np.cos(angles), -np.sin(angles)
    key[:used] = 1.0
    return query, key


def turned_waves(distance: int, width: int, pairs: int, base: float = 10_000.0) -> Array:
    r"""(2F, 2F): what takes the F fastest waves of a place to those of the place ``distance`` before it.

    $M\,(\sin p\theta_i, \cos p\theta_i)_i = (\sin (p-d)\theta_i, \cos (p-d)\theta_i)_i$: as Vaswani et al. (2017),
    section 3.5, note, it is one linear map for all places. A head with queries $PE_p$ and keys $M\,PE_p$ looks
    ``distance`` places ahead. Equation (positions.12).

    >>> waves = sinusoidal(np.arange(9), width=16)[:, :8]
    >>> scores = waves[4] @ turned_waves(2, width=16, pairs=4) @ waves.T
    >>> int(np.argmax(scores))
    6
    """
    angles = distance * base ** (-2 * np.arange(pairs) / width)
    turned = np.zeros((2 * pairs, 2 * pairs))
    even, odd = np.arange(0, 2 * pairs, 2), np.arange(1, 2 * pairs, 2)
    turned[even, even] = turned[odd, odd] = np.cos(angles)
    turned[even, odd], turned[odd, even] = -np.sin(angles), np.sin(angles)
    return turned


def linear_scaling(frequencies: Array, factor: float) -> Array:
    r"""$\theta'_i = \theta_i / s$: the angle of position p is that of p / s, so a text s times as long turns no further
    than those seen in training; (E/2,) -> (E/2,). Chen et al. (2023), equation 4. Equation (positions.10).

    >>> linear_scaling(np.array([1.0, 0.1]), factor=4.0)
    array([0.25 , 0.025])
    """
    return frequencies / factor


def llama3_scaling(frequencies: Array, factor: float, low: float, high: float, context: int) -> Array:
    r"""Slow frequencies over s, fast ones as they are; with $r_i = N\theta_i / 2\pi$ turns in the old context N and
    $\gamma_i = \mathrm{clip}\bigl(\frac{r_i - l}{h - l}, 0, 1\bigr)$:
    $\theta'_i = (1 - \gamma_i)\,\theta_i / s + \gamma_i\,\theta_i$; (E/2,) -> (E/2,).

    Near tokens are told apart by fast pairs, which so stay what they were. Llama Team (2024), as in their published
    code. Equation (positions.11).

    >>> once = 2 * np.pi / 100  # turns once in a context of 100
    >>> llama3_scaling(np.array([9.0, 2.5, 0.5]) * once, factor=8.0, low=1.0, high=4.0, context=100) / once
    array([9.     , 1.40625, 0.0625 ])
    """
    turns = context * frequencies / (2 * np.pi)
    fast = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1.0 - fast) * frequencies / factor + fast * frequencies
