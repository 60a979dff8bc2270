r"""Attention by distance (Transformer-XL), and with two streams in a random order (XLNet).

- Relative attention: Dai et al. (2019), "Transformer-XL: attentive language models beyond a fixed-length context",
  section 3.3 and appendix B.
- Two streams, segments: Yang et al. (2019), "XLNet: generalized autoregressive pretraining for language
  understanding", sections 2.3 to 2.5.

Legend: T queries, S keys, H heads, E width of a head, D = H·E, P distances, M places asked for. Distances of a query at
place i to a key at place j are i - j. A mask is boolean, True where a query may look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.attention import join_heads, split_heads
from zhixing.theory.losses import factorisation_rank
from zhixing.theory.networks import softmax

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


class RelativeWeights(NamedTuple):
    """What a layer of relative attention learns: maps x @ weight, (D, H·E) each, and biases, (H·E,) each."""

    query: Array
    key: Array
    value: Array
    position: Array
    output: Array  # (H·E, D)
    content_bias: Array  # u
    position_bias: Array  # v
    segment_bias: Array  # b
    segment: Array  # (2, H·E): the same segment, another segment


def distance_waves(distances: Ids, width: int) -> Array:
    r"""$R_d = [\sin(d\,\omega);\ \cos(d\,\omega)]$ with $\omega_i = 10000^{-2i/D}$; (P,) -> (P, D).

    Unlike Vaswani et al. (2017), the sines stand before the cosines, not between them; an odd D lacks a cosine.
    Dai et al. (2019), section 3.3. Equation (relative_attention.1).

    >>> distance_waves(np.array([1, 0]), width=4).round(4)
    array([[0.8415, 0.01  , 0.5403, 1.    ],
           [0.    , 0.    , 1.    , 1.    ]])
    """
    angles = distances[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)[:, :width]


def relative_scores(
    query: Array, key: Array, distance: Array, which: Ids, content_bias: Array, position_bias: Array
) -> Array:
    r"""$A_{ij} = (q_i + u)^\top k_j + (q_i + v)^\top r_{i-j}$; q (..., T, E), k (..., S, E), r (..., P, E) ->
    (..., T, S).

    ``which`` (T, S) says in which row of r the distance from i to j stands. With u and v the four terms of the paper:
    content on content, content on distance, and what is looked for whatever the query: a content, a distance.
    Dai et al. (2019), section 3.3. Equation (relative_attention.2).

    >>> key, distance = np.array([[1.0], [2.0]]), np.array([[10.0], [20.0]])  # of the distances 0 and 1
    >>> relative_scores(np.array([[1.0]]), key, distance, np.array([[1, 0]]), np.array([0.5]), np.array([0.0]))
    array([[21.5, 13. ]])
    """
    by_distance = (query + position_bias) @ distance.swapaxes(-1, -2)  # (..., T, P)
    rows = np.arange(len(which))[:, None]
    scores: Array = (query + content_bias) @ key.swapaxes(-1, -2) + by_distance[..., rows, which]
    return scores


def relative_shift(by_distance: Array, keys: int) -> Array:
    r"""$B_{ts} = \tilde B_{t,\,T-t+s}$: columns by falling distance become columns by key; (..., T, P) -> (..., T, S).

    Row t stands one place behind row t - 1, so that every row is read one column further to the left. P is at least
    T + S. Dai et al. (2019), appendix B. Equation (relative_attention.3).

    >>> relative_shift(np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]]), keys=2)  # row 1 stands at 1
    array([[1., 0.],
           [2., 1.]])
    """
    rows = by_distance.shape[-2]
    columns = rows - np.arange(rows)[:, None] + np.arange(keys)
    return np.take_along_axis(by_distance, np.broadcast_to(columns, (*by_distance.shape[:-1], keys)), axis=-1)


def segment_scores(query: Array, bias: Array, segment: Array, differs: Mask) -> Array:
    r"""$E_{ij} = (q_i + b)^\top s_{ij}$, $s_{ij} = s_+$ within a segment, $s_-$ across; q (..., T, E), s (..., 2, E) ->
    (..., T, S).

    Whether, not which: two texts or five need the same two vectors. Yang et al. (2019), section 2.5.
    Equation (relative_attention.4).

    >>> segment_scores(np.array([[2.0]]), np.array([1.0]), np.array([[1.0], [-1.0]]), np.array([[False, True]]))
    array([[ 3., -3.]])
    """
    both = (query + bias) @ segment.swapaxes(-1, -2)  # (..., T, 2)
    return np.where(differs, both[..., 1:], both[..., :1])


def mix(scores: Array, value: Array, mask: Mask) -> Array:
    r"""$\mathrm{softmax}(A/\sqrt E)\,V$ over what may be seen; the zero vector where nothing may.

    (..., T, S), (..., S, E) -> (..., T, E).

    The first of an order sees nothing. An even softmax over all keys, as some code has it, would show it itself.
    Equation (relative_attention.5).

    >>> value = np.array([[2.0], [4.0]])
    >>> mix(np.zeros((2, 2)), value, np.array([[True, True], [False, False]]))
    array([[3.],
           [0.]])
    """
    seen = np.where(mask, scores / np.sqrt(value.shape[-1]), -1e300)
    return np.where(mask, softmax(seen), 0.0) @ value


def given_rank(order: Ids, predicted: int) -> Ids:
    r"""$\rho_i = \max(0,\ r_i - (T - P) + 1)$: 0 for places that are given, 1 to P for those predicted.

    (B, T) -> (B, T). r is the rank in the order. Given places share a rank: they see each other. Yang et al. (2019),
    section 2.3, and the published code. Equation (relative_attention.6).

    >>> given_rank(np.array([[2, 0, 3, 1]]), predicted=2)  # 2 and 0 are given; 3, then 1
    array([[0, 2, 0, 1]])
    """
    return np.maximum(0, factorisation_rank(order) - (order.shape[-1] - predicted) + 1)


def content_mask(rank: Ids) -> Mask:
    r"""Content i sees content j if $\rho_j \le \rho_i$: itself included; (B, T) -> (B, T, T). Yang et al. (2019),
    section 2.3. Equation (relative_attention.7).

    >>> content_mask(np.array([[0, 2, 1]]))[0].astype(int)
    array([[1, 0, 0],
           [1, 1, 1],
           [1, 0, 1]])
    """
    return rank[:, None, :] <= rank[:, :, None]


def query_mask(rank: Ids, query_rank: Ids) -> Mask:
    r"""A query of rank $\rho_i$ sees content j if $\rho_j < \rho_i$, never its own; (B, T), (B, M) -> (B, M, T).
    Yang et al. (2019), section 2.3. Equation (relative_attention.8).

    >>> query_mask(np.array([[0, 2, 1]]), query_rank=np.array([[1, 2]]))[0].astype(int)
    array([[1, 0, 0],
           [1, 0, 1]])
    """
    return rank[:, None, :] < query_rank[:, :, None]


def relative_attention(
    x: Array, content: Array, places: Ids, weights: RelativeWeights, heads: int, mask: Mask, differs: Mask
) -> Array:
    r"""One layer, all heads: x (T, D), standing at ``places`` (T,), looks at content (S, D), standing at 0 ... S - 1.

    Equation (relative_attention.9).

    >>> one, no = np.eye(1), np.zeros(1)
    >>> weights = RelativeWeights(one, one, one, 0 * one, one, no, no, no, np.zeros((2, 1)))
    >>> apart, all_ = np.zeros((1, 2), bool), np.ones((1, 2), bool)
    >>> relative_attention(np.array([[0.0]]), np.array([[1.0], [3.0]]), np.array([2]), weights, 1, all_, apart)
    array([[2.]])
    """
    w = weights
    apart: Ids = places[:, None] - np.arange(len(content))
    waves = distance_waves(np.arange(apart.min(), apart.max() + 1), content.shape[-1])
    inputs = ((x, w.query), (content, w.key), (content, w.value), (waves, w.position))
    query, key, value, distance = (split_heads(side @ weight, heads) for side, weight in inputs)
    u, v, b = (split_heads(bias[None], heads) for bias in (w.content_bias, w.position_bias, w.segment_bias))
    scores = relative_scores(query, key, distance, apart - apart.min(), u, v)
    scores = scores + segment_scores(query, b, split_heads(w.segment, heads), differs)
    return join_heads(mix(scores, value, mask)) @ w.output


def two_streams(
    content: Array, query: Array, places: Ids, weights: RelativeWeights, heads: int, rank: Ids, query_rank: Ids
) -> tuple[Array, Array]:
    r"""$h' = \mathrm{attend}(h;\,h_{\rho_j\le\rho_i})$, $g' = \mathrm{attend}(g;\,h_{\rho_j<\rho_i})$.

    Content (T, D) and query stream (M, D) by the same weights. Keys and values are the content's in both; the query
    stands at ``places`` (M,). Yang et al. (2019), section 2.3.
    Equation (relative_attention.10).

    >>> one, no = np.eye(1), np.zeros(1)
    >>> weights = RelativeWeights(0 * one, one, one, 0 * one, one, no, no, no, np.zeros((2, 1)))
    >>> content, query, order = np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]), np.array([0, 1])
    >>> two_streams(content, query, order, weights, 1, rank=order, query_rank=order)[1]  # the second sees the first
    array([[0.],
           [1.]])
    """
    length, one_segment = len(content), np.zeros(1, dtype=bool)
    sees, asks = content_mask(rank[None])[0], query_mask(rank[None], query_rank[None])[0]
    moved = relative_attention(content, content, np.arange(length), weights, heads, sees, one_segment)
    return moved, relative_attention(query, content, places, weights, heads, asks, one_segment)
