"""The steps of recurrent decoders with attention against ``zhixing.nn.recurrent_attention``, and the Transformer of
2017 against ``zhixing.models.transformer``.

Formulas take weights as ``x @ weight``, production holds them transposed; but for the multiplicative matrix, which both
have as (Q, K). Production has sines and cosines of positions in halves, the formula in turns: the row hands the formula
the same features in production's order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.models.transformer import Transformer, TransformerSettings
from zhixing.nn import recurrent_attention as practice
from zhixing.theory import sequence_to_sequence as theory
from zhixing.theory import transformer
from zhixing.theory.positions import sinusoidal
from zhixing.theory.recurrent import Weights

TEXTS, SOURCE, TOKEN, KEY, WIDTH = 3, 5, 4, 6, 4
LOOK = ("attention.query.weight", "attention.key.weight", "attention.score.weight")
MOVE = ("layer.input.weight", "layer.recurrent.weight", "layer.input.bias", "layer.recurrent.bias")
SHAPES = dict(
    zip(
        LOOK + MOVE,
        ((WIDTH, WIDTH), (WIDTH, KEY), (1, WIDTH), (3 * WIDTH, TOKEN + KEY), (3 * WIDTH, WIDTH), (3 * WIDTH,),
         (3 * WIDTH,)),
        strict=True,
    )
)  # fmt: skip
MASK = np.arange(SOURCE) < np.array([[5], [2], [3]])

SHAPE = TransformerSettings(
    vocab_size=11, context_length=9, layers=2, decoder_layers=1, width=12, heads=3, inner_width=20
)


def _additive_theory(token: Any, state: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    look = theory.Alignment(weights[LOOK[0]].T, weights[LOOK[1]].T, weights[LOOK[2]][0])
    return theory.additive_decoder_step(
        token, state, annotations, look, Weights(*(weights[name].T for name in MOVE)), mask
    )[0]


def _additive_practice(token: Any, state: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    brick = practice.LookThenMove("gru", TOKEN, KEY, WIDTH).to(token)
    return functional_call(brick, weights, (token, (state,), practice.Source(annotations, None, mask)))[1][0]


def _multiplicative_theory(state: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    matrix, combine = weights["attention.key.weight"], weights["combine.weight"].T
    return theory.multiplicative_decoder_step(state, annotations, matrix, combine, mask)[0]


def _multiplicative_practice(state: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    brick = practice.MoveThenLook(KEY, WIDTH).to(state)
    return functional_call(brick, weights, (state[:, None], practice.Source(annotations, None, mask)))[:, 0]


class _Logits(nn.Module):
    """The network from a source and a target to logits, at once or through its cache."""

    def __init__(self, cached: bool) -> None:
        super().__init__()
        self.network, self.cached = Transformer(SHAPE), cached

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory = self.network.encode(source[None])
        if not self.cached:
            hidden = self.network.decode(target[None], memory)
        else:
            cache, parts = self.network.new_cache(1), (target[None, :2], target[None, 2:-1], target[None, -1:])
            hidden = torch.cat([self.network.decode(part, memory, cache=cache) for part in parts], dim=1)
        return hidden[0] @ self.network.head_weight.T


def _original_practice(cached: bool) -> Any:
    def logits(source: Any, target: Any, **weights: Any) -> Any:
        module = _Logits(cached).to(weights["token_embedding.weight"]).eval()
        with torch.set_grad_enabled(not cached):
            return functional_call(
                module, {f"network.{name}": each for name, each in weights.items()}, (source, target)
            )

    return logits


def _original_theory(source: Any, target: Any, **weights: Any) -> Any:
    def pair(name: str) -> Any:
        return weights[f"{name}.weight"].T, weights[f"{name}.bias"]

    def maps(*names: str, output: str) -> transformer.Maps:
        matrix, bias = (np.concatenate(parts, axis=-1) for parts in zip(*map(pair, names), strict=True))
        query, key, value = zip(np.split(matrix, 3, axis=1), np.split(bias, 3), strict=True)
        return transformer.Maps(query, key, value, pair(output))

    def block(name: str, crosses: bool) -> transformer.PostNormBlock:
        look = maps(f"{name}.attention.query_key_value", output=f"{name}.attention.output")
        cross = None
        if crosses:
            cross = maps(f"{name}.cross.query", f"{name}.cross.key_value", output=f"{name}.cross.output")
        return transformer.PostNormBlock(
            look,
            pair(f"{name}.attention_norm"),
            pair(f"{name}.feed_forward.expand"),
            pair(f"{name}.feed_forward.contract"),
            pair(f"{name}.feed_forward_norm"),
            cross,
            pair(f"{name}.cross_norm") if crosses else None,
        )

    in_turns = sinusoidal(np.arange(9), SHAPE.width)
    return transformer.encoder_decoder_logits(
        source,
        target,
        weights["token_embedding.weight"],
        np.concatenate([in_turns[:, 0::2], in_turns[:, 1::2]], axis=1),
        [block(f"blocks.encoder.{layer}", False) for layer in range(SHAPE.layers)],
        [block(f"blocks.decoder.{layer}", True) for layer in range(SHAPE.writing_layers)],
        SHAPE.heads,
    )


def _original_inputs(rng: np.random.Generator) -> dict[str, Any]:
    inputs: dict[str, Any] = {"source": rng.integers(11, size=7), "target": rng.integers(11, size=5)}
    for name, weight in Transformer(SHAPE).named_parameters():
        drawn = rng.normal(size=tuple(weight.shape))
        if "norm" in name:
            inputs[name] = name.endswith("weight") + 0.3 * drawn
        else:
            inputs[name] = 0.5 * drawn if "embedding" in name else drawn * weight.shape[-1] ** -0.5
    return inputs


def _original(cached: bool) -> Row:
    return Row(
        name="transformer.original" + ("_with_cache" if cached else ""),
        family="transformer",
        states=(transformer.encoder_decoder_logits, transformer.post_norm_block, transformer.attend_to),
        theory=_original_theory,
        practice=_original_practice(cached),
        inputs=_original_inputs,
        tolerance=64.0,
        reason="three blocks, each of up to seven layers of sums of at most 20 products; sinusoids rounded in float32",
        coarsest="float32",  # no gradients: differences across the corner of a ReLU measure nothing
    )


ROWS: tuple[Row, ...] = (
    Row(
        name="recurrent.additive_decoder_step",
        family="recurrent",
        states=(theory.additive_decoder_step,),
        theory=_additive_theory,
        practice=_additive_practice,
        inputs=draw(
            token=normal(TEXTS, TOKEN),
            state=normal(TEXTS, WIDTH),
            annotations=normal(TEXTS, SOURCE, KEY),
            mask=lambda _: MASK,
            **{name: normal(*shape, scale=0.5) for name, shape in SHAPES.items()},
        ),
        tolerance=16.0,
        reason="a softmax over 5, then sums of at most 10 products through the gates",
        gradient=True,
    ),
    Row(
        name="recurrent.multiplicative_decoder_step",
        family="recurrent",
        states=(theory.multiplicative_decoder_step,),
        theory=_multiplicative_theory,
        practice=_multiplicative_practice,
        inputs=draw(
            state=normal(TEXTS, WIDTH),
            annotations=normal(TEXTS, SOURCE, KEY),
            mask=lambda _: MASK,
            **{
                "attention.key.weight": normal(WIDTH, KEY, scale=0.5),
                "combine.weight": normal(WIDTH, KEY + WIDTH, scale=0.5),
            },
        ),
        tolerance=16.0,
        reason="sums of at most 10 products, a softmax over 5 and a tanh",
        gradient=True,
    ),
    _original(cached=False),
    _original(cached=True),
)
