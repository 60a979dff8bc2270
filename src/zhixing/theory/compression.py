r"""Making a model smaller: fewer bits for each weight, fewer weights, a smaller model that imitates.

Legend: b bits, g weights in a group, N rows, V classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.losses import cross_entropy, cross_entropy_gradient
from zhixing.theory.networks import log_softmax, softmax

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def largest_code(bits: int) -> int:
    r"""$2^{b-1} - 1$: as many codes below 0 as above; the most negative one of two's complement stays unused.
    Equation (compression.1).

    >>> largest_code(8), largest_code(4)
    (127, 7)
    """
    return int(2 ** (bits - 1) - 1)


def quantise(x: Array, bits: int) -> tuple[Codes, Array]:
    r"""$s = \max|x| / (2^{b-1} - 1)$, $q = \mathrm{round}(x / s)$ along the last axis; (..., n) -> (..., n), (..., 1).

    Symmetric: 0 stays exactly 0, and the largest value sets the scale, so nothing is cut off. Halves are rounded to
    the even neighbour. Jacob et al. (2018), section 2.1, with zero-point 0; Dettmers et al. (2022), section 2.
    Equation (compression.2).

    >>> codes, scale = quantise(np.array([0.7, -0.24, 0.06, 0.0]), bits=4)
    >>> codes, scale.round(4)
    (array([ 7, -2,  1,  0]), array([0.1]))
    """
    largest = np.abs(x).max(axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0) / largest_code(bits)
    return np.rint(x / scale).astype(np.int64), scale


def dequantise(codes: Codes, scale: Array) -> Array:
    r"""$\hat x = s q$. Equation (compression.3).

    >>> dequantise(np.array([7, -2, 1, 0]), np.array([0.1])).round(4)
    array([ 0.7, -0.2,  0.1,  0. ])
    """
    return scale * codes


def grouped(x: Array, group: int) -> Array:
    """Cut the last axis into groups of g; (..., n) -> (..., n / g, g). Equation (compression.4).

    >>> grouped(np.arange(4.0), group=2)
    array([[0., 1.],
           [2., 3.]])
    """
    return x.reshape(*x.shape[:-1], -1, group)


def quantise_groups(x: Array, bits: int, group: int) -> Array:
    r"""$\hat x$ when every g neighbours of the last axis have a scale of their own: an outlier spoils only its group.

    Costs 16 / g bits more for each weight where scales are 16-bit numbers. Shen et al. (2020), section 3.3.
    Equation (compression.5).

    >>> x = np.array([0.7, 0.3, 7.0, 4.0])
    >>> quantise_groups(x, bits=4, group=2).round(4)
    array([0.7, 0.3, 7. , 4. ])
    >>> quantise_groups(x, bits=4, group=4).round(4)  # one scale, 1.0, for all
    array([1., 0., 7., 4.])
    """
    return dequantise(*quantise(grouped(x, group), bits)).reshape(x.shape)


def quantisation_error_bound(x: Array, bits: int) -> Array:
    r"""$|x - \hat x| \le s / 2$ for every element, half a step; (..., n) -> (..., 1). Equation (compression.6).

    >>> quantisation_error_bound(np.array([0.7, -0.24]), bits=4).round(4)
    array([0.05])
    """
    return 0.5 * quantise(x, bits)[1]


def product_error_bound(weight: Array, x: Array, bits: int) -> Array:
    r"""$|w \cdot x - \hat w \cdot x| \le \frac s2 \lVert x \rVert_1$ for every row of the weight; (M, n), (n,) -> (M,).
    Equation (compression.7).

    >>> product_error_bound(np.array([[0.7, -0.24]]), np.array([1.0, -3.0]), bits=4).round(4)
    array([0.2])
    """
    bound: Array = quantisation_error_bound(weight, bits)[..., 0] * np.abs(x).sum()
    return bound


def magnitude_mask(x: Array, sparsity: float) -> Mask:
    r"""True for the weights that stay: all but the ``sparsity`` share of smallest magnitude. Han et al. (2015).

    Of equal magnitudes the earlier ones go. The number removed is rounded down. Equation (compression.8).

    >>> magnitude_mask(np.array([[0.1, -2.0], [0.5, 1.0]]), sparsity=0.5)
    array([[False,  True],
           [False,  True]])
    """
    removed = np.argsort(np.abs(x), axis=None, kind="stable")[: int(sparsity * x.size)]
    kept = np.ones(x.size, dtype=bool)
    kept[removed] = False
    return kept.reshape(x.shape)


def soft_target_loss(student: Array, teacher: Array, temperature: float) -> float:
    r"""$\frac{\tau^2}{N} \sum_n \mathrm{KL}(p_n \Vert q_n)$ with $p = \mathrm{softmax}(t/\tau)$ of the teacher's logits
    and q of the student's; (N, V) each; nats.

    The factor keeps the gradient's size as the temperature rises. Hinton, Vinyals and Dean (2015), section 2.
    Equation (compression.9).

    >>> round(soft_target_loss(np.zeros((1, 2)), np.array([[0.0, np.log(3.0)]]), temperature=1.0), 4)
    0.1308
    """
    p, q = log_softmax(teacher / temperature), log_softmax(student / temperature)
    return float(temperature**2 * (np.exp(p) * (p - q)).sum(axis=-1).mean())


def soft_target_loss_gradient(student: Array, teacher: Array, temperature: float) -> Array:
    r"""$\frac{\tau}{N} (q - p)$ for the student's logits; (N, V). Hinton, Vinyals and Dean (2015), equation 2.
    Equation (compression.10).

    >>> soft_target_loss_gradient(np.zeros((1, 2)), np.array([[0.0, np.log(3.0)]]), temperature=1.0)
    array([[ 0.25, -0.25]])
    """
    return temperature * (softmax(student / temperature) - softmax(teacher / temperature)) / len(student)


def distillation_loss(student: Array, teacher: Array, targets: Ids, temperature: float, weight: float) -> float:
    r"""$\alpha \cdot \text{soft} + (1 - \alpha) \cdot \text{cross-entropy}$ to the true classes (N,); $\alpha$ =
    ``weight``. Equation (compression.11).

    >>> round(distillation_loss(np.zeros((1, 2)), np.array([[0.0, np.log(3.0)]]), np.array([1]), 1.0, 0.5), 4)
    0.412
    """
    soft = soft_target_loss(student, teacher, temperature)
    return weight * soft + (1.0 - weight) * cross_entropy(student, targets)


def distillation_loss_gradient(
    student: Array, teacher: Array, targets: Ids, temperature: float, weight: float
) -> Array:
    r"""The same mixture of the two gradients; (N, V). Equation (compression.11).

    >>> distillation_loss_gradient(np.zeros((1, 2)), np.array([[0.0, np.log(3.0)]]), np.array([1]), 1.0, 0.5)
    array([[ 0.375, -0.375]])
    """
    soft = soft_target_loss_gradient(student, teacher, temperature)
    return weight * soft + (1.0 - weight) * cross_entropy_gradient(student, targets)
