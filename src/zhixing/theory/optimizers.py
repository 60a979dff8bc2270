r"""Update rules, each a pure function (parameter, gradient, state, hyper-parameters) -> (new parameter, new
state).

$\theta$ is the parameter, $g$ the gradient, $\eta$ the learning rate, ``step`` counts from 1. The state
before the first step is zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Coefficients = tuple[float, float, float]

JORDAN: Coefficients = (3.4445, -4.7750, 2.0315)
"""One quintic for every step, steep at zero; it ends near 1, not at 1. Jordan et al. (2024), "Muon"."""

POLAR_EXPRESS: tuple[Coefficients, ...] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    (1.875, -1.25, 0.375),
)
"""The minimax quintic of each step for singular values in [1e-3, 1]. Amsel et al. (2025), "The Polar
Express", listing 1."""


def sgd(parameter: Array, gradient: Array, rate: float) -> Array:
    r"""$\theta \leftarrow \theta - \eta g$. Robbins and Monro (1951). Equation (optimizers.1).

    >>> sgd(np.array([1.0]), np.array([0.5]), rate=0.1)
    array([0.95])
    """
    return parameter - rate * gradient


def momentum(
    parameter: Array, gradient: Array, velocity: Array, rate: float, decay: float = 0.9
) -> tuple[Array, Array]:
    r"""$v \leftarrow \mu v + g,\ \theta \leftarrow \theta - \eta v$. Polyak (1964); Sutskever et al. (2013),
    section 2. Equation (optimizers.2).

    >>> momentum(np.array([1.0]), np.array([0.5]), velocity=np.array([1.0]), rate=0.1)
    (array([0.86]), array([1.4]))
    """
    velocity = decay * velocity + gradient
    return parameter - rate * velocity, velocity


def nesterov(
    parameter: Array, gradient: Array, velocity: Array, rate: float, decay: float = 0.9
) -> tuple[Array, Array]:
    r"""$v \leftarrow \mu v + g,\ \theta \leftarrow \theta - \eta(g + \mu v)$: a step from where momentum will
    carry it.

    Nesterov (1983), in the form of Sutskever et al. (2013), section 2, with the gradient taken at $\theta$
    itself. Equation (optimizers.3).

    >>> nesterov(np.array([1.0]), np.array([0.5]), velocity=np.array([1.0]), rate=0.1)
    (array([0.824]), array([1.4]))
    """
    velocity = decay * velocity + gradient
    return parameter - rate * (gradient + decay * velocity), velocity


def rmsprop(
    parameter: Array, gradient: Array, square: Array, rate: float, decay: float = 0.99, epsilon: float = 1e-8
) -> tuple[Array, Array]:
    r"""$s \leftarrow \rho s + (1-\rho)g^2,\ \theta \leftarrow \theta - \eta g/(\sqrt s + \varepsilon)$.

    Tieleman and Hinton (2012), lecture 6e. Equation (optimizers.4).

    >>> rmsprop(np.array([1.0]), np.array([0.5]), square=np.array([0.0]), rate=0.1, decay=0.75)[0].round(6)
    array([0.8])
    """
    square = decay * square + (1.0 - decay) * gradient**2
    return parameter - rate * gradient / (np.sqrt(square) + epsilon), square


def adam(
    parameter: Array,
    gradient: Array,
    state: tuple[Array, Array],
    step: int,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> tuple[Array, tuple[Array, Array]]:
    r"""$m \leftarrow \beta_1 m + (1-\beta_1)g,\ v \leftarrow \beta_2 v + (1-\beta_2)g^2,\
    \theta \leftarrow \theta - \eta \frac{m/(1-\beta_1^t)}{\sqrt{v/(1-\beta_2^t)} + \varepsilon}$.

    The two divisors undo the pull of the zero start: m and v are averages of only t gradients. Kingma and Ba
    (2015), algorithm 1. Equation (optimizers.5).

    >>> zeros = np.zeros(1)
    >>> parameter, state = adam(np.array([1.0]), np.array([0.5]), (zeros, zeros), step=1, rate=0.1)
    >>> parameter.round(6)  # the first step is the rate itself, whatever the gradient's size
    array([0.9])
    """
    first = betas[0] * state[0] + (1.0 - betas[0]) * gradient
    second = betas[1] * state[1] + (1.0 - betas[1]) * gradient**2
    mean = first / (1.0 - betas[0] ** step)
    square = second / (1.0 - betas[1] ** step)
    return parameter - rate * mean / (np.sqrt(square) + epsilon), (first, second)


def decoupled_decay(parameter: Array, rate: float, weight_decay: float) -> Array:
    r"""$\theta \leftarrow (1 - \eta\lambda)\theta$, apart from the gradient. Loshchilov and Hutter (2019),
    algorithm 2, line 12. Equation (optimizers.6).

    >>> decoupled_decay(np.array([2.0]), rate=0.1, weight_decay=0.5)
    array([1.9])
    """
    return (1.0 - rate * weight_decay) * parameter


def adamw(
    parameter: Array,
    gradient: Array,
    state: tuple[Array, Array],
    step: int,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    weight_decay: float = 0.01,
) -> tuple[Array, tuple[Array, Array]]:
    r"""Adam's step from the decayed parameter; the decay never enters m and v. Loshchilov and Hutter (2019),
    algorithm 2. Equation (optimizers.7).

    >>> one, zeros = np.ones(1), np.zeros(1)
    >>> adamw(one, 0.5 * one, (zeros, zeros), step=1, rate=0.1, weight_decay=0.5)[0].round(6)
    array([0.85])
    """
    decayed = decoupled_decay(parameter, rate, weight_decay)
    return adam(decayed, gradient, state, step, rate, betas, epsilon)


def newton_schulz(matrix: Array, schedule: Sequence[Coefficients], margin: float = 1.0) -> Array:
    r"""$X_0 = M / (c\lVert M\rVert_F)$, then $X \leftarrow aX + b(XX^\top)X + c(XX^\top)^2X$ for each
    (a, b, c).

    Only products, yet every singular value s becomes $as + bs^3 + cs^5$ and is driven to 1: the result is
    near $UV^\top$, the nearest matrix with orthonormal rows or columns. Jordan et al. (2024); Higham (2008),
    chapter 8. M (R, C). Equation (optimizers.8).

    >>> newton_schulz(np.array([[3.0, 0.0], [0.0, 4.0]]), [(1.875, -1.25, 0.375)] * 5).round(6)
    array([[1., 0.],
           [0., 1.]])
    """
    x = matrix / (margin * np.linalg.norm(matrix) + 1e-7)
    for a, b, c in schedule:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def polar_express_schedule(steps: int, safety: float = 1.01) -> list[Coefficients]:
    r"""The first ``steps`` polynomials $p_i(x/s)$; the last of the list, (1.875, -1.25, 0.375), repeats and
    is not shrunk.

    Dividing the argument by s leaves room for rounding, which could lift a singular value above the interval.
    Amsel et al. (2025), section 3.4 and listing 1. Used with ``newton_schulz(..., margin=1.01)``.
    Equation (optimizers.9).

    >>> [tuple(round(c, 3) for c in p) for p in polar_express_schedule(2, safety=1.0)]
    [(8.287, -23.596, 17.3), (4.107, -2.948, 0.545)]
    """
    shrunk = [(a / safety, b / safety**3, c / safety**5) for a, b, c in POLAR_EXPRESS[:-1]]
    return (shrunk + [POLAR_EXPRESS[-1]] * steps)[:steps]


def muon(
    parameter: Array,
    gradient: Array,
    average: Array,
    rate: float,
    decay: float = 0.95,
    weight_decay: float = 0.0,
    schedule: Sequence[Coefficients] = (JORDAN,) * 5,
    margin: float = 1.0,
) -> tuple[Array, Array]:
    r"""Nesterov momentum, made orthogonal: $m \leftarrow \mu m + (1-\mu)g$,
    $\theta \leftarrow (1-\eta\lambda)\theta - \eta\,s\,\mathrm{NS}(\mu m + (1-\mu)g)$.

    $s = \sqrt{\max(1, R/C)}$ for a weight of R outputs and C inputs (R, C). Jordan et al. (2024), algorithm
    2; it sums gradients instead of averaging them, but NS forgets the factor between the two. Equation (optimizers.10).

    >>> schedule = [(1.875, -1.25, 0.375)] * 6
    >>> zeros, gradient = np.zeros((2, 2)), np.diag([1.0, 3.0])
    >>> muon(zeros, gradient, zeros, rate=0.1, schedule=schedule)[0].round(4) + 0.0
    array([[-0.1,  0. ],
           [ 0. , -0.1]])
    """
    average = decay * average + (1.0 - decay) * gradient
    direction = newton_schulz(decay * average + (1.0 - decay) * gradient, schedule, margin)
    scale = np.sqrt(max(1.0, parameter.shape[0] / parameter.shape[1]))
    return decoupled_decay(parameter, rate, weight_decay) - rate * scale * direction, average


def clip_by_global_norm(gradients: Sequence[Array], limit: float) -> tuple[list[Array], float]:
    r"""$g_i \leftarrow g_i \min(1, c/\lVert g\rVert)$, $\lVert g\rVert$ over all parameters together; also
    returns that norm.

    One factor for all: the direction is kept. Pascanu, Mikolov and Bengio (2013), algorithm 1.
    Equation (optimizers.11).

    >>> clip_by_global_norm([np.array([3.0]), np.array([4.0])], limit=1.0)
    ([array([0.6]), array([0.8])], 5.0)
    """
    norm = float(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
    factor = min(1.0, limit / norm) if norm > 0 else 1.0
    return [factor * gradient for gradient in gradients], norm


def accumulate(gradient_sums: Sequence[Array], token_counts: Sequence[int]) -> Array:
    r"""$\frac{\sum_k G_k}{\sum_k M_k}$: micro-batch k gives the gradient $G_k$ of its *summed* loss over
    $M_k$ tokens.

    Averaging the means $G_k/M_k$ instead would weigh tokens of short micro-batches more, unless all counts
    are equal. Equation (optimizers.12).

    >>> accumulate([np.array([2.0]), np.array([4.0])], token_counts=[1, 3])
    array([1.5])
    """
    total: Array = np.sum(gradient_sums, axis=0)
    return total / sum(token_counts)
