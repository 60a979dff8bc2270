r"""Whole Transformer blocks and models as compositions of the other formulas: the encoder-decoder of Vaswani et al.
(2017), the GPT-2 and the Llama layout.

Weights are stored as x @ weight, (inputs, outputs). Legend: T tokens, S tokens of a source, D width, H
heads, G key-value heads, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhixing.theory.attention import (
    Projections,
    attention,
    causal_mask,
    grouped_query_attention,
    join_heads,
    split_heads,
    window_mask,
)
from zhixing.theory.networks import affine, gelu_tanh, relu, swiglu
from zhixing.theory.normalisation import layer_norm, rms_norm
from zhixing.theory.positions import learned, rotary

Array = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Affine = tuple[Array, Array]
"""Weight (I, O) and bias (O,); or a norm's gain (D,) and shift (D,)."""


class Gpt2Block(NamedTuple):
    """The weights of one GPT-2 block."""

    attention_norm: Affine  # (D,), (D,)
    query_key_value: Affine  # (D, 3D), (3D,)
    output: Affine  # (D, D), (D,)
    feed_forward_norm: Affine  # (D,), (D,)
    up: Affine  # (D, F), (F,)
    down: Affine  # (F, D), (D,)


class LlamaBlock(NamedTuple):
    """The weights of one Llama block."""

    attention_norm: Array  # (D,)
    projections: Projections  # (D, H·E), (D, G·E), (D, G·E), (H·E, D)
    feed_forward_norm: Array  # (D,)
    gate: Array  # (D, F)
    up: Array  # (D, F)
    down: Array  # (F, D)
    head_norms: tuple[Array, Array] | None = None  # (E,), (E,): gains for queries and keys; None: no such norm
    biases: tuple[Array | float, ...] = (0.0, 0.0, 0.0)  # (H·E,), (G·E,), (G·E,): of queries, keys, values


class Maps(NamedTuple):
    """The affine maps of an attention, each (D, D) with (D,)."""

    query: Affine
    key: Affine
    value: Affine
    output: Affine


class PostNormBlock(NamedTuple):
    """The weights of one block of 2017; ``cross`` and its norm are those of a decoder's block."""

    attention: Maps
    attention_norm: Affine  # (D,), (D,)
    up: Affine  # (D, F), (F,)
    down: Affine  # (F, D), (D,)
    feed_forward_norm: Affine  # (D,), (D,)
    cross: Maps | None = None
    cross_norm: Affine | None = None  # (D,), (D,)


def gpt2_block(x: Array, block: Gpt2Block, heads: int, mask: Mask) -> Array:
    r"""$x \leftarrow x + \mathrm{Attention}(\mathrm{LN}(x))$, then
    $x \leftarrow x + \mathrm{GELU}(\mathrm{LN}(x)W_1)W_2$; (T, D) -> (T, D).

    The norms stand before each sub-layer, not after it. Radford et al. (2019), section 2.3. Equation (transformer.1).

    >>> norm, zero = (np.ones(2), np.zeros(2)), (np.zeros((2, 2)), np.zeros(2))
    >>> query_key_value, down = (np.zeros((2, 6)), np.zeros(6)), (np.zeros((2, 2)), np.ones(2))
    >>> block = Gpt2Block(norm, query_key_value, zero, norm, zero, down)
    >>> gpt2_block(np.array([[3.0, 5.0]]), block, heads=1, mask=causal_mask(1, 1))  # only the last bias acts
    array([[4., 6.]])
    """
    projected = affine(layer_norm(x, *block.attention_norm), *block.query_key_value)
    query, key, value = (split_heads(part, heads) for part in np.split(projected, 3, axis=-1))
    x = x + affine(join_heads(attention(query, key, value, mask)), *block.output)
    hidden = gelu_tanh(affine(layer_norm(x, *block.feed_forward_norm), *block.up))
    return x + affine(hidden, *block.down)


def llama_block(
    x: Array,
    block: LlamaBlock,
    heads: tuple[int, int],
    mask: Mask,
    base: float = 10000.0,
    epsilon: float = 1e-5,
) -> Array:
    r"""$x \leftarrow x + \mathrm{Attention}(\mathrm{RMS}(x))$, then
    $x \leftarrow x + \mathrm{SwiGLU}(\mathrm{RMS}(x))$; (T, D) -> (T, D).

    ``heads`` is (H, G); queries and keys are turned by their positions. Touvron et al. (2023a), section 2.2;
    (2023b), section 2.2. With ``head_norms`` they are normalised first, so that no product of a query and a
    key is larger than the gains allow: Henry et al. (2020), section 3; the layout is then Qwen3's. With
    ``biases`` it is Qwen2's, with a window mask Mistral's: Qwen Team (2024), section 2.2; Jiang et al. (2023),
    section 2.
    Equation (transformer.2).

    >>> one, zero = np.ones(2), np.zeros((2, 2))
    >>> block = LlamaBlock(one, Projections(zero, zero, np.eye(2), np.eye(2)), one, zero, zero, zero)
    >>> llama_block(np.array([[1.0, 7.0]]), block, (1, 1), causal_mask(1, 1), epsilon=0.0)  # x + x / 5
    array([[1.2, 8.4]])
    """
    normal, weights = rms_norm(x, block.attention_norm, epsilon), block.projections
    parts = zip(weights[:3], block.biases, (heads[0], heads[1], heads[1]), strict=True)
    query, key, value = (split_heads(normal @ weight + bias, count) for weight, bias, count in parts)
    if block.head_norms:
        query, key = (rms_norm(q, g, epsilon) for q, g in zip((query, key), block.head_norms, strict=True))
    query, key = (rotary(part, np.arange(x.shape[-2]), base) for part in (query, key))
    x = x + join_heads(grouped_query_attention(query, key, value, mask)) @ weights.output
    return x + swiglu(rms_norm(x, block.feed_forward_norm, epsilon), block.gate, block.up, block.down)


def gpt2_logits(
    ids: Ids, embedding: Array, positions: Array, blocks: Sequence[Gpt2Block], final_norm: Affine, heads: int
) -> Array:
    r"""$\mathrm{LN}(\mathrm{blocks}(E_{w} + P_{0:T}))\,E^\top$, the embedding (V, D) used at both ends; ids
    (T,) -> (T, V).

    Radford et al. (2018), equation 2; the tie is Press and Wolf (2017). Equation (transformer.3).

    >>> norm = (np.ones(2), np.zeros(2))
    >>> gpt2_logits(np.array([0]), np.eye(2), np.zeros((4, 2)), [], norm, heads=1).round(3)
    array([[ 1., -1.]])
    """
    x = embedding[ids] + learned(np.arange(len(ids)), positions)
    mask = causal_mask(len(ids), len(ids))
    for block in blocks:
        x = gpt2_block(x, block, heads, mask)
    return layer_norm(x, *final_norm) @ embedding.T


def llama_logits(
    ids: Ids,
    embedding: Array,
    blocks: Sequence[LlamaBlock],
    final_norm: Array,
    unembedding: Array,
    heads: tuple[int, int],
    base: float = 10000.0,
    epsilon: float = 1e-5,
    window: int | None = None,
) -> Array:
    r"""$\mathrm{RMS}(\mathrm{blocks}(E_{w}))\,U$; embedding (V, D), unembedding (D, V), ids (T,) -> (T, V).
    Touvron et al. (2023a); with a ``window`` Jiang et al. (2023). Equation (transformer.4).

    >>> eye = np.eye(2)
    >>> llama_logits(np.array([0]), eye, [], np.ones(2), eye, (1, 1), epsilon=0.0).round(3)
    array([[1.414, 0.   ]])
    """
    x = embedding[ids]
    mask = window_mask(len(ids), len(ids), len(ids) if window is None else window)
    for block in blocks:
        x = llama_block(x, block, heads, mask, base, epsilon)
    return rms_norm(x, final_norm, epsilon) @ unembedding


def attend_to(x: Array, memory: Array, maps: Maps, heads: int, mask: Mask | None = None) -> Array:
    r"""$\mathrm{Attention}(x, m) = \mathrm{concat}_h\,\mathrm{attention}(xW_q, mW_k, mW_v)\,W_o$, biases on every map;
    x (T, D), m (S, D) -> (T, D).

    With m = x it is self-attention. Vaswani et al. (2017), section 3.2.2. Equation (transformer.5).

    >>> same, nothing = (np.eye(2), np.zeros(2)), (np.zeros((2, 2)), np.zeros(2))
    >>> attend_to(np.ones((1, 2)), np.array([[2.0, 0.0], [4.0, 2.0]]), Maps(nothing, nothing, same, same), heads=1)
    array([[3., 1.]])
    """
    pairs = ((x, maps.query), (memory, maps.key), (memory, maps.value))
    query, key, value = (split_heads(affine(each, *pair), heads) for each, pair in pairs)
    return affine(join_heads(attention(query, key, value, mask)), *maps.output)


def post_norm_block(
    x: Array, block: PostNormBlock, heads: int, mask: Mask | None = None, memory: Array | None = None
) -> Array:
    r"""$x \leftarrow \mathrm{LN}(x + \mathrm{Attention}(x, x))$, in a decoder $x \leftarrow \mathrm{LN}(x +
    \mathrm{Attention}(x, m))$, then $x \leftarrow \mathrm{LN}(x + \mathrm{ReLU}(xW_1 + b_1)W_2 + b_2)$;
    (T, D) -> (T, D).

    The norms stand after each sum. Vaswani et al. (2017), sections 3.1 and 3.3. Equation (transformer.6).

    >>> norm, zero = (np.ones(2), np.zeros(2)), (np.zeros((2, 2)), np.zeros(2))
    >>> block = PostNormBlock(Maps(zero, zero, zero, zero), norm, zero, zero, norm)
    >>> post_norm_block(np.array([[3.0, 5.0]]), block, heads=1).round(3)  # nothing is added: only the norms act
    array([[-1.,  1.]])
    """
    x = layer_norm(x + attend_to(x, x, block.attention, heads, mask), *block.attention_norm)
    if memory is not None and block.cross is not None and block.cross_norm is not None:
        x = layer_norm(x + attend_to(x, memory, block.cross, heads), *block.cross_norm)
    return layer_norm(x + affine(relu(affine(x, *block.up)), *block.down), *block.feed_forward_norm)


def encoder_decoder_logits(
    source: Ids,
    target: Ids,
    embedding: Array,
    positions: Array,
    encoder: Sequence[PostNormBlock],
    decoder: Sequence[PostNormBlock],
    heads: int,
) -> Array:
    r"""$m = \mathrm{encoder}(\sqrt{D} E_{w} + P)$ of the source, then $\mathrm{decoder}(\sqrt{D} E_{y} + P,\, m)E^\top$
    of the target, which sees no later place; w (S,), y (T,) -> (T, V).

    One table (V, D) serves all three; P are sinusoids (P, D). Vaswani et al. (2017), sections 3.1, 3.4 and 3.5.
    Equation (transformer.7).

    >>> one, no_blocks = np.eye(2), ()
    >>> ids = np.array([1])
    >>> encoder_decoder_logits(ids, ids, one, np.zeros((4, 2)), no_blocks, no_blocks, heads=1).round(3)  # sqrt 2
    array([[0.   , 1.414]])
    """
    scale = embedding.shape[1] ** 0.5
    memory = scale * embedding[source] + positions[: len(source)]
    for block in encoder:
        memory = post_norm_block(memory, block, heads)
    x = scale * embedding[target] + positions[: len(target)]
    for block in decoder:
        x = post_norm_block(x, block, heads, causal_mask(len(target), len(target)), memory)
    return x @ embedding.T
