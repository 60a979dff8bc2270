r"""What a model may have learned about one person, and what in its input an answer rests on.

Privacy: $\varepsilon$ (nats) bounds how much the presence of one record can change the probability of any outcome,
$\delta$ the chance that the bound fails. Attribution: how an output divides over the input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def gaussian_mechanism_sigma(epsilon: float, delta: float, sensitivity: float) -> float:
    r"""$\sigma = \frac{\Delta}{\varepsilon}\sqrt{2 \ln(1.25/\delta)}$: noise that makes one release private.

    ``sensitivity``: the most that one record can move the released vector, in Euclidean length. Holds for
    $\varepsilon < 1$. Dwork and Roth (2014), theorem A.1. Equation (trust.1).

    >>> round(gaussian_mechanism_sigma(epsilon=0.5, delta=1e-5, sensitivity=1.0), 4)
    9.6896
    """
    return sensitivity * math.sqrt(2.0 * math.log(1.25 / delta)) / epsilon


def clip_record(gradient: Array, norm: float) -> Array:
    r"""$g \cdot \min(1, C / \lVert g \rVert)$: bounds what one record can contribute. Abadi et al. (2016), algorithm 1.
    Equation (trust.2).

    >>> clip_record(np.array([3.0, 4.0]), norm=1.0)
    array([0.6, 0.8])
    """
    return gradient * min(1.0, norm / max(float(np.linalg.norm(gradient)), 1e-300))


def gaussian_rdp(order: float, sigma: float) -> float:
    r"""$\varepsilon(\alpha) = \frac{\alpha}{2\sigma^2}$: Rényi divergence of order $\alpha$ that noise $\sigma$ allows.

    ``sigma`` is in units of the sensitivity. Mironov (2017), proposition 7. Equation (trust.3).

    >>> gaussian_rdp(order=4, sigma=2.0)
    0.5
    """
    return order / (2.0 * sigma**2)


def sampled_gaussian_rdp(order: int, rate: float, sigma: float) -> float:
    r"""$\frac{1}{\alpha-1} \ln \sum_{k=0}^{\alpha} \binom{\alpha}{k} (1-q)^{\alpha-k} q^k e^{k(k-1)/(2\sigma^2)}$.

    Each record takes part with probability q (``rate``), on its own: whoever was not drawn cannot leak. For whole
    orders from 2. Mironov, Talwar and Zhang (2019), section 3.3. Equation (trust.4).

    >>> sampled_gaussian_rdp(order=4, rate=1.0, sigma=2.0) == gaussian_rdp(order=4, sigma=2.0)
    True
    >>> round(sampled_gaussian_rdp(order=2, rate=0.01, sigma=1.0), 7)  # log(1 + q^2 (e - 1))
    0.0001718
    """
    k = np.arange(order + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        absent = np.where(k < order, (order - k) * np.log1p(-rate), 0.0)
    chosen = np.log([math.comb(order, int(i)) for i in k])
    terms = chosen + absent + k * math.log(rate) + k * (k - 1) / (2.0 * sigma**2)
    return float(np.logaddexp.reduce(terms)) / (order - 1)


def rdp_to_epsilon(rdp: float, order: float, delta: float) -> float:
    r"""$\varepsilon = \varepsilon(\alpha) + \frac{\ln(1/\delta)}{\alpha - 1}$. Mironov (2017), proposition 3.
    Equation (trust.5).

    >>> round(rdp_to_epsilon(rdp=0.5, order=4, delta=math.exp(-3.0)), 4)
    1.5
    """
    return rdp + math.log(1.0 / delta) / (order - 1.0)


def private_training_epsilon(
    rate: float, sigma: float, steps: int, delta: float, orders: Sequence[int] = range(2, 65)
) -> float:
    r"""$\varepsilon = \min_\alpha [T \varepsilon(\alpha) + \frac{\ln(1/\delta)}{\alpha-1}]$ after T steps.

    Divergences of the same order add up over the steps (Mironov 2017, proposition 1); every order gives a true
    bound, so the best one may be taken. Equation (trust.6).

    >>> round(private_training_epsilon(rate=0.01, sigma=1.1, steps=1000, delta=1e-5), 2)
    2.09
    """
    spent = {order: steps * sampled_gaussian_rdp(order, rate, sigma) for order in orders}
    return min(rdp_to_epsilon(rdp, order, delta) for order, rdp in spent.items())


def integrated_gradients(gradient: Callable[[Array], Array], x: Array, baseline: Array, steps: int) -> Array:
    r"""$(x - x') \odot \frac1m \sum_{k=1}^m \nabla f(x' + \frac{k - 1/2}{m}(x - x'))$; the shape of x.

    The midpoint rule of the path integral. Completeness: the attributions sum to $f(x) - f(x')$, but for the rule's
    error of order $1/m^2$. Sundararajan, Taly and Yan (2017), equations 1 and 3. Equation (trust.7).

    >>> square = lambda v: np.array([2.0 * v[0], 3.0])  # gradient of v0^2 + 3 v1
    >>> integrated_gradients(square, x=np.array([2.0, 1.0]), baseline=np.zeros(2), steps=10).round(6)
    array([4., 3.])
    """
    fractions = (np.arange(steps) + 0.5) / steps
    slopes = [gradient(baseline + fraction * (x - baseline)) for fraction in fractions]
    return (x - baseline) * np.mean(slopes, axis=0)


def attention_rollout(attention: Array, residual: float = 0.5) -> Array:
    r"""$\tilde A_L \cdots \tilde A_1$ with $\tilde A = (1 - r) A + r I$; (L, T, T), first layer first -> (T, T).

    Row t: how much of each input place reaches place t at the top, the residual path counted as half. ``attention``
    is averaged over the heads. Abnar and Zuidema (2020), section 3 and equation 1. Equation (trust.8).

    >>> one = np.array([[1.0, 0.0], [0.5, 0.5]])
    >>> attention_rollout(np.stack([one, one]))  # (3/4)^2 of place 1 is its own
    array([[1.    , 0.    ],
           [0.4375, 0.5625]])
    """
    identity = np.eye(attention.shape[-1])
    flow = identity
    for layer in attention:
        flow = ((1.0 - residual) * layer + residual * identity) @ flow
    return flow
