r"""Learning what is alike: losses over vectors that pull related pairs together and push others apart.

Logarithms are natural. Legend: N examples, E width of a vector.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.losses import cross_entropy, cross_entropy_gradient

Array = NDArray[np.float64]


def unit(x: Array) -> Array:
    r"""$x / \lVert x \rVert$, each row to length 1; (N, E). Equation (contrastive_losses.1).

    >>> unit(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def unit_gradient(x: Array, upstream: Array) -> Array:
    r"""$(g - (g \cdot u)\,u) / \lVert x \rVert$ with $u = x/\lVert x \rVert$: only what turns x remains; (N, E).
    Equation (contrastive_losses.2).

    >>> unit_gradient(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]))
    array([[ 0.128, -0.096]])
    """
    u = unit(x)
    along = (upstream * u).sum(axis=-1, keepdims=True)
    return (upstream - along * u) / np.linalg.norm(x, axis=-1, keepdims=True)


def similarities(query: Array, key: Array, temperature: float) -> Array:
    r"""$s_{ij} = \cos(q_i, k_j) / \tau$; (N, E), (N, E) -> (N, N). Equation (contrastive_losses.3).

    >>> similarities(np.array([[2.0, 0.0]]), np.array([[3.0, 4.0]]), temperature=0.5)
    array([[1.2]])
    """
    return unit(query) @ unit(key).T / temperature


def info_nce(query: Array, key: Array, temperature: float) -> float:
    r"""$-\frac1N \sum_i \log \frac{\exp(s_{ii})}{\sum_j \exp(s_{ij})}$: find key i among the N keys of the batch.

    Query i and key i (N, E) are two views of one thing; every other key of the batch serves as a negative. van den
    Oord, Li and Vinyals (2018), equation 4; with cosine and temperature as in Chen et al. (2020), equation 1.
    Equation (contrastive_losses.4).

    >>> two = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> round(info_nce(two, two, temperature=1.0), 4)  # log(1 + exp(-1))
    0.3133
    """
    return cross_entropy(similarities(query, key, temperature), np.arange(len(query)))


def info_nce_gradient(query: Array, key: Array, temperature: float) -> tuple[Array, Array]:
    r"""With $G = \frac{1}{N\tau}(\mathrm{softmax}(s) - I)$: $G\hat k$ and $G^\top\hat q$, each through ``unit``.

    Returns the gradients of query and key, both (N, E). Equation (contrastive_losses.5).

    >>> query, key = np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> info_nce_gradient(query, key, temperature=1.0)[0].round(4)  # away from the other key
    array([[0.    , 0.1345],
           [0.0672, 0.    ]])
    """
    wanted = np.arange(len(query))
    error = cross_entropy_gradient(similarities(query, key, temperature), wanted) / temperature
    return unit_gradient(query, error @ unit(key)), unit_gradient(key, error.T @ unit(query))


def triplet_loss(anchor: Array, positive: Array, negative: Array, margin: float) -> float:
    r"""$\frac1N \sum_i [\lVert a_i - p_i \rVert^2 - \lVert a_i - n_i \rVert^2 + m]_+$; (N, E) each.

    Zero once the negative is farther than the positive by the margin, in squared distance. Schroff, Kalenichenko
    and Philbin (2015), section 3.1. Equation (contrastive_losses.6).

    >>> triplet_loss(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), margin=0.5)
    0.5
    """
    near, far = ((anchor - positive) ** 2).sum(axis=-1), ((anchor - negative) ** 2).sum(axis=-1)
    return float(np.maximum(near - far + margin, 0.0).mean())


def triplet_loss_gradient(anchor: Array, positive: Array, negative: Array, margin: float) -> tuple[Array, Array, Array]:
    r"""$\frac2N(n - p)$, $\frac2N(p - a)$, $\frac2N(a - n)$ where the bracket is positive, else 0; (N, E) each.
    Equation (contrastive_losses.7).

    >>> a, p, n = np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    >>> triplet_loss_gradient(a, p, n, margin=0.5)
    (array([[-2.,  2.]]), array([[2., 0.]]), array([[ 0., -2.]]))
    """
    near, far = ((anchor - positive) ** 2).sum(axis=-1), ((anchor - negative) ** 2).sum(axis=-1)
    active = 2.0 * (near - far + margin > 0)[:, None] / len(anchor)
    return active * (negative - positive), active * (positive - anchor), active * (anchor - negative)


def alignment(query: Array, key: Array) -> float:
    r"""$\frac1N \sum_i \lVert \hat q_i - \hat k_i \rVert^2$: how far the two views of one thing lie apart, 0 to 4.

    Wang and Isola (2020), equation 2 with $\alpha = 2$. Rows (N, E). Equation (contrastive_losses.8).

    >>> alignment(np.array([[2.0, 0.0]]), np.array([[0.0, 5.0]]))  # at a right angle
    2.0
    """
    return float(((unit(query) - unit(key)) ** 2).sum(axis=-1).mean())


def uniformity(x: Array) -> float:
    r"""$\log \frac{2}{N(N-1)} \sum_{i<j} \exp(-2 \lVert \hat x_i - \hat x_j \rVert^2)$: how evenly directions spread.

    0 where all coincide, the lower the more evenly the sphere is used. Wang and Isola (2020), equation 3 with $t = 2$.
    Rows (N, E), N at least 2. Equation (contrastive_losses.9).

    >>> uniformity(np.array([[1.0, 0.0], [-3.0, 0.0]]))  # opposite: the squared distance is 4
    -8.0
    """
    u = unit(x)
    first, second = np.triu_indices(len(u), k=1)
    return float(np.log(np.exp(-2.0 * ((u[first] - u[second]) ** 2).sum(axis=-1)).mean()))


def retrieval_accuracy(query: Array, key: Array) -> float:
    r"""$\frac1N \sum_i [\operatorname{argmax}_j \cos(q_i, k_j) = i]$: how often the nearest key is one's own.

    Rows (N, E). Equation (contrastive_losses.10).

    >>> retrieval_accuracy(np.array([[1.0, 0.1], [0.3, 0.2]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    0.5
    """
    return float((similarities(query, key, 1.0).argmax(axis=1) == np.arange(len(query))).mean())
