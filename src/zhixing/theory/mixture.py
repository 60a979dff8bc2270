"""Linear interpolation of distributions, and its weights by expectation–maximisation.

Jelinek and Mercer, "Interpolated estimation of Markov source parameters from sparse data" (1980); the
iteration is that of Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM
algorithm" (1977). The weights are fitted on text that none of the members was trained on ("held-out" or
"deleted" interpolation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def interpolate(probabilities: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """``p(x) = sum_m w_m p_m(x)``: members' probabilities (N, M), weights (M,) summing to one -> (N,).
    Equation (mixture.1).

    >>> interpolate([[0.2, 0.6]], [0.75, 0.25]).round(3)
    array([0.3])
    """
    return np.asarray(probabilities, np.float64) @ np.asarray(weights, np.float64)


def em_step(
    probabilities: ArrayLike, weights: ArrayLike, prior: ArrayLike | None = None, strength: float = 0.0
) -> NDArray[np.float64]:
    """One step of EM for the weights: the mean responsibility of each member; the likelihood never falls.

    ``r_nm = w_m p_m(x_n) / sum_j w_j p_j(x_n)``, then ``w_m = (sum_n r_nm + strength * prior_m) / (N +
    strength)``: with ``strength`` > 0 this is the maximum a posteriori under a Dirichlet prior, as if
    ``strength`` further tokens had been seen with the responsibilities ``prior``. Shapes: probabilities (N,
    M), weights and prior (M,). Equation (mixture.2).

    >>> em_step([[0.2, 0.6], [0.1, 0.1]], [0.5, 0.5])
    array([0.375, 0.625])
    """
    joint = np.asarray(probabilities, np.float64) * np.asarray(weights, np.float64)
    responsibility = joint / joint.sum(axis=1, keepdims=True)
    counts = responsibility.sum(axis=0) + strength * np.asarray(0.0 if prior is None else prior, np.float64)
    return np.asarray(counts / (len(responsibility) + strength), np.float64)


def table_em_step(
    probabilities: ArrayLike, membership: ArrayLike, table: ArrayLike, prior: ArrayLike, strength: float
) -> NDArray[np.float64]:
    """One step of EM for weights that depend on the context: ``p(x_n) = sum_k phi_nk sum_m w_km p_m(x_n)``.

    ``membership`` phi (N, K) says how far token n belongs to row k of the ``table`` w (K, M); it is known
    before the token and sums to one over k. ``r_nkm`` is proportional to ``phi_nk w_km p_nm``; each row
    becomes its share of the responsibilities, drawn towards ``prior`` (M,) as by ``strength`` further
    tokens, as in ``em_step``. Equation (mixture.3).

    >>> table_em_step([[0.2, 0.6], [0.1, 0.1]], [[0, 1]] * 2, [[0.5, 0.5]] * 2, [0.5, 0.5], 0.001).round(3)
    array([[0.5  , 0.5  ],
           [0.375, 0.625]])
    """
    phi, w, p = (np.asarray(a, np.float64) for a in (membership, table, probabilities))
    joint = phi[:, :, None] * w[None] * p[:, None, :]
    counts = (joint / joint.sum(axis=(1, 2), keepdims=True)).sum(axis=0)
    counts += strength * np.asarray(prior, np.float64)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)
