r"""Ways to keep a model from learning its examples by heart: dropout, and penalties on the size of the
weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def dropout(x: Array, kept: Mask, rate: float) -> Array:
    r"""$y = m \odot x / (1 - p)$: m is 1 with probability 1 - p, so the expectation of y is x ("inverted"
    dropout).

    Srivastava et al. (2014), section 4. The gradient is the same function applied to the upstream gradient.
    Equation (regularisation.1).

    >>> dropout(np.array([1.0, 2.0]), kept=np.array([True, False]), rate=0.5)
    array([2., 0.])
    """
    return x * kept / (1.0 - rate)


def l1_penalty(parameter: Array, strength: float) -> float:
    r"""$\lambda \sum_i |\theta_i|$. Tibshirani (1996), equation 1. Equation (regularisation.2).

    >>> l1_penalty(np.array([1.0, -2.0]), strength=0.5)
    1.5
    """
    return float(strength * np.abs(parameter).sum())


def l1_gradient(parameter: Array, strength: float) -> Array:
    r"""$\lambda\,\mathrm{sign}(\theta)$, 0 at 0: the same pull on every weight, so small ones reach zero.
    Equation (regularisation.3).

    >>> l1_gradient(np.array([1.0, -2.0, 0.0]), strength=0.5)
    array([ 0.5, -0.5,  0. ])
    """
    return strength * np.sign(parameter)


def l2_penalty(parameter: Array, strength: float) -> float:
    r"""$\frac\lambda2 \sum_i \theta_i^2$. Hoerl and Kennard (1970); Krogh and Hertz (1992), equation 4.
    Equation (regularisation.4).

    >>> l2_penalty(np.array([1.0, -2.0]), strength=0.5)
    1.25
    """
    return float(0.5 * strength * (parameter**2).sum())


def l2_gradient(parameter: Array, strength: float) -> Array:
    r"""$\lambda\theta$, added to the loss's gradient. Under SGD it equals decoupled decay; under Adam it does
    not. Equation (regularisation.5).

    >>> l2_gradient(np.array([1.0, -2.0]), strength=0.5)
    array([ 0.5, -1. ])
    """
    return strength * parameter
