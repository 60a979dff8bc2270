r"""Recurrent encoder-decoders with attention: at every step the decoder looks back at all of the source.

- Additive attention: Bahdanau, Cho and Bengio (2015), "Neural machine translation by jointly learning to align and
  translate", section 3.1 and appendix A.1.2.
- Multiplicative attention: Luong, Pham and Manning (2015), "Effective approaches to attention-based neural machine
  translation", section 3.1 ("general"), and its other two forms, "dot" and "concat".

And how an encoder-decoder learns from text alone, by filling its gaps: Raffel et al. (2020), "Exploring the limits of
transfer learning with a unified text-to-text Transformer", section 3.1.4.

Legend: N rows (texts side by side), S source tokens, Q width of the decoder's state (the query), K width of the
encoder's states (the annotations: keys and values in one), A width of the alignment model, I width of a target token.
A mask is boolean, (N, S), True where a source token is real. A gradient function takes the upstream gradient
dL/d(context).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.networks import softmax, softmax_gradient, tanh
from zhixing.theory.recurrent import Weights, gru_cell

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]


class Alignment(NamedTuple):
    """What additive attention learns; also its gradient, part by part."""

    query: Array  # (Q, A): W_a
    key: Array  # (K, A): U_a
    score: Array  # (A,): v_a


def additive_scores(query: Array, annotations: Array, alignment: Alignment) -> Array:
    r"""$e_j = v_a^\top \tanh(s W_a + h_j U_a)$; s (N, Q), h (N, S, K) -> (N, S). Bahdanau et al. (2015), A.1.2.
    Equation (sequence_to_sequence.1).

    >>> one = Alignment(np.array([[1.0]]), np.array([[1.0]]), np.array([2.0]))
    >>> additive_scores(np.array([[0.5]]), np.array([[[0.5], [-0.5]]]), one).round(4)  # 2 tanh 1, 2 tanh 0
    array([[1.5232, 0.    ]])
    """
    return tanh((query @ alignment.query)[:, None] + annotations @ alignment.key) @ alignment.score


def multiplicative_scores(query: Array, annotations: Array, weight: Array) -> Array:
    r"""$e_j = s\,W_a\,h_j^\top$; s (N, Q), h (N, S, K), W (Q, K) -> (N, S). Luong et al. (2015), equation 8.
    Equation (sequence_to_sequence.2).

    >>> multiplicative_scores(np.array([[2.0]]), np.array([[[3.0], [-1.0]]]), np.array([[0.5]]))
    array([[ 3., -1.]])
    """
    return np.einsum("nk,nsk->ns", query @ weight, annotations)


def dot_scores(query: Array, annotations: Array) -> Array:
    r"""$e_j = s\,h_j^\top$; s (N, K), h (N, S, K) -> (N, S). Luong et al. (2015), equation 8, "dot".
    Equation (sequence_to_sequence.3).

    >>> dot_scores(np.array([[2.0, 1.0]]), np.array([[[3.0, 0.0], [0.0, -1.0]]]))
    array([[ 6., -1.]])
    """
    return np.einsum("nk,nsk->ns", query, annotations)


def concat_scores(query: Array, annotations: Array, weight: Array, score: Array) -> Array:
    r"""$e_j = v_a^\top \tanh([s; h_j]\,W_a)$; s (N, Q), h (N, S, K), W (Q + K, A), v (A,) -> (N, S).
    Luong et al. (2015), equation 8, "concat". Equation (sequence_to_sequence.4).

    >>> weight = np.array([[1.0], [1.0]])
    >>> source, score = np.array([[[0.5], [-0.5]]]), np.array([2.0])
    >>> concat_scores(np.array([[0.5]]), source, weight, score).round(4)  # 2 tanh 1, 2 tanh 0
    array([[1.5232, 0.    ]])
    """
    beside = np.broadcast_to(query[:, None], (*annotations.shape[:2], query.shape[-1]))
    return tanh(np.concatenate([beside, annotations], axis=-1) @ weight) @ score


def attend(scores: Array, annotations: Array, mask: Mask | None = None) -> tuple[Array, Array]:
    r"""$\alpha = \mathrm{softmax}(e)$, $c = \sum_j \alpha_j h_j$; e (N, S), h (N, S, K) -> c (N, K), alpha (N, S).
    Bahdanau et al. (2015), equations 5-6. Equation (sequence_to_sequence.5).

    >>> context, weights = attend(np.log([[1.0, 3.0]]), np.array([[[0.0], [4.0]]]))
    >>> weights, context
    (array([[0.25, 0.75]]), array([[3.]]))
    """
    weights = softmax(scores if mask is None else np.where(mask, scores, -np.inf))
    return np.einsum("ns,nsk->nk", weights, annotations), weights


def additive_attention(
    query: Array, annotations: Array, alignment: Alignment, mask: Mask | None = None
) -> tuple[Array, Array]:
    r"""The context c (N, K) by additive scores, and the weights (N, S): a soft alignment.
    Equation (sequence_to_sequence.5).

    >>> one = Alignment(np.array([[1.0]]), np.array([[0.0]]), np.array([1.0]))
    >>> additive_attention(np.ones((1, 1)), np.array([[[2.0], [4.0]]]), one)[0]  # equal scores: the mean
    array([[3.]])
    """
    return attend(additive_scores(query, annotations, alignment), annotations, mask)


def additive_attention_gradient(
    query: Array, annotations: Array, alignment: Alignment, mask: Mask | None, upstream: Array
) -> tuple[Array, Array, Alignment]:
    r"""With $u_j = \tanh(\cdot)$ and $\epsilon = dL/de$: $\delta_j = \epsilon_j v_a \odot (1 - u_j^2)$, then
    $ds = \sum_j \delta_j W_a^\top$, $dh_j = \alpha_j g + \delta_j U_a^\top$, $dW_a = s^\top \sum_j \delta_j$,
    $dU_a = \sum_j h_j^\top \delta_j$, $dv_a = \sum_j \epsilon_j u_j$.

    upstream g (N, K) -> ds (N, Q), dh (N, S, K), dalignment. Equation (sequence_to_sequence.6).

    >>> one = Alignment(np.array([[1.0]]), np.array([[1.0]]), np.array([1.0]))
    >>> grown = additive_attention_gradient(np.ones((1, 1)), np.array([[[7.0]]]), one, None, np.ones((1, 1)))
    >>> grown[0], grown[1]  # one annotation: nothing to choose, it passes through
    (array([[0.]]), array([[[1.]]]))
    """
    u = tanh((query @ alignment.query)[:, None] + annotations @ alignment.key)
    d_scores, direct = _attend_gradient(u @ alignment.score, annotations, mask, upstream)
    delta = d_scores[..., None] * alignment.score * (1.0 - u**2)
    d_alignment = Alignment(
        query.T @ delta.sum(axis=1),
        np.einsum("nsk,nsa->ka", annotations, delta),
        np.einsum("ns,nsa->a", d_scores, u),
    )
    return delta.sum(axis=1) @ alignment.query.T, direct + delta @ alignment.key.T, d_alignment


def multiplicative_attention(
    query: Array, annotations: Array, weight: Array, mask: Mask | None = None
) -> tuple[Array, Array]:
    r"""The context c (N, K) by multiplicative scores, and the weights (N, S). Equation (sequence_to_sequence.5).

    >>> context, weights = multiplicative_attention(np.zeros((1, 1)), np.array([[[2.0], [4.0]]]), np.ones((1, 1)))
    >>> context, weights
    (array([[3.]]), array([[0.5, 0.5]]))
    """
    return attend(multiplicative_scores(query, annotations, weight), annotations, mask)


def multiplicative_attention_gradient(
    query: Array, annotations: Array, weight: Array, mask: Mask | None, upstream: Array
) -> tuple[Array, Array, Array]:
    r"""With $\epsilon = dL/de$ and $a = \sum_j \epsilon_j h_j$: $ds = a W_a^\top$, $dW_a = s^\top a$,
    $dh_j = \alpha_j g + \epsilon_j\, s W_a$.

    upstream g (N, K) -> ds (N, Q), dh (N, S, K), dW (Q, K). Equation (sequence_to_sequence.7).

    >>> two = np.array([[[0.0], [2.0]]])
    >>> multiplicative_attention_gradient(np.zeros((1, 1)), two, np.ones((1, 1)), None, np.ones((1, 1)))[0]
    array([[1.]])
    """
    scores = multiplicative_scores(query, annotations, weight)
    d_scores, direct = _attend_gradient(scores, annotations, mask, upstream)
    pulled = np.einsum("ns,nsk->nk", d_scores, annotations)
    d_annotations = direct + d_scores[..., None] * (query @ weight)[:, None]
    return pulled @ weight.T, d_annotations, query.T @ pulled


def additive_decoder_step(
    token: Array, state: Array, annotations: Array, alignment: Alignment, weights: Weights, mask: Mask | None = None
) -> tuple[Array, Array]:
    r"""First look, then move: $c_i$ by additive attention from $s_{i-1}$, then $s_i = \mathrm{GRU}([y_{i-1}; c_i],
    s_{i-1})$.

    token y (N, I), state s (N, Q), weights of a GRU that reads (N, I + K) -> s_i (N, Q), the attention weights (N, S).
    Bahdanau et al. (2015), section 3.1 and A.1.1. Equation (sequence_to_sequence.8).

    >>> none = Weights(np.zeros((2, 3)), np.zeros((1, 3)), np.zeros(3), np.zeros(3))
    >>> look = Alignment(np.ones((1, 1)), np.ones((1, 1)), np.ones(1))
    >>> additive_decoder_step(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 2, 1)), look, none)
    (array([[0.5]]), array([[0.5, 0.5]]))
    """
    context, looked = additive_attention(state, annotations, alignment, mask)
    return gru_cell(np.concatenate([token, context], axis=-1), state, weights), looked


def multiplicative_decoder_step(
    state: Array, annotations: Array, weight: Array, combine: Array, mask: Mask | None = None
) -> tuple[Array, Array]:
    r"""First move, then look: from the state $s_i$ that the cell has just reached, $c_i$ by multiplicative attention
    and the attentional state $\tilde s_i = \tanh([c_i; s_i] W_c)$, which predicts the word and is fed into the next
    step.

    state (N, Q), combine W_c (K + Q, Q) -> (N, Q), the attention weights (N, S). Luong et al. (2015), equation 5 and
    section 3.3. Equation (sequence_to_sequence.9).

    >>> state, source = np.array([[1.0]]), np.array([[[0.5], [0.5]]])
    >>> multiplicative_decoder_step(state, source, np.ones((1, 1)), np.array([[2.0], [0.0]]))[0].round(4)  # tanh 1
    array([[0.7616]])
    """
    context, looked = multiplicative_attention(state, annotations, weight, mask)
    return tanh(np.concatenate([context, state], axis=-1) @ combine), looked


def span_counts(tokens: int, share: float, span: float) -> tuple[int, int]:
    r"""$n = \mathrm{clip}(\mathrm{round}(T r), 1, T - 1)$ tokens dropped in
    $m = \min\bigl(\max(\mathrm{round}(n / \ell), 1),\ n,\ T - n\bigr)$ spans. Raffel et al. (2020), section 3.1.4 and
    their published code. Equation (sequence_to_sequence.10).

    >>> span_counts(512, share=0.15, span=3.0)
    (77, 26)
    """
    dropped = min(max(round(tokens * share), 1), tokens - 1)
    return dropped, min(max(round(dropped / span), 1), dropped, tokens - dropped)


def corrupt_spans(ids: Ids, kept: Ids, dropped: Ids, sentinels: Ids) -> tuple[Ids, Ids]:
    r"""With the text cut as $k_1 d_1 k_2 d_2 \dots k_m d_m$: source $k_1 z_1 k_2 z_2 \dots k_m z_m$ and target
    $z_1 d_1 z_2 d_2 \dots z_m d_m z_{m+1}$.

    ids (T,), lengths of the parts kept and dropped (m,) each, sentinels z (m + 1,). Raffel et al. (2020), figure 2.
    Equation (sequence_to_sequence.11).

    >>> source, target = corrupt_spans(np.arange(5), np.array([1, 1]), np.array([2, 1]), np.array([91, 92, 93]))
    >>> source.tolist(), target.tolist()
    ([0, 91, 3, 92], [91, 1, 2, 92, 4, 93])
    """
    parts = np.split(ids, np.cumsum(np.stack([kept, dropped], axis=1))[:-1])
    source = [np.append(part, z) for part, z in zip(parts[::2], sentinels, strict=False)]
    target = [np.append(z, part) for part, z in zip(parts[1::2], sentinels, strict=False)]
    return np.concatenate(source), np.append(np.concatenate(target), sentinels[len(kept)])


def fill_spans(source: Ids, target: Ids, sentinels: Ids) -> Ids:
    r"""The inverse: every $z_i$ of the source replaced by what follows it in the target. Equation
    (sequence_to_sequence.12).

    >>> fill_spans(np.array([0, 91, 3, 92]), np.array([91, 1, 2, 92, 4, 93]), np.array([91, 92, 93])).tolist()
    [0, 1, 2, 3, 4]
    """
    pieces = np.split(target, np.flatnonzero(np.isin(target, sentinels)))[1:]
    filling = {int(piece[0]): piece[1:] for piece in pieces}
    return np.concatenate([filling.get(int(token), np.array([token])) for token in source])


def _attend_gradient(scores: Array, annotations: Array, mask: Mask | None, upstream: Array) -> tuple[Array, Array]:
    """dL/d(scores) (N, S), and the direct part of dL/d(annotations) (N, S, K): each token's weight of the upstream."""
    allowed = scores if mask is None else np.where(mask, scores, -np.inf)
    d_scores = softmax_gradient(allowed, np.einsum("nk,nsk->ns", upstream, annotations))
    return d_scores, softmax(allowed)[..., None] * upstream[:, None]
