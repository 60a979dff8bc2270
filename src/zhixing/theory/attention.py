r"""Attention and its masks. Vaswani et al. (2017), "Attention is all you need", section 3.2.

Legend: T queries, S keys, D width, H heads, G key-value heads, E = D/H width of a head; ``...`` any leading
axes. A mask is boolean, (T, S), True where a query may look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import softmax, softmax_gradient

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Projections(NamedTuple):
    """The four weights of an attention layer, without biases: x @ weight."""

    query: Array  # (D, H·E)
    key: Array  # (D, G·E)
    value: Array  # (D, G·E)
    output: Array  # (H·E, D)


def causal_mask(queries: int, keys: int) -> Mask:
    r"""Query t sees key s if $s \le t + (S - T)$: the last query sees every key, as when T new tokens follow
    a cache. Equation (attention.1).

    >>> causal_mask(2, 3).astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    return np.arange(keys) <= np.arange(queries)[:, None] + keys - queries


def document_mask(documents: Ids) -> Mask:
    r"""Causal, and only within one's own document: $s \le t$ and $d_s = d_t$; documents (T,) -> (T, T).
    Equation (attention.2).

    >>> document_mask(np.array([0, 0, 1])).astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [0, 0, 1]])
    """
    same: Mask = documents == documents[:, None]
    return causal_mask(len(documents), len(documents)) & same


def window_mask(queries: int, keys: int, window: int) -> Mask:
    r"""Causal, and no further back than ``window`` tokens, one's own included: with $t' = t + (S - T)$,
    $t' - W < s \le t'$. Beltagy et al. (2020), section 3.1; Jiang et al. (2023), section 2. After L layers a token
    has been reached by those up to L(W - 1) places before it. Equation (attention.10).

    >>> window_mask(3, 4, window=2).astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    place = np.arange(queries)[:, None] + keys - queries
    near: Mask = np.arange(keys) > place - window
    return causal_mask(queries, keys) & near


def scores(query: Array, key: Array, mask: Mask | None = None, bias: Array | float = 0.0) -> Array:
    r"""$QK^\top/\sqrt E + \text{bias}$, $-\infty$ where the mask forbids; (..., T, E), (..., S, E) ->
    (..., T, S).

    The root keeps the variance of a product of E standard normals at 1. Section 3.2.1, footnote 4.
    Equation (attention.3).

    >>> key = np.array([[3.0, 0, 0, 0], [1.0, 0, 0, 0]])
    >>> scores(np.array([[2.0, 0, 0, 0]]), key, mask=np.array([[True, False]]))
    array([[  3., -inf]])
    """
    products: Array = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1]) + bias
    return products if mask is None else np.where(mask, products, -np.inf)


def attention(query: Array, key: Array, value: Array, mask: Mask | None = None, bias: Array | float = 0.0) -> Array:
    r"""$\mathrm{softmax}(QK^\top/\sqrt E + \text{bias})\,V$; (..., T, E), (..., S, E), (..., S, E) ->
    (..., T, E). Equation 1. Equation (attention.4).

    >>> value = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> attention(np.zeros((1, 2)), np.ones((2, 2)), value)  # equal scores: the mean
    array([[2., 3.]])
    """
    return softmax(scores(query, key, mask, bias)) @ value


def attention_gradient(
    query: Array, key: Array, value: Array, mask: Mask | None, upstream: Array
) -> tuple[Array, Array, Array]:
    r"""With P the weights and $g = dL/dO$: $dV = P^\top g$,
    $dS = P\odot(gV^\top - \mathrm{rowsum}(gV^\top\odot P))$, $dQ = dS\,K/\sqrt E$, $dK = dS^\top Q/\sqrt E$.
    Dao et al. (2022), appendix B.2. Equation (attention.5).

    >>> one = np.array([[1.0]])
    >>> attention_gradient(one, one, one, None, upstream=one)  # one key: nothing to choose
    (array([[0.]]), array([[0.]]), array([[1.]]))
    """
    logits = scores(query, key, mask)
    d_scores = softmax_gradient(logits, upstream @ value.swapaxes(-1, -2)) / np.sqrt(query.shape[-1])
    return d_scores @ key, d_scores.swapaxes(-1, -2) @ query, softmax(logits).swapaxes(-1, -2) @ upstream


def split_heads(x: Array, heads: int) -> Array:
    r"""(..., T, H·E) -> (..., H, T, E): head h takes columns hE to (h+1)E. Equation (attention.6).

    >>> split_heads(np.array([[1.0, 2.0, 3.0, 4.0]]), heads=2).tolist()
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def join_heads(x: Array) -> Array:
    r"""(..., H, T, E) -> (..., T, H·E), the inverse of ``split_heads``. Equation (attention.7).

    >>> join_heads(np.array([[[1.0, 2.0]], [[3.0, 4.0]]]))
    array([[1., 2., 3., 4.]])
    """
    return x.swapaxes(-2, -3).reshape(*x.shape[:-3], x.shape[-2], -1)


def grouped_query_attention(
    query: Array, key: Array, value: Array, mask: Mask | None = None, bias: Array | float = 0.0
) -> Array:
    r"""H query heads share G key-value heads: head h uses group $\lfloor hG/H \rfloor$. Ainslie et al.
    (2023), section 2.2.

    query (..., H, T, E), key and value (..., G, S, E) -> (..., H, T, E). G = H is multi-head, G = 1 is
    multi-query. Equation (attention.8).

    >>> value = np.array([[[1.0]], [[2.0]]])  # two groups, one key each
    >>> grouped_query_attention(np.ones((4, 1, 1)), np.ones((2, 1, 1)), value).ravel()
    array([1., 1., 2., 2.])
    """
    shared = query.shape[-3] // key.shape[-3]
    return attention(query, np.repeat(key, shared, axis=-3), np.repeat(value, shared, axis=-3), mask, bias)


def multi_head_attention(x: Array, memory: Array, weights: Projections, heads: int, mask: Mask | None = None) -> Array:
    r"""$\mathrm{concat}(\mathrm{head}_1, \dots, \mathrm{head}_H)\,W^O$. Section 3.2.2.

    x (..., T, D) asks, memory (..., S, D) answers: the same array for self-attention, the encoder's output
    for cross-attention. Equation (attention.9).

    >>> identity = np.eye(2)
    >>> weights = Projections(identity, identity, identity, identity)
    >>> multi_head_attention(np.array([[1.0, 2.0]]), np.array([[5.0, 7.0]]), weights, heads=2)
    array([[5., 7.]])
    """
    query, key, value = (
        split_heads(side @ weight, heads)
        for side, weight in ((x, weights.query), (memory, weights.key), (memory, weights.value))
    )
    return join_heads(attention(query, key, value, mask)) @ weights.output
