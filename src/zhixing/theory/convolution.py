r"""Networks that see a fixed window of the text: the feed-forward language model, causal convolution with gates, and
the strongest answer over time.

- Feed-forward language model: Bengio et al. (2003), "A neural probabilistic language model", section 2.
- Gated convolution: Dauphin et al. (2017), "Language modeling with gated convolutional networks", sections 2 and 3.
- Convolution and maximum over time: Kim (2014), "Convolutional neural networks for sentence classification", section 2.

Legend: B texts, T tokens, I width of the input, O of the output, K tokens seen at once (the kernel), D width. Before a
text's first token there are zeros. A gradient function takes the upstream gradient dL/d(result) and returns
dL/d(argument).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import sigmoid, tanh

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


def shifted(x: Array, lag: int) -> Array:
    r"""$(S_k x)_t = x_{t-k}$, zero where $t < k$: what stood k places before; (B, T, I) -> (B, T, I).
    Equation (convolution.1).

    >>> shifted(np.array([[[1.0], [2.0], [3.0]]]), lag=1).ravel()
    array([0., 1., 2.])
    """
    result = np.zeros_like(x)
    result[:, lag:] = x[:, : max(0, x.shape[1] - lag)]
    return result


def causal_convolution(x: Array, weight: Array, bias: Array) -> Array:
    r"""$y_t = b + \sum_{k=0}^{K-1} x_{t-k} W_k$: each place is a sum over itself and the K - 1 places before.

    x (B, T, I), weight (K, I, O), bias (O,) -> (B, T, O). Dauphin et al. (2017), section 2: shifted so that no kernel
    sees what follows. Equation (convolution.2).

    >>> weight = np.array([[[1.0]], [[0.5]]])  # the token itself, and half of the one before
    >>> causal_convolution(np.array([[[1.0], [2.0], [4.0]]]), weight, np.zeros(1)).ravel()
    array([1. , 2.5, 5. ])
    """
    return bias + sum(shifted(x, lag) @ matrix for lag, matrix in enumerate(weight))


def causal_convolution_gradient(x: Array, weight: Array, upstream: Array) -> tuple[Array, Array, Array]:
    r"""$dx_t = \sum_k g_{t+k} W_k^\top,\ dW_k = \sum_t x_{t-k}^\top g_t,\ db = \sum_t g_t$: the input's gradient is a
    convolution that looks ahead. Returns dx (B, T, I), dW (K, I, O), db (O,). Equation (convolution.3).

    >>> weight = np.array([[[1.0]], [[0.5]]])
    >>> x, last = np.array([[[1.0], [2.0], [4.0]]]), np.array([[[0.0], [0.0], [1.0]]])
    >>> dx, dw, db = causal_convolution_gradient(x, weight, upstream=last)
    >>> dx.ravel(), dw.ravel(), db  # the last answer looked at 4 and at half of 2
    (array([0. , 0.5, 1. ]), array([4., 2.]), array([1.]))
    """
    backwards = upstream[:, ::-1]  # shifted, it is g_{t+k}, and zero beyond the end
    d_x = sum(shifted(backwards, lag) @ matrix.T for lag, matrix in enumerate(weight))
    d_weight = np.stack([np.einsum("bti,bto->io", shifted(x, lag), upstream) for lag in range(len(weight))])
    return np.asarray(d_x)[:, ::-1], d_weight, upstream.sum(axis=(0, 1))


def gated_linear_unit(value: Array, gate: Array) -> Array:
    r"""$a \otimes \sigma(b)$: a value, and how much of it passes; shapes equal. Dauphin et al. (2017), equation 1.
    Equation (convolution.4).

    >>> gated_linear_unit(np.array([2.0, 2.0]), np.array([0.0, np.log(3.0)]))  # half, and three quarters
    array([1. , 1.5])
    """
    return value * sigmoid(gate)


def gated_linear_unit_gradient(value: Array, gate: Array, upstream: Array) -> tuple[Array, Array]:
    r"""$da = g\,\sigma(b),\ db = g\,a\,\sigma(b)(1 - \sigma(b))$: the value's path has no slope of its own to fade in,
    unlike $\tanh(a)\sigma(b)$. Dauphin et al. (2017), section 3, equation 3. Equation (convolution.5).

    >>> gated_linear_unit_gradient(np.array([2.0]), np.array([0.0]), upstream=np.array([1.0]))
    (array([0.5]), array([0.5]))
    """
    passed = sigmoid(gate)
    return upstream * passed, upstream * value * passed * (1.0 - passed)


def receptive_field(kernel: int, layers: int) -> int:
    r"""$1 + L(K - 1)$ tokens: what a place of layer L can know of, itself included. Equation (convolution.6).

    >>> receptive_field(kernel=4, layers=4)
    13
    """
    return 1 + layers * (kernel - 1)


def maximum_over_time(x: Array, lengths: Ids) -> Array:
    r"""$\hat c_d = \max_{t < n} c_{t,d}$: each feature's strongest answer anywhere in a text of n tokens.

    x (B, T, D), lengths (B,) at least 1 -> (B, D). Kim (2014), section 2. Equation (convolution.7).

    >>> maximum_over_time(np.array([[[1.0, 5.0], [3.0, 2.0], [9.0, 9.0]]]), np.array([2]))  # the third is padding
    array([[3., 5.]])
    """
    real = np.arange(x.shape[1]) < lengths[:, None]
    return np.where(real[:, :, None], x, -np.inf).max(axis=1)


def maximum_over_time_gradient(x: Array, lengths: Ids, upstream: Array) -> Array:
    r"""$dc_{t,d} = g_d\,[t = \arg\max_{s<n} c_{s,d}]$: all of it goes to the place that won. Equation (convolution.8).

    >>> maximum_over_time_gradient(np.array([[[1.0], [3.0]]]), np.array([2]), upstream=np.array([[7.0]])).ravel()
    array([0., 7.])
    """
    real = np.arange(x.shape[1]) < lengths[:, None]
    winner = np.where(real[:, :, None], x, -np.inf).argmax(axis=1)
    return np.where(np.arange(x.shape[1])[:, None] == winner[:, None], upstream[:, None], 0.0)


def window(embedded: Array, size: int) -> Array:
    r"""$x_t = [e_{t-m+1}, \dots, e_t]$, the last m embeddings side by side, the oldest first; (B, T, E) -> (B, T, m·E).

    Bengio et al. (2003), section 2, writes the newest first; the order of the blocks is a convention.
    Equation (convolution.9).

    >>> window(np.array([[[1.0], [2.0], [3.0]]]), size=2)[0]
    array([[0., 1.],
           [1., 2.],
           [2., 3.]])
    """
    return np.concatenate([shifted(embedded, lag) for lag in reversed(range(size))], axis=-1)


def feed_forward_scores(x: Array, hidden: Array, bias: Array, output: Array, direct: Array) -> Array:
    r"""$y = xW + \tanh(d + xH)\,U$: the scores of every next token from the window x; softmax makes them
    probabilities.

    x (N, m·E), hidden H (m·E, D), bias d (D,), output U (D, V), direct W (m·E, V), zeros without direct connections
    -> (N, V). Bengio et al. (2003), equation 1, without the output's bias. Equation (convolution.10).

    >>> one, none = np.ones((1, 1)), np.zeros((1, 1))
    >>> feed_forward_scores(one, one, np.zeros(1), output=2.0 * one, direct=none).round(4)  # 2 tanh 1
    array([[1.5232]])
    """
    return x @ direct + tanh(bias + x @ hidden) @ output


def feed_forward_scores_gradient(
    x: Array, hidden: Array, bias: Array, output: Array, direct: Array, upstream: Array
) -> tuple[Array, Array, Array, Array, Array]:
    r"""With $h = \tanh(d + xH)$ and $\delta = gU^\top \odot (1 - h^2)$: $dx = gW^\top + \delta H^\top,\
    dH = x^\top\delta,\ dd = \sum_n\delta_n,\ dU = h^\top g,\ dW = x^\top g$, in the order of the arguments.
    Bengio et al. (2003), section 3, "backward phase". Equation (convolution.11).

    >>> one, none = np.ones((1, 1)), np.zeros((1, 1))
    >>> feed_forward_scores_gradient(one, none, np.zeros(1), 2.0 * one, none, upstream=one)[1]  # dH: 2, as tanh' 0 = 1
    array([[2.]])
    """
    h = tanh(bias + x @ hidden)
    delta = (upstream @ output.T) * (1.0 - h**2)
    d_x = upstream @ direct.T + delta @ hidden.T
    return d_x, x.T @ delta, delta.sum(axis=0), h.T @ upstream, x.T @ upstream
