"""Starting a decoder as a bigram model.

A decoder whose residual branches write nothing yet is a bigram model of low rank: the next token's distribution after
``v`` is ``softmax(W norm(E_v))``. Its two matrices can therefore be fitted to counts of pairs, without reading text,
before the network is trained. The counts are smoothed by Kneser and Ney (1995), so that the fit does not learn chance.

From there two layers of attention can be made to copy (Elhage et al. 2021; Olsson et al. 2022): a head that looks back
names the token before, and a later head seeks positions whose earlier tokens bear the present tokens' names. A name is
a whitened projection of the embedding: names of different tokens are nearly orthogonal, whatever the embeddings share.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def bigram_table(counts: Floats, discount: float) -> Floats:
    """Return ``P(w | v)``, interpolated Kneser-Ney: ``max(c(vw) - d, 0) / c(v) + d N1+(v·) / c(v) · p(w)`` with
    ``p(w) = (N1+(·w) + 1) / (N1+(··) + V)``: the lower order of Kneser and Ney, add-one smoothed so that nothing is
    impossible.

    ``counts``: (V, V), row ``v`` counts what follows ``v``; a row without counts becomes ``p``.
    Equation (warm_start.1).

    >>> table = bigram_table(np.array([[0.0, 3.0], [1.0, 1.0]]), discount=0.5)
    >>> table.round(4).tolist()
    [[0.0667, 0.9333], [0.45, 0.55]]
    """
    seen = counts > 0
    continuation = (seen.sum(axis=0) + 1) / (seen.sum() + len(counts))
    total = counts.sum(axis=1, keepdims=True)
    safe = np.maximum(total, 1)
    discounted = np.maximum(counts - discount, 0) / safe
    left = np.where(total > 0, discount * seen.sum(axis=1, keepdims=True) / safe, 1.0)
    return discounted + left * continuation


def bigram_fit_loss(embedding: Floats, head: Floats, table: Floats, share: Floats, epsilon: float) -> np.float64:
    """Return ``-Σ_v share(v) Σ_w table(v, w) log softmax(head · norm(embedding_v))_w``, in nats.

    ``embedding``: (N, D) rows of the contexts; ``head``: (V, D); ``table``: (N, V); ``share``: (N,), sums to one.
    Equation (warm_start.2).

    >>> zero = np.zeros((2, 4))
    >>> float(bigram_fit_loss(np.ones((2, 4)), zero, np.full((2, 2), 0.5), np.full(2, 0.5), 1e-6).round(4))
    0.6931
    """
    norm = np.sqrt((embedding**2).mean(axis=1, keepdims=True) + epsilon)
    logits = embedding / norm @ head.T
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.float64(-(share * (table * log_softmax).sum(axis=1)).sum())


def whitening(x: Floats, share: Floats, ridge: float) -> tuple[Floats, Floats]:
    """Return the mean ``m = Σ s_v x_v`` and ``(C + r tr(C)/D I)^(-1/2)`` with ``C = Σ s_v (x_v - m)(x_v - m)ᵀ``.

    ``x``: (N, D); ``share``: (N,), sums to one. Rows ``(x - m) W`` have covariance close to the identity.
    Equation (warm_start.3).

    >>> mean, whitener = whitening(np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.full(4, 0.25), 0.0)
    >>> mean.tolist(), whitener.round(4).tolist()
    ([0.0, 0.0], [[0.7071, 0.0], [0.0, 1.4142]])
    """
    mean = share @ x
    covariance = (x - mean).T @ (share[:, None] * (x - mean))
    values, vectors = np.linalg.eigh(covariance)
    return mean, (vectors / np.sqrt(np.maximum(values, 0) + ridge * values.mean())) @ vectors.T


def copy_map(read: Floats, wanted: Floats, share: Floats, ridge: float) -> Floats:
    """Return ``M = (Zᵀ S Z + r I)^(-1) Zᵀ S Y``: ridge regression from what a head reads to what it should write.

    ``read`` Z: (N, E); ``wanted`` Y: (N, D); ``share``: (N,), the diagonal of S. Equation (warm_start.4).

    >>> copy_map(np.eye(2), np.array([[3.0], [1.0]]), np.array([0.5, 0.5]), 0.0).tolist()
    [[3.0], [1.0]]
    """
    weighted = share[:, None] * read
    return np.asarray(np.linalg.solve(weighted.T @ read + ridge * np.eye(read.shape[1]), weighted.T @ wanted))
