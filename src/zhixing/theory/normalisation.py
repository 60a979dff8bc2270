r"""Layer normalisation and its simpler kin, with gradients. x is (..., D), gain and shift are (D,)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def standardise(x: Array, epsilon: float = 1e-5) -> Array:
    r"""$\hat x = (x - \mu)/\sqrt{\sigma^2 + \varepsilon}$, mean and (biased) variance over the last axis.
    Equation (normalisation.1).

    >>> standardise(np.array([1.0, 3.0]), epsilon=0.0)
    array([-1.,  1.])
    """
    mean: Array = x.mean(axis=-1, keepdims=True)
    variance: Array = x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def layer_norm(x: Array, gain: Array, shift: Array, epsilon: float = 1e-5) -> Array:
    r"""$y = \gamma \odot \hat x + \beta$. Ba, Kiros and Hinton (2016), equation 4. Equation (normalisation.2).

    >>> layer_norm(np.array([1.0, 3.0]), gain=np.array([2.0, 2.0]), shift=np.array([0.5, 0.5]), epsilon=0.0)
    array([-1.5,  2.5])
    """
    return gain * standardise(x, epsilon) + shift


def layer_norm_gradient(x: Array, gain: Array, upstream: Array, epsilon: float = 1e-5) -> tuple[Array, Array, Array]:
    r"""With $h = \gamma\odot g$:
    $dx = (h - \overline{h} - \hat x\,\overline{h\odot\hat x})/\sqrt{\sigma^2+\varepsilon}$ (bars: means over
    D); $d\gamma = \sum g\odot\hat x,\ d\beta = \sum g$ (sums over all rows). Equation (normalisation.3).

    >>> x, one = np.array([[1.0, 3.0]]), np.ones(2)
    >>> layer_norm_gradient(x, one, upstream=np.array([[1.0, 0.0]]), epsilon=0.0)
    (array([[0., 0.]]), array([-1.,  0.]), array([1., 0.]))
    """
    normal, h = standardise(x, epsilon), gain * upstream
    centred = h - h.mean(-1, keepdims=True) - normal * (h * normal).mean(-1, keepdims=True)
    rows = tuple(range(x.ndim - 1))
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + epsilon)
    return centred / deviation, (upstream * normal).sum(rows), upstream.sum(rows)


def root_mean_square(x: Array, epsilon: float = 1e-6) -> Array:
    r"""$\sqrt{\frac1D\sum_i x_i^2 + \varepsilon}$ over the last axis, which is kept: (..., 1).
    Equation (normalisation.4).

    >>> root_mean_square(np.array([3.0, 4.0]), epsilon=0.0) ** 2
    array([12.5])
    """
    mean: Array = (x**2).mean(axis=-1, keepdims=True)
    return np.sqrt(mean + epsilon)


def rms_norm(x: Array, gain: Array, epsilon: float = 1e-6) -> Array:
    r"""$y = \gamma \odot x/\mathrm{RMS}(x)$: no mean, no shift. Zhang and Sennrich (2019), equation 4.
    Equation (normalisation.5).

    >>> rms_norm(np.array([1.0, 7.0]), gain=np.array([1.0, 1.0]), epsilon=0.0)
    array([0.2, 1.4])
    """
    return gain * x / root_mean_square(x, epsilon)


def rms_norm_gradient(x: Array, gain: Array, upstream: Array, epsilon: float = 1e-6) -> tuple[Array, Array]:
    r"""With $h = \gamma\odot g,\ \hat x = x/r$: $dx = (h - \hat x\,\overline{h\odot\hat x})/r$;
    $d\gamma = \sum g\odot\hat x$. Equation (normalisation.6).

    >>> rms_norm_gradient(np.array([[1.0, 7.0]]), np.ones(2), upstream=np.array([[1.0, 0.0]]), epsilon=0.0)
    (array([[ 0.196, -0.028]]), array([0.2, 0. ]))
    """
    root = root_mean_square(x, epsilon)
    normal, h = x / root, gain * upstream
    d_x = (h - normal * (h * normal).mean(axis=-1, keepdims=True)) / root
    return d_x, (upstream * normal).sum(axis=tuple(range(x.ndim - 1)))
