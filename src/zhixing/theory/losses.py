r"""What training makes small, with gradients: squared error, cross-entropy and its kin, and the three ways of
learning from plain text: causal, masked and permutation language modelling.

Logarithms are natural: losses are in nats. Legend: N rows, V classes or vocabulary, B texts, T tokens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import log_softmax, sigmoid, softmax

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]


def squared_error(prediction: Array, target: Array) -> float:
    r"""$\frac1n \sum_i (\hat y_i - y_i)^2$ over all n elements. Equation (losses.1).

    >>> squared_error(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    2.5
    """
    return float(((prediction - target) ** 2).mean())


def squared_error_gradient(prediction: Array, target: Array) -> Array:
    r"""$\frac2n (\hat y - y)$. Equation (losses.2).

    >>> squared_error_gradient(np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    array([ 1., -2.])
    """
    return 2.0 * (prediction - target) / prediction.size


def one_hot(targets: Ids, classes: int) -> Array:
    r"""Row n is 1 at ``targets[n]`` and 0 elsewhere; (N,) -> (N, V). Equation (losses.3).

    >>> one_hot(np.array([1, 0]), classes=3)
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    return np.eye(classes)[targets]


def cross_entropy(logits: Array, targets: Ids) -> float:
    r"""$-\frac1N \sum_n \log \mathrm{softmax}(x_n)_{y_n}$; logits (N, V), targets (N,).

    Bridle (1990); Goodfellow, Bengio and Courville (2016), section 6.2.2.3. Equation (losses.4).

    >>> round(cross_entropy(np.array([[0.0, 0.0], [0.0, np.log(3.0)]]), np.array([0, 1])), 4)
    0.4904
    """
    return float(-log_softmax(logits)[np.arange(len(targets)), targets].mean())


def cross_entropy_gradient(logits: Array, targets: Ids) -> Array:
    r"""$\frac1N (\mathrm{softmax}(x) - \mathrm{onehot}(y))$; (N, V). Equation (losses.5).

    >>> cross_entropy_gradient(np.array([[0.0, 0.0]]), np.array([0]))
    array([[-0.5,  0.5]])
    """
    return (softmax(logits) - one_hot(targets, logits.shape[-1])) / len(targets)


def label_smoothed_cross_entropy(logits: Array, targets: Ids, smoothing: float) -> float:
    r"""Cross-entropy to $q = (1-\varepsilon)\,\mathrm{onehot}(y) + \varepsilon/V$. Szegedy et al. (2016),
    section 7. Equation (losses.6).

    >>> round(label_smoothed_cross_entropy(np.array([[0.0, np.log(3.0)]]), np.array([1]), smoothing=0.2), 4)
    0.3975
    """
    classes = logits.shape[-1]
    target = (1.0 - smoothing) * one_hot(targets, classes) + smoothing / classes
    return float(-(target * log_softmax(logits)).sum(axis=-1).mean())


def label_smoothed_cross_entropy_gradient(logits: Array, targets: Ids, smoothing: float) -> Array:
    r"""$\frac1N (\mathrm{softmax}(x) - q)$ with the smoothed target q; (N, V). Equation (losses.7).

    >>> label_smoothed_cross_entropy_gradient(np.array([[0.0, 0.0]]), np.array([1]), smoothing=0.2)
    array([[ 0.4, -0.4]])
    """
    classes = logits.shape[-1]
    target = (1.0 - smoothing) * one_hot(targets, classes) + smoothing / classes
    error: Array = softmax(logits) - target
    return error / len(targets)


def binary_cross_entropy(logits: Array, targets: Array) -> float:
    r"""$-\frac1n\sum [y \log\sigma(x) + (1-y)\log(1-\sigma(x))]$.

    Computed as the equal $\frac1n\sum[\max(x,0) - xy + \log(1+e^{-|x|})]$, which never overflows.
    Goodfellow, Bengio and Courville (2016), section 6.2.2.2. Equation (losses.8).

    >>> round(binary_cross_entropy(np.array([0.0, np.log(3.0)]), np.array([1.0, 1.0])), 4)
    0.4904
    """
    return float((np.maximum(logits, 0.0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))).mean())


def binary_cross_entropy_gradient(logits: Array, targets: Array) -> Array:
    r"""$\frac1n(\sigma(x) - y)$. Equation (losses.9).

    >>> binary_cross_entropy_gradient(np.array([0.0, 0.0]), np.array([1.0, 0.0]))
    array([-0.25,  0.25])
    """
    return (sigmoid(logits) - targets) / logits.size


def causal_lm_loss(logits: Array, ids: Ids, counted: Mask) -> float:
    r"""$-\frac{1}{M}\sum_{b}\sum_{t=1}^{T-1} m_{b,t} \log p(w_{b,t} \mid w_{b,<t})$, with $M = \sum m$ the
    tokens counted.

    The logits (B, T, V) at t-1 predict ids (B, T) at t; ``counted`` (B, T) is False at tokens that are not to
    be learned (padding, a prompt). Dividing by M of the whole batch, never by a row's own count, makes every
    token weigh the same. Bengio et al. (2003), section 2; Radford et al. (2018), equation 1. Equation (losses.10).

    >>> logits, ids = np.zeros((1, 3, 4)), np.array([[0, 1, 2]])
    >>> round(causal_lm_loss(logits, ids, np.array([[True, True, False]])), 4)  # log 4
    1.3863
    """
    log_probs = np.take_along_axis(log_softmax(logits[:, :-1]), ids[:, 1:, None], axis=-1)[..., 0]
    return float(-log_probs[counted[:, 1:]].sum() / counted[:, 1:].sum())


def causal_lm_loss_gradient(logits: Array, ids: Ids, counted: Mask) -> Array:
    r"""$\frac{m_{t+1}}{M}(\mathrm{softmax}(x_t) - \mathrm{onehot}(w_{t+1}))$ for t < T, 0 at the last place;
    (B, T, V). Equation (losses.11).

    >>> causal_lm_loss_gradient(np.zeros((1, 2, 2)), np.array([[0, 1]]), np.array([[True, True]]))
    array([[[ 0.5, -0.5],
            [ 0. ,  0. ]]])
    """
    gradient = np.zeros_like(logits)
    error = softmax(logits[:, :-1]) - one_hot(ids[:, 1:], logits.shape[-1])
    gradient[:, :-1] = error * counted[:, 1:, None] / counted[:, 1:].sum()
    return gradient


def masked_lm_loss(logits: Array, ids: Ids, masked: Mask) -> float:
    r"""$-\frac1M \sum_{b,t} m_{b,t} \log p(w_{b,t} \mid \tilde w_b)$, with $M = \sum m$ the places masked.

    The model has read the corrupted text $\tilde w$; its logits (B, T, V) at t predict the true id (B, T) at the
    same t, and only the places chosen for corruption count, also those left as they were. Devlin et al. (2019),
    section 3.1. Equation (losses.12).

    >>> logits, ids = np.zeros((1, 3, 4)), np.array([[0, 1, 2]])
    >>> logits[0, 1, 1] = np.log(3.0)  # three times as likely as each of the other three
    >>> round(masked_lm_loss(logits, ids, np.array([[False, True, False]])), 4)  # log 2
    0.6931
    """
    log_probs = np.take_along_axis(log_softmax(logits), ids[:, :, None], axis=-1)[..., 0]
    return float(-log_probs[masked].sum() / masked.sum())


def masked_lm_loss_gradient(logits: Array, ids: Ids, masked: Mask) -> Array:
    r"""$\frac{m_t}{M}(\mathrm{softmax}(x_t) - \mathrm{onehot}(w_t))$; (B, T, V). Equation (losses.13).

    >>> masked_lm_loss_gradient(np.zeros((1, 2, 2)), np.array([[0, 1]]), np.array([[False, True]]))
    array([[[ 0. ,  0. ],
            [ 0.5, -0.5]]])
    """
    error = softmax(logits) - one_hot(ids, logits.shape[-1])
    return np.where(masked[..., None], error, 0.0) / masked.sum()


def factorisation_rank(order: Ids) -> Ids:
    r"""When each place is predicted: $r_{z_t} = t$, the inverse of the order z (B, T) -> (B, T). Equation (losses.14).

    >>> factorisation_rank(np.array([[2, 0, 1]]))  # place 2 first, then 0, then 1
    array([[1, 2, 0]])
    """
    return np.argsort(order, axis=-1)


def factorisation_mask(order: Ids, content: bool) -> Mask:
    r"""Place i may see place j if $r_j < r_i$ (query stream) or $r_j \le r_i$ (content stream); (B, T) ->
    (B, T, T).

    The query stream predicts place i and must not see it; the content stream carries what i holds to later ones.
    Yang et al. (2019), section 2.3. The order 0, 1, 2, ... gives the causal mask. Equation (losses.15).

    >>> factorisation_mask(np.array([[2, 0, 1]]), content=False)[0].astype(int)
    array([[0, 0, 1],
           [1, 0, 1],
           [0, 0, 0]])
    """
    rank = factorisation_rank(order)
    before: Mask = rank[:, None, :] < rank[:, :, None]
    return before | (np.eye(order.shape[-1], dtype=bool) & content)


def permutation_lm_loss(logits: Array, ids: Ids, order: Ids, predicted: int) -> float:
    r"""$-\frac{1}{BP} \sum_b \sum_{t > T-P} \log p(w_{z_t} \mid w_{z_{<t}})$: the last P places of each order z.

    The logits (B, T, V) at a place come from the query stream under ``factorisation_mask``: they were computed
    without its id. Those early in the order have seen too little to be worth predicting. Yang et al. (2019),
    equations 3 and 5. Equation (losses.16).

    >>> logits, ids = np.zeros((1, 3, 4)), np.array([[3, 1, 2]])
    >>> logits[0, 1, 1] = np.log(3.0)
    >>> round(permutation_lm_loss(logits, ids, np.array([[2, 0, 1]]), predicted=1), 4)  # place 1 alone: log 2
    0.6931
    """
    return masked_lm_loss(logits, ids, factorisation_rank(order) >= order.shape[-1] - predicted)


def permutation_lm_loss_gradient(logits: Array, ids: Ids, order: Ids, predicted: int) -> Array:
    r"""$\frac{1}{BP}(\mathrm{softmax}(x_i) - \mathrm{onehot}(w_i))$ at the last P places of the order; (B, T, V).
    Equation (losses.17).

    >>> permutation_lm_loss_gradient(np.zeros((1, 2, 2)), np.array([[0, 1]]), np.array([[1, 0]]), predicted=1)
    array([[[-0.5,  0.5],
            [ 0. ,  0. ]]])
    """
    return masked_lm_loss_gradient(logits, ids, factorisation_rank(order) >= order.shape[-1] - predicted)
