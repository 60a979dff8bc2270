"""The steps of recurrent decoders with attention against ``zhixing.nn.recurrent_attention``.

Formulas take weights as ``x @ weight``, production holds them transposed; but for the multiplicative matrix, which both
have as (Q, K).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import recurrent_attention as practice
from zhixing.theory import sequence_to_sequence as theory
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
)
