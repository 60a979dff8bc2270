"""Recurrent cells, attention and the whole recurrent language model against ``zhixing.nn`` and ``zhixing.models``.

Order of the gates in every packed weight, on both sides: LSTM i, f, g, o (input, forget, candidate, output); GRU r, z,
n (reset, update, candidate). Formulas take weights as ``x @ weight``, production holds them transposed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.models import recurrent as model
from zhixing.nn import recurrent as practice
from zhixing.nn import recurrent_attention as attention
from zhixing.theory import recurrent as theory
from zhixing.theory import sequence_to_sequence as alignment

STEPS, ROWS_OF_TEXT, INPUT, WIDTH, VOCABULARY = 6, 3, 5, 4, 7
LENGTHS = np.array([6, 1, 4])
SOURCE, QUERY, KEY, ALIGN = 5, 4, 6, 3
PARTS = ("input.weight", "recurrent.weight", "input.bias", "recurrent.bias")
REASON = "six steps, each a sum of at most 9 products through a squashing function; gradients run back over all six"
SHAPE = {
    "lstm": model.RecurrentSettings(cell="lstm", vocab_size=VOCABULARY, context_length=8, layers=2, width=WIDTH),
    "gru_tied": model.RecurrentSettings(
        cell="gru", vocab_size=VOCABULARY, context_length=8, layers=2, width=WIDTH, tied=True
    ),
}


def _weights(cell: practice.Cell) -> dict[str, Any]:
    """Return generators of a layer's weights: matrices of ordinary size, biases that matter."""
    rows = len(practice.GATES[cell]) * WIDTH
    shapes = ((rows, INPUT), (rows, WIDTH), (rows,), (rows,))
    return {name: normal(*shape, scale=0.5) for name, shape in zip(PARTS, shapes, strict=True)}


def _of_theory(weights: dict[str, Any], prefix: str = "") -> theory.Weights:
    return theory.Weights(*(weights[prefix + name].T for name in PARTS))


def _as_practice(gradient: theory.Weights, upstream_of: tuple[Any, ...]) -> dict[str, Any]:
    parts = dict(zip(PARTS, (part.T for part in gradient), strict=True))
    return parts | dict(zip(("x", "state", "memory"), upstream_of, strict=False))


def _run(cell: practice.Cell, x: Any, state: tuple[Any, ...], weights: dict[str, Any], lengths: Any = None) -> Any:
    layer = practice.RecurrentLayer(cell, INPUT, WIDTH).to(x).eval()
    return functional_call(layer, weights, (x, state, lengths))


def _formula(cell: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return getattr(theory, cell), getattr(theory, f"{cell}_gradient")


def _one_state(cell: practice.Cell) -> Row:
    """RNN or GRU: (B, T, I) read from a state that is not zero."""
    function, gradient = _formula(cell)
    return Row(
        name=f"recurrent.{cell}",
        family="recurrent",
        states=(
            function,
            gradient,
            getattr(theory, f"{cell}_cell"),
            getattr(theory, f"{cell}_cell_gradient"),
        ),
        theory=lambda x, state, **weights: function(x.swapaxes(0, 1), state, _of_theory(weights)).swapaxes(0, 1),
        practice=lambda x, state, **weights: _run(cell, x, (state,), weights)[0],
        inputs=draw(x=normal(ROWS_OF_TEXT, STEPS, INPUT), state=normal(ROWS_OF_TEXT, WIDTH), **_weights(cell)),
        tolerance=16.0,
        reason=REASON,
        gradient=True,
        derivative=lambda x, state, upstream, **weights: _derivative(gradient, x, (state,), upstream, weights),
    )


def _derivative(
    gradient: Callable[..., Any], x: Any, states: tuple[Any, ...], upstream: Any, weights: dict[str, Any]
) -> dict[str, Any]:
    dx, *others, learned = gradient(x.swapaxes(0, 1), *states, _of_theory(weights), upstream.swapaxes(0, 1))
    return _as_practice(learned, (dx.swapaxes(0, 1), *others))


def _lstm_theory(x: Any, state: Any, memory: Any, **weights: Any) -> Any:
    return theory.lstm(x.swapaxes(0, 1), state, memory, _of_theory(weights))[0].swapaxes(0, 1)


def _ragged_theory(cell: practice.Cell) -> Callable[..., Any]:
    """The state of each row after its own number of steps, which is what a row read alone would have."""

    def ends(x: Any, lengths: Any, state: Any, memory: Any, **weights: Any) -> Any:
        begin = (state, memory) if cell == "lstm" else (state,)
        read = _formula(cell)[0](x.swapaxes(0, 1), *begin, _of_theory(weights))
        rows = np.arange(len(x))
        return [each[lengths - 1, rows] for each in (read if cell == "lstm" else (read,))]

    return ends


def _ragged_practice(cell: practice.Cell) -> Callable[..., Any]:
    def ends(x: Any, lengths: Any, state: Any, memory: Any, **weights: Any) -> Any:
        with torch.no_grad():  # what decoding does
            return list(_run(cell, x, (state, memory) if cell == "lstm" else (state,), weights, lengths)[1])

    return ends


def _ragged(cell: practice.Cell) -> Row:
    return Row(
        name=f"recurrent.{cell}_of_ragged_rows",
        family="recurrent",
        states=(_formula(cell)[0],),
        theory=_ragged_theory(cell),
        practice=_ragged_practice(cell),
        inputs=draw(
            x=normal(ROWS_OF_TEXT, STEPS, INPUT),
            lengths=LENGTHS,
            state=normal(ROWS_OF_TEXT, WIDTH),
            memory=normal(ROWS_OF_TEXT, WIDTH),
            **_weights(cell),
        ),
        tolerance=16.0,
        reason=REASON,
    )


def _mask() -> Any:
    return np.arange(SOURCE) < np.array([[5], [2], [3]])


def _additive_theory(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    return alignment.additive_attention(query[:, 0], annotations, _alignment(weights), mask)[0][:, None]


def _alignment(weights: dict[str, Any]) -> alignment.Alignment:
    return alignment.Alignment(weights["query.weight"].T, weights["key.weight"].T, weights["score.weight"][0])


def _additive_practice(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    brick = attention.AdditiveAttention(QUERY, KEY, ALIGN).to(query)
    return functional_call(brick, weights, (query, annotations, mask))[0]


def _additive_derivative(query: Any, annotations: Any, mask: Any, upstream: Any, **weights: Any) -> dict[str, Any]:
    d_query, d_annotations, learned = alignment.additive_attention_gradient(
        query[:, 0], annotations, _alignment(weights), mask, upstream[:, 0]
    )
    return {
        "query": d_query[:, None],
        "annotations": d_annotations,
        "query.weight": learned.query.T,
        "key.weight": learned.key.T,
        "score.weight": learned.score[None],
    }


def _multiplicative_theory(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    return alignment.multiplicative_attention(query[:, 0], annotations, weights["key.weight"], mask)[0][:, None]


def _multiplicative_practice(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    brick = attention.MultiplicativeAttention(QUERY, KEY).to(query)
    return functional_call(brick, weights, (query, annotations, mask))[0]


def _multiplicative_derivative(
    query: Any, annotations: Any, mask: Any, upstream: Any, **weights: Any
) -> dict[str, Any]:
    d_query, d_annotations, d_weight = alignment.multiplicative_attention_gradient(
        query[:, 0], annotations, weights["key.weight"], mask, upstream[:, 0]
    )
    return {"query": d_query[:, None], "annotations": d_annotations, "key.weight": d_weight}


def _dot_practice(query: Any, annotations: Any, mask: Any) -> Any:
    return attention.DotAttention()(query, annotations, mask)[0]


def _concat_theory(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    weight = np.concatenate([weights["query.weight"].T, weights["key.weight"].T])
    scores = alignment.concat_scores(query[:, 0], annotations, weight, weights["score.weight"][0])
    return alignment.attend(scores, annotations, mask)[0][:, None]


def _concat_practice(query: Any, annotations: Any, mask: Any, **weights: Any) -> Any:
    brick: Any = attention.MoveThenLook(KEY, QUERY, "concat").to(query).attention
    return functional_call(brick, weights, (query, annotations, mask))[0]


def _model_inputs(settings: model.RecurrentSettings) -> Callable[[np.random.Generator], dict[str, Any]]:
    def generate(rng: np.random.Generator) -> dict[str, Any]:
        inputs: dict[str, Any] = {"ids": rng.integers(VOCABULARY, size=STEPS)}
        for name, weight in model.Recurrent(settings).named_parameters():
            inputs[name] = 0.5 * rng.normal(size=tuple(weight.shape))
        return inputs

    return generate


def _model_theory(settings: model.RecurrentSettings) -> Callable[..., Any]:
    """Stacked layers on embeddings, the last states against the output embedding."""

    def logits(ids: Any, **weights: Any) -> Any:
        embedding = weights["token_embedding.weight"]
        x, zero = embedding[ids][:, None] * (WIDTH**0.5 if settings.tied else 1.0), np.zeros((1, WIDTH))
        for layer in range(settings.layers):
            learned = _of_theory(weights, f"blocks.{layer}.")
            x = theory.lstm(x, zero, zero, learned)[0] if settings.cell == "lstm" else theory.gru(x, zero, learned)
        return x[:, 0] @ weights.get("head.weight", embedding).T

    return logits


def _model_practice(settings: model.RecurrentSettings, cached: bool) -> Callable[..., Any]:
    def logits(ids: Any, **weights: Any) -> Any:
        embedding = weights["token_embedding.weight"]
        module: Any = model.Recurrent(settings).to(embedding).eval()
        head = weights.get("head.weight", embedding)
        if not cached:
            return functional_call(module, weights, (ids[None],))[0] @ head.T
        with torch.no_grad():
            cache = module.new_cache(1)
            parts = (ids[None, :3], ids[None, 3:-1], ids[None, -1:])
            return torch.cat([functional_call(module, weights, (p,), {"cache": cache})[0] for p in parts]) @ head.T

    return logits


def _model(name: str, cached: bool = False) -> Row:
    settings = SHAPE[name]
    return Row(
        name=f"recurrent.{name}_model" + ("_with_state" if cached else ""),
        family="recurrent",
        states=(theory.lstm,) if settings.cell == "lstm" else (theory.gru,),
        theory=_model_theory(settings),
        practice=_model_practice(settings, cached),
        inputs=_model_inputs(settings),
        tolerance=24.0,
        reason="two layers of six steps, then a sum of 4 products",
        gradient=not cached,
        coarsest=None,
    )


ROWS: tuple[Row, ...] = (
    _one_state("rnn"),
    _one_state("gru"),
    Row(
        name="recurrent.lstm",
        family="recurrent",
        states=(theory.lstm, theory.lstm_gradient, theory.lstm_cell, theory.lstm_cell_gradient),
        theory=_lstm_theory,
        practice=lambda x, state, memory, **weights: _run("lstm", x, (state, memory), weights)[0],
        inputs=draw(
            x=normal(ROWS_OF_TEXT, STEPS, INPUT),
            state=normal(ROWS_OF_TEXT, WIDTH),
            memory=normal(ROWS_OF_TEXT, WIDTH),
            **_weights("lstm"),
        ),
        tolerance=16.0,
        reason=REASON,
        gradient=True,
        derivative=lambda x, state, memory, upstream, **weights: _derivative(
            theory.lstm_gradient, x, (state, memory), upstream, weights
        ),
    ),
    *(_ragged(cell) for cell in practice.GATES),
    _model("lstm"),
    _model("gru_tied"),
    _model("lstm", cached=True),
    _model("gru_tied", cached=True),
    Row(
        name="recurrent.additive_attention",
        family="recurrent",
        states=(
            alignment.additive_attention,
            alignment.additive_attention_gradient,
            alignment.additive_scores,
            alignment.attend,
        ),
        theory=_additive_theory,
        practice=_additive_practice,
        inputs=draw(
            query=normal(ROWS_OF_TEXT, 1, QUERY),
            annotations=normal(ROWS_OF_TEXT, SOURCE, KEY),
            mask=lambda _: _mask(),
            **{
                "query.weight": normal(ALIGN, QUERY),
                "key.weight": normal(ALIGN, KEY),
                "score.weight": normal(1, ALIGN),
            },
        ),
        tolerance=16.0,
        reason="sums of at most 6 products through tanh, and a softmax over 5",
        gradient=True,
        derivative=_additive_derivative,
    ),
    Row(
        name="recurrent.multiplicative_attention",
        family="recurrent",
        states=(
            alignment.multiplicative_attention,
            alignment.multiplicative_attention_gradient,
            alignment.multiplicative_scores,
            alignment.attend,
        ),
        theory=_multiplicative_theory,
        practice=_multiplicative_practice,
        inputs=draw(
            query=normal(ROWS_OF_TEXT, 1, QUERY),
            annotations=normal(ROWS_OF_TEXT, SOURCE, KEY),
            mask=lambda _: _mask(),
            **{"key.weight": normal(QUERY, KEY, scale=0.5)},
        ),
        tolerance=16.0,
        reason="sums of 6 and of 4 products, and a softmax over 5",
        gradient=True,
        derivative=_multiplicative_derivative,
    ),
    Row(
        name="recurrent.dot_attention",
        family="recurrent",
        states=(alignment.dot_scores, alignment.attend),
        theory=lambda query, annotations, mask: alignment.attend(
            alignment.dot_scores(query[:, 0], annotations), annotations, mask
        )[0][:, None],
        practice=_dot_practice,
        inputs=draw(
            query=normal(ROWS_OF_TEXT, 1, KEY), annotations=normal(ROWS_OF_TEXT, SOURCE, KEY), mask=lambda _: _mask()
        ),
        tolerance=16.0,
        reason="sums of 6 products and a softmax over 5",
        gradient=True,
    ),
    Row(
        name="recurrent.concat_attention",
        family="recurrent",
        states=(alignment.concat_scores, alignment.attend),
        theory=_concat_theory,
        practice=_concat_practice,
        inputs=draw(
            query=normal(ROWS_OF_TEXT, 1, QUERY),
            annotations=normal(ROWS_OF_TEXT, SOURCE, KEY),
            mask=lambda _: _mask(),
            **{
                "query.weight": normal(QUERY, QUERY),
                "key.weight": normal(QUERY, KEY),
                "score.weight": normal(1, QUERY),
            },
        ),
        tolerance=16.0,
        reason="sums of at most 6 products through tanh, and a softmax over 5",
        gradient=True,
    ),
)
