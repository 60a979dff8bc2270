r"""Neurons and networks: the affine map, the activations with their derivatives, forward and backward of many
layers.

Rumelhart, Hinton and Williams (1986), "Learning representations by back-propagating errors". Legend: N rows,
I inputs, O outputs. A gradient function takes the upstream gradient dL/dy and returns dL/d(argument).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Layer = tuple[Array, Array]
"""One layer's weight (I, O) and bias (O,)."""
Activation = Callable[[Array], Array]


def affine(x: Array, weight: Array, bias: Array) -> Array:
    r"""$y = xW + b$; x (N, I), W (I, O), b (O,) -> (N, O). Equation (networks.1).

    >>> affine(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [3.0, -1.0]]), np.array([0.5, 0.5]))
    array([[ 7.5, -1.5]])
    """
    return x @ weight + bias


def affine_gradient(x: Array, weight: Array, upstream: Array) -> tuple[Array, Array, Array]:
    r"""$dx = g W^\top,\ dW = x^\top g,\ db = \sum_n g_n$; g (N, O) -> (N, I), (I, O), (O,). Equation (networks.2).

    >>> affine_gradient(np.array([[1.0, 2.0]]), np.array([[1.0], [3.0]]), np.array([[10.0]]))
    (array([[10., 30.]]), array([[10.],
           [20.]]), array([10.]))
    """
    return upstream @ weight.T, x.T @ upstream, upstream.sum(axis=0)


def sigmoid(x: Array) -> Array:
    r"""$\sigma(x) = 1 / (1 + e^{-x})$, computed from $e^{-|x|}$ so that it never overflows. Equation (networks.3).

    >>> sigmoid(np.array([0.0, 2.0, -1000.0])).round(4)
    array([0.5   , 0.8808, 0.    ])
    """
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def sigmoid_derivative(x: Array) -> Array:
    r"""$\sigma'(x) = \sigma(x)(1 - \sigma(x))$. Equation (networks.4).

    >>> sigmoid_derivative(np.array([0.0]))
    array([0.25])
    """
    return sigmoid(x) * (1.0 - sigmoid(x))


def tanh(x: Array) -> Array:
    r"""$\tanh x = 2\sigma(2x) - 1$. Equation (networks.5).

    >>> tanh(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.7616])
    """
    return 2.0 * sigmoid(2.0 * x) - 1.0


def tanh_derivative(x: Array) -> Array:
    r"""$\tanh' x = 1 - \tanh^2 x$. Equation (networks.5).

    >>> tanh_derivative(np.array([0.0, 1.0])).round(4)
    array([1.  , 0.42])
    """
    return 1.0 - tanh(x) ** 2


def relu(x: Array) -> Array:
    r"""$\max(0, x)$. Nair and Hinton (2010), section 2. Equation (networks.6).

    >>> relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.maximum(x, 0.0)


def relu_derivative(x: Array) -> Array:
    r"""1 where x > 0, else 0 (at 0 any value in [0, 1] is a subgradient; 0 is the usual choice). Equation (networks.6).

    >>> relu_derivative(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return np.where(x > 0, 1.0, 0.0)


def squared_relu(x: Array) -> Array:
    r"""$\max(0, x)^2$. So et al. (2021), "Primer", section 3. Equation (networks.7).

    >>> squared_relu(np.array([-1.0, 3.0]))
    array([0., 9.])
    """
    return relu(x) ** 2


def squared_relu_derivative(x: Array) -> Array:
    r"""$2\max(0, x)$. Equation (networks.7).

    >>> squared_relu_derivative(np.array([-1.0, 3.0]))
    array([0., 6.])
    """
    return 2.0 * relu(x)


def silu(x: Array) -> Array:
    r"""$x\,\sigma(x)$, also called swish. Hendrycks and Gimpel (2016), section 2; Ramachandran et al. (2017).
    Equation (networks.8).

    >>> silu(np.array([0.0, 1.0, -1.0])).round(4)
    array([ 0.    ,  0.7311, -0.2689])
    """
    return x * sigmoid(x)


def silu_derivative(x: Array) -> Array:
    r"""$\sigma(x)\,(1 + x(1 - \sigma(x)))$. Equation (networks.9).

    >>> silu_derivative(np.array([0.0, 1.0])).round(4)
    array([0.5   , 0.9277])
    """
    return sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))


def normal_cdf(x: Array) -> Array:
    r"""$\Phi(x) = \tfrac12 (1 + \mathrm{erf}(x/\sqrt2))$: the chance that a standard normal lies below x.
    Equation (networks.10).

    >>> normal_cdf(np.array([0.0, 1.96])).round(3)
    array([0.5  , 0.975])
    """
    erf = np.vectorize(math.erf, otypes=[np.float64])
    values: Array = erf(x / math.sqrt(2.0))
    return 0.5 * (1.0 + values)


def gelu(x: Array) -> Array:
    r"""$x\,\Phi(x)$: the exact Gaussian error linear unit. Hendrycks and Gimpel (2016), section 2.
    Equation (networks.11).

    >>> gelu(np.array([0.0, 1.0, -1.0])).round(4)
    array([ 0.    ,  0.8413, -0.1587])
    """
    return x * normal_cdf(x)


def gelu_derivative(x: Array) -> Array:
    r"""$\Phi(x) + x\,\varphi(x)$ with $\varphi$ the standard normal density. Equation (networks.12).

    >>> gelu_derivative(np.array([0.0, 1.0])).round(4)
    array([0.5   , 1.0833])
    """
    density = np.exp(-(x**2) / 2.0) / math.sqrt(2.0 * math.pi)
    return normal_cdf(x) + x * density


def gelu_tanh(x: Array) -> Array:
    r"""$\tfrac x2 \left(1 + \tanh\!\left[\sqrt{2/\pi}\,(x + 0.044715\,x^3)\right]\right)$.

    The approximation GPT-2 uses; at most 5e-4 away from ``gelu``. Hendrycks and Gimpel (2016), section 2.
    Equation (networks.13).

    >>> gelu_tanh(np.array([0.0, 1.0, -1.0])).round(4)
    array([ 0.    ,  0.8412, -0.1588])
    """
    return 0.5 * x * (1.0 + tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def gelu_tanh_derivative(x: Array) -> Array:
    r"""$\tfrac12(1 + t) + \tfrac x2 (1 - t^2)\sqrt{2/\pi}\,(1 + 3\cdot0.044715\,x^2)$, $t$ the tanh in
    ``gelu_tanh``. Equation (networks.14).

    >>> gelu_tanh_derivative(np.array([0.0, 1.0])).round(4)
    array([0.5  , 1.083])
    """
    t = tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))
    inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x**2)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t**2) * inner


def swiglu(x: Array, gate: Array, up: Array, down: Array) -> Array:
    r"""$(\mathrm{SiLU}(xW_g) \odot xW_u)\,W_d$; x (N, D), gate and up (D, F), down (F, D) -> (N, D).

    Shazeer (2020), "GLU variants improve Transformer", equation 6 (without biases). Equation (networks.15).

    >>> one = np.array([[1.0]])
    >>> swiglu(one, gate=one, up=2 * one, down=one).round(4)
    array([[1.4621]])
    """
    return (silu(x @ gate) * (x @ up)) @ down


def swiglu_gradient(
    x: Array, gate: Array, up: Array, down: Array, upstream: Array
) -> tuple[Array, Array, Array, Array]:
    r"""With $a = xW_g,\ u = xW_u,\ h = gW_d^\top$:
    $da = h \odot u \odot \mathrm{SiLU}'(a),\ du = h \odot \mathrm{SiLU}(a)$.

    Returns dx (N, D), d gate (D, F), d up (D, F), d down (F, D). Equation (networks.16).

    >>> one = np.array([[1.0]])
    >>> [round(g.item(), 4) for g in swiglu_gradient(one, one, one, one, upstream=one)]
    [1.6587, 0.9277, 0.7311, 0.7311]
    """
    a, u, h = x @ gate, x @ up, upstream @ down.T
    d_a, d_u = h * u * silu_derivative(a), h * silu(a)
    return d_a @ gate.T + d_u @ up.T, x.T @ d_a, x.T @ d_u, (silu(a) * u).T @ upstream


def softmax(x: Array) -> Array:
    r"""$p_i = e^{x_i} / \sum_j e^{x_j}$ along the last axis; the largest $x$ is taken off first: same result,
    no overflow.

    Bridle (1990). An entry of -inf gets probability 0. Equation (networks.17).

    >>> softmax(np.array([1.0, 2.0, 3.0])).round(4)
    array([0.09  , 0.2447, 0.6652])
    """
    exponentials: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    total: Array = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / total


def softmax_gradient(x: Array, upstream: Array) -> Array:
    r"""$dx = p \odot (g - \sum_j g_j p_j)$: the Jacobian $\mathrm{diag}(p) - pp^\top$ applied to g.
    Equation (networks.18).

    >>> softmax_gradient(np.array([0.0, 0.0]), np.array([1.0, 0.0]))
    array([ 0.25, -0.25])
    """
    p = softmax(x)
    expected: Array = (upstream * p).sum(axis=-1, keepdims=True)
    return p * (upstream - expected)


def log_softmax(x: Array) -> Array:
    r"""$\log p_i = x_i - \log \sum_j e^{x_j}$ along the last axis. Equation (networks.19).

    >>> log_softmax(np.array([1.0, 2.0, 3.0])).round(4)
    array([-2.4076, -1.4076, -0.4076])
    """
    shifted: Array = x - x.max(axis=-1, keepdims=True)
    total: Array = np.exp(shifted).sum(axis=-1, keepdims=True)
    return shifted - np.log(total)


def log_softmax_gradient(x: Array, upstream: Array) -> Array:
    r"""$dx = g - p \sum_j g_j$. Equation (networks.20).

    >>> log_softmax_gradient(np.array([0.0, 0.0]), np.array([1.0, 0.0]))
    array([ 0.5, -0.5])
    """
    total: Array = upstream.sum(axis=-1, keepdims=True)
    return upstream - softmax(x) * total


def network_forward(x: Array, layers: Sequence[Layer], activation: Activation) -> list[Array]:
    r"""$z_l = a_{l-1}W_l + b_l,\ a_l = f(z_l)$, no activation after the last layer; returns
    $[z_1, \dots, z_L]$. Equation (networks.21).

    >>> layers = [(np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[2.0], [5.0]]), np.ones(1))]
    >>> network_forward(np.array([[3.0]]), layers, relu)
    [array([[ 3., -3.]]), array([[7.]])]
    """
    values: list[Array] = []
    for weight, bias in layers:
        values.append(affine(activation(values[-1]) if values else x, weight, bias))
    return values


def network_backward(
    x: Array, layers: Sequence[Layer], activation: Activation, derivative: Activation, upstream: Array
) -> tuple[Array, list[Layer]]:
    r"""Back-propagation: $\delta_{l-1} = (\delta_l W_l^\top) \odot f'(z_{l-1})$; returns dx and (dW, db) of
    every layer. Equation (networks.22).

    >>> layers = [(np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[2.0], [5.0]]), np.ones(1))]
    >>> dx, gradients = network_backward(np.array([[3.0]]), layers, relu, relu_derivative, np.array([[1.0]]))
    >>> dx, gradients[1][0].ravel()
    (array([[2.]]), array([3., 0.]))
    """
    values = network_forward(x, layers, activation)
    gradients: list[Layer] = []
    for index in reversed(range(len(layers))):
        entering = activation(values[index - 1]) if index else x
        upstream, d_weight, d_bias = affine_gradient(entering, layers[index][0], upstream)
        gradients.insert(0, (d_weight, d_bias))
        if index:
            upstream = upstream * derivative(values[index - 1])
    return upstream, gradients
