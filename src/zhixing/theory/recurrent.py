r"""Recurrent networks: one state, carried from each token to the next, and gradients carried back through time.

- RNN: Elman (1990), "Finding structure in time", section "Networks with dynamic memory".
- LSTM: Hochreiter and Schmidhuber (1997), section 4, with the forget gate of Gers, Schmidhuber and Cummins (2000),
  section 3.1, and without peepholes.
- GRU: Cho et al. (2014), equations 5-8, in the form that every fused kernel computes: the reset gate multiplies the
  state *after* its matrix, $r \odot (hU_n + c_n)$, not before it, $(r \odot h)U_n$.
- Back-propagation through time: Werbos (1990), "Backpropagation through time", section III.

Legend: T steps, N rows (texts side by side), I input width, D width of the state, G gates: 1 (RNN), 4 (LSTM), 3 (GRU).
The gates' matrices stand side by side in one, in the order named at each cell. A gradient function takes the upstream
gradient dL/d(result) and returns dL/d(argument).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import sigmoid, tanh

Array = NDArray[np.float64]


class Weights(NamedTuple):
    """What a cell learns; also its gradient, part by part."""

    input: Array  # (I, G·D): W, of the token read
    recurrent: Array  # (D, G·D): U, of the state before
    input_bias: Array  # (G·D,): b
    recurrent_bias: Array  # (G·D,): c; another b, but for the GRU's candidate, where r multiplies it


Cell = Callable[[Array, Array, Weights], Array]
"""``rnn_cell`` and ``gru_cell``: x (N, I), h (N, D) -> the new h."""
CellGradient = Callable[[Array, Array, Weights, Array], tuple[Array, Array, Weights]]
"""Their gradients: x, h, weights, upstream -> dx, dh, dweights."""


def rnn_cell(x: Array, state: Array, weights: Weights) -> Array:
    r"""$h_t = \tanh(x_t W + b + h_{t-1} U + c)$; x (N, I), h (N, D) -> (N, D). Elman (1990). Equation (recurrent.1).

    >>> half = Weights(np.array([[0.5]]), np.array([[0.5]]), np.zeros(1), np.zeros(1))
    >>> rnn_cell(np.array([[1.0]]), np.array([[1.0]]), half).round(4)  # tanh 1
    array([[0.7616]])
    """
    return tanh(x @ weights.input + weights.input_bias + state @ weights.recurrent + weights.recurrent_bias)


def rnn_cell_gradient(x: Array, state: Array, weights: Weights, upstream: Array) -> tuple[Array, Array, Weights]:
    r"""With $\delta = g \odot (1 - h_t^2)$: $dx = \delta W^\top,\ dh_{t-1} = \delta U^\top,\ dW = x^\top\delta,\
    dU = h_{t-1}^\top\delta,\ db = dc = \sum_n\delta_n$. Equation (recurrent.2).

    >>> half = Weights(np.array([[0.5]]), np.array([[0.5]]), np.zeros(1), np.zeros(1))
    >>> dx, dh, _ = rnn_cell_gradient(np.array([[1.0]]), np.array([[1.0]]), half, upstream=np.array([[1.0]]))
    >>> dx.round(2), dh.round(2)  # 0.42 of tanh, times 0.5
    (array([[0.21]]), array([[0.21]]))
    """
    delta = upstream * (1.0 - rnn_cell(x, state, weights) ** 2)
    return _through_maps(x, state, weights, delta, delta)


def lstm_cell(x: Array, state: Array, memory: Array, weights: Weights) -> tuple[Array, Array]:
    r"""Gates $i, f, o = \sigma(\cdot)$ and candidate $g = \tanh(\cdot)$ of $x_t W + b + h_{t-1} U + c$, in the order
    i, f, g, o; then $m_t = f \odot m_{t-1} + i \odot g$ and $h_t = o \odot \tanh(m_t)$.

    x (N, I), h (N, D), memory m (N, D) -> the new h, m. Hochreiter and Schmidhuber (1997), equations 7-9 and 12; Gers
    et al. (2000), equation 6. Equation (recurrent.3).

    >>> zero = Weights(np.zeros((1, 4)), np.zeros((1, 4)), np.array([0.0, 9.0, 0.0, 9.0]), np.zeros(4))
    >>> h, m = lstm_cell(np.zeros((1, 1)), np.zeros((1, 1)), np.array([[1.0]]), zero)
    >>> m.round(3), h.round(3)  # forget gate wide open: the memory stays; h is its tanh
    (array([[1.]]), array([[0.761]]))
    """
    i, f, g, o = _lstm_gates(x, state, weights)
    memory = f * memory + i * g
    return o * tanh(memory), memory


def lstm_cell_gradient(
    x: Array, state: Array, memory: Array, weights: Weights, upstream: Array, upstream_memory: Array
) -> tuple[Array, Array, Array, Weights]:
    r"""From $dh_t$ and $dm_t$: $\mu = dm_t + dh_t \odot o \odot (1 - \tanh^2 m_t)$ reaches the memory, and
    $dm_{t-1} = \mu \odot f$: no matrix, no squashing, which is why gradients last.

    Then $di = \mu g\, i(1-i),\ df = \mu\, m_{t-1} f(1-f),\ dg = \mu\, i(1-g^2),\ do = dh_t \tanh(m_t)\, o(1-o)$ before
    the gates, and on through the maps. Returns dx, dh, dm, dweights. Equation (recurrent.4).

    >>> zero = Weights(np.zeros((1, 4)), np.zeros((1, 4)), np.array([0.0, 9.0, 0.0, 0.0]), np.zeros(4))
    >>> one, none = np.ones((1, 1)), np.zeros((1, 1))
    >>> lstm_cell_gradient(none, none, one, zero, upstream=none, upstream_memory=one)[2].round(3)
    array([[1.]])
    """
    i, f, g, o = _lstm_gates(x, state, weights)
    squashed = tanh(f * memory + i * g)
    reaching = upstream_memory + upstream * o * (1.0 - squashed**2)
    d_input, d_forget = reaching * g * i * (1.0 - i), reaching * memory * f * (1.0 - f)
    d_candidate, d_output = reaching * i * (1.0 - g**2), upstream * squashed * o * (1.0 - o)
    delta = np.concatenate([d_input, d_forget, d_candidate, d_output], axis=-1)
    dx, dh, d_weights = _through_maps(x, state, weights, delta, delta)
    return dx, dh, reaching * f, d_weights


def gru_cell(x: Array, state: Array, weights: Weights) -> Array:
    r"""Reset $r = \sigma(xW_r + b_r + hU_r + c_r)$, update $z = \sigma(xW_z + b_z + hU_z + c_z)$, candidate
    $n = \tanh(xW_n + b_n + r \odot (hU_n + c_n))$; then $h_t = z \odot h_{t-1} + (1 - z) \odot n$.

    Order r, z, n; x (N, I), h (N, D) -> (N, D). Cho et al. (2014), equations 5-8; Chung et al. (2014) exchange z and
    1 - z. Equation (recurrent.5).

    >>> zero = Weights(np.zeros((1, 3)), np.zeros((1, 3)), np.array([0.0, 0.0, np.arctanh(0.5)]), np.zeros(3))
    >>> gru_cell(np.zeros((1, 1)), np.array([[1.0]]), zero)  # halfway between the state 1 and the candidate 0.5
    array([[0.75]])
    """
    _, z, n, _ = _gru_gates(x, state, weights)
    return z * state + (1.0 - z) * n


def gru_cell_gradient(x: Array, state: Array, weights: Weights, upstream: Array) -> tuple[Array, Array, Weights]:
    r"""With $s = hU_n + c_n$: $\nu = g(1-z)(1-n^2)$ reaches the candidate, $\rho = \nu s\, r(1-r)$ the reset gate,
    $\zeta = g(h - n) z(1-z)$ the update gate.

    $[\rho, \zeta, \nu]$ goes through W, $[\rho, \zeta, \nu r]$ through U, and $g \odot z$ straight to $h_{t-1}$.
    Equation (recurrent.6).

    >>> zero = Weights(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(3), np.zeros(3))
    >>> one = np.ones((1, 1))
    >>> gru_cell_gradient(one, one, zero, upstream=one)[1]  # z = 1/2 of it comes straight back
    array([[0.5]])
    """
    r, z, n, scored = _gru_gates(x, state, weights)
    to_candidate = upstream * (1.0 - z) * (1.0 - n**2)
    to_reset = to_candidate * scored * r * (1.0 - r)
    to_update = upstream * (state - n) * z * (1.0 - z)
    by_input = np.concatenate([to_reset, to_update, to_candidate], axis=-1)
    by_state = np.concatenate([to_reset, to_update, to_candidate * r], axis=-1)
    dx, dh, d_weights = _through_maps(x, state, weights, by_input, by_state)
    return dx, dh + upstream * z, d_weights


def rnn(x: Array, state: Array, weights: Weights) -> Array:
    r"""$h_1 \dots h_T$ of ``rnn_cell``; x (T, N, I), h_0 (N, D) -> (T, N, D). Equation (recurrent.7).

    >>> half = Weights(np.array([[0.5]]), np.array([[0.5]]), np.zeros(1), np.zeros(1))
    >>> rnn(np.array([[[1.0]], [[0.0]]]), np.zeros((1, 1)), half).ravel().round(4)  # tanh 0.5, tanh of half of that
    array([0.4621, 0.227 ])
    """
    return _unroll(rnn_cell, x, state, weights)


def rnn_gradient(x: Array, state: Array, weights: Weights, upstream: Array) -> tuple[Array, Array, Weights]:
    r"""Back-propagation through time: $dh_t$ is what the loss says there, plus what step t + 1 hands back; the same
    weights served every step, so their gradients add up.

    upstream (T, N, D) -> dx (T, N, I), dh_0 (N, D), dweights. Werbos (1990), section III. Equation (recurrent.8).

    >>> half = Weights(np.array([[0.5]]), np.array([[0.5]]), np.zeros(1), np.zeros(1))
    >>> only_last = np.array([[[0.0]], [[1.0]]])
    >>> dx, _, _ = rnn_gradient(np.zeros((2, 1, 1)), np.zeros((1, 1)), half, only_last)
    >>> dx.ravel()  # one step further back, one more factor of U = 0.5
    array([0.25, 0.5 ])
    """
    return _back_through_time(rnn_cell, rnn_cell_gradient, x, state, weights, upstream)


def gru(x: Array, state: Array, weights: Weights) -> Array:
    r"""$h_1 \dots h_T$ of ``gru_cell``; x (T, N, I), h_0 (N, D) -> (T, N, D). Equation (recurrent.7).

    >>> zero = Weights(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(3), np.zeros(3))
    >>> gru(np.zeros((2, 1, 1)), np.ones((1, 1)), zero).ravel()  # halfway to 0, twice
    array([0.5 , 0.25])
    """
    return _unroll(gru_cell, x, state, weights)


def gru_gradient(x: Array, state: Array, weights: Weights, upstream: Array) -> tuple[Array, Array, Weights]:
    r"""Back-propagation through time, as ``rnn_gradient``. Equation (recurrent.8).

    >>> zero = Weights(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(3), np.zeros(3))
    >>> gru_gradient(np.zeros((2, 1, 1)), np.zeros((1, 1)), zero, np.array([[[0.0]], [[1.0]]]))[1]
    array([[0.25]])
    """
    return _back_through_time(gru_cell, gru_cell_gradient, x, state, weights, upstream)


def lstm(x: Array, state: Array, memory: Array, weights: Weights) -> tuple[Array, Array]:
    r"""$h_1 \dots h_T$ and $m_1 \dots m_T$ of ``lstm_cell``; x (T, N, I), h_0, m_0 (N, D) -> twice (T, N, D).
    Equation (recurrent.7).

    >>> zero = Weights(np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(4), np.zeros(4))
    >>> lstm(np.zeros((2, 1, 1)), np.zeros((1, 1)), np.ones((1, 1)), zero)[1].ravel()  # half is forgotten, twice
    array([0.5 , 0.25])
    """
    states, memories = [], []
    for token in x:
        state, memory = lstm_cell(token, state, memory, weights)
        states.append(state)
        memories.append(memory)
    return np.stack(states), np.stack(memories)


def lstm_gradient(
    x: Array, state: Array, memory: Array, weights: Weights, upstream: Array
) -> tuple[Array, Array, Array, Weights]:
    r"""Back-propagation through time along both paths, state and memory; upstream (T, N, D), of the states, -> dx
    (T, N, I), dh_0, dm_0 (N, D), dweights. Equation (recurrent.8).

    >>> open_ = Weights(np.zeros((1, 4)), np.zeros((1, 4)), np.array([0.0, 99.0, 0.0, 99.0]), np.zeros(4))
    >>> only_last = np.zeros((100, 1, 1)); only_last[-1] = 1.0
    >>> lstm_gradient(np.zeros((100, 1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), open_, only_last)[2]
    array([[1.]])
    """
    states, memories = lstm(x, state, memory, weights)
    before = zip([state, *states[:-1]], [memory, *memories[:-1]], strict=True)
    d_state, d_memory, parts = np.zeros_like(state), np.zeros_like(memory), []
    for token, (h, m), g in reversed(list(zip(x, before, upstream, strict=True))):
        dx, d_state, d_memory, d_weights = lstm_cell_gradient(token, h, m, weights, g + d_state, d_memory)
        parts.append((dx, d_weights))
    return np.stack([dx for dx, _ in reversed(parts)]), d_state, d_memory, _added([part for _, part in parts])


def _unroll(cell: Cell, x: Array, state: Array, weights: Weights) -> Array:
    states = []
    for token in x:
        state = cell(token, state, weights)
        states.append(state)
    return np.stack(states)


def _back_through_time(
    cell: Cell, cell_gradient: CellGradient, x: Array, state: Array, weights: Weights, upstream: Array
) -> tuple[Array, Array, Weights]:
    before = [state, *_unroll(cell, x, state, weights)[:-1]]
    d_state, parts = np.zeros_like(state), []
    for token, h, g in reversed(list(zip(x, before, upstream, strict=True))):
        dx, d_state, d_weights = cell_gradient(token, h, weights, g + d_state)
        parts.append((dx, d_weights))
    return np.stack([dx for dx, _ in reversed(parts)]), d_state, _added([part for _, part in parts])


def _added(parts: list[Weights]) -> Weights:
    return Weights(*(sum(each[1:], start=each[0]) for each in zip(*parts, strict=True)))


def _through_maps(
    x: Array, state: Array, weights: Weights, by_input: Array, by_state: Array
) -> tuple[Array, Array, Weights]:
    """Gradients of xW + b and hU + c, given those of their results, (N, G·D) each."""
    learned = Weights(x.T @ by_input, state.T @ by_state, by_input.sum(axis=0), by_state.sum(axis=0))
    return by_input @ weights.input.T, by_state @ weights.recurrent.T, learned


def _lstm_gates(x: Array, state: Array, weights: Weights) -> tuple[Array, Array, Array, Array]:
    before = x @ weights.input + weights.input_bias + state @ weights.recurrent + weights.recurrent_bias
    i, f, g, o = np.split(before, 4, axis=-1)
    return sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)


def _gru_gates(x: Array, state: Array, weights: Weights) -> tuple[Array, Array, Array, Array]:
    """Return r, z, n, and hU_n + c_n."""
    r, z, n = np.split(x @ weights.input + weights.input_bias, 3, axis=-1)
    from_r, from_z, scored = np.split(state @ weights.recurrent + weights.recurrent_bias, 3, axis=-1)
    reset = sigmoid(r + from_r)
    return reset, sigmoid(z + from_z), tanh(n + reset * scored), scored
