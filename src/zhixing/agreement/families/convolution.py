"""Convolution, its gate, the strongest answer over time, and both models that see a fixed window, against
``zhixing.nn.convolution``, ``zhixing.models.feedforward`` and ``zhixing.models.convolutional``.

Formulas hold a kernel as (K, I, O) by lag, production as (O, K·I), the block of the oldest input first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.models import convolutional, feedforward
from zhixing.nn import convolution as practice
from zhixing.theory import convolution as theory
from zhixing.theory.normalisation import layer_norm

TEXTS, LENGTH, INPUT, WIDTH, KERNEL, VOCABULARY = 3, 7, 5, 4, 3, 9
REASON = "sums of 15 products, gradients over 21 places"
FEED_FORWARD = feedforward.FeedForwardSettings(
    vocab_size=VOCABULARY, context_length=8, window=KERNEL, embedding_width=INPUT, width=WIDTH, direct=True
)
GATED = convolutional.ConvolutionalSettings(
    vocab_size=VOCABULARY, context_length=8, layers=2, width=WIDTH, kernel=KERNEL, tied=True
)


def _by_lag(weight: Any, width: int) -> Any:
    """(O, K·I), oldest first, to (K, I, O), newest first."""
    return np.moveaxis(weight.reshape(len(weight), -1, width)[:, ::-1], 0, -1)


def _side_by_side(weight: Any) -> Any:
    """(K, I, O) to (O, K·I)."""
    return np.moveaxis(weight, -1, 0)[:, ::-1].reshape(weight.shape[-1], -1)


def _convolution_derivative(x: Any, weight: Any, bias: Any, upstream: Any) -> dict[str, Any]:
    dx, d_weight, d_bias = theory.causal_convolution_gradient(x, _by_lag(weight, INPUT), upstream)
    return {"x": dx, "weight": _side_by_side(d_weight), "bias": d_bias}


def _convolution(x: Any, weight: Any, bias: Any) -> Any:
    layer = practice.CausalConvolution(INPUT, (WIDTH,), KERNEL).to(x)
    return functional_call(layer, {"weight": weight, "bias": bias}, (x,))


def _in_pieces(x: Any, weight: Any, bias: Any) -> Any:
    """Read in three pieces, each beginning from what the one before has remembered."""
    layer = practice.CausalConvolution(INPUT, (WIDTH,), KERNEL).to(x)
    before, parts = layer.new_memory(TEXTS), []
    for piece in (x[:, :1], x[:, 1:5], x[:, 5:]):
        parts.append(functional_call(layer, {"weight": weight, "bias": bias}, (piece, before)))
        before = practice.memory(piece, before)
    return torch.cat(parts, dim=1)


def _gated_theory(x: Any, weight: Any, bias: Any) -> Any:
    both = theory.causal_convolution(x, _by_lag(weight, INPUT), bias)
    return theory.gated_linear_unit(both[..., :WIDTH], both[..., WIDTH:])


def _gated_practice(x: Any, weight: Any, bias: Any) -> Any:
    layer = practice.GatedConvolution(INPUT, WIDTH, KERNEL).to(x)
    return functional_call(layer, {"weight": weight, "bias": bias}, (x,))


def _gated_derivative(x: Any, weight: Any, bias: Any, upstream: Any) -> dict[str, Any]:
    both = theory.causal_convolution(x, _by_lag(weight, INPUT), bias)
    parts = theory.gated_linear_unit_gradient(both[..., :WIDTH], both[..., WIDTH:], upstream)
    return _convolution_derivative(x, weight, bias, np.concatenate(parts, axis=-1))


def _isolated_theory(x: Any, documents: Any) -> Any:
    """The window of each document, as if it were a text of its own."""
    rows = []
    for text, numbers in zip(x, documents, strict=True):
        starts = np.flatnonzero(np.diff(numbers)) + 1
        rows.append(np.concatenate([theory.window(part[None], KERNEL)[0] for part in np.split(text, starts)]))
    return np.stack(rows)


def _documents(_: np.random.Generator) -> Any:
    return np.array([[0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 2, 2], [0, 0, 0, 1, 2, 2, 2]])


def _field(kernel: int, layers: int) -> float:
    """Count the tokens that move what a random model says last."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = convolutional.Convolutional(GATED.replace(kernel=kernel, layers=layers)).eval()
        ids, places = torch.arange(LENGTH)[None], torch.arange(LENGTH)
        said = [model(torch.where(places == place, VOCABULARY - 1, ids))[0, -1] for place in places]
        return float(sum(bool((each != model(ids)[0, -1]).any()) for each in said))


def _weights(model: torch.nn.Module) -> dict[str, Any]:
    """Return generators of every weight: norms near one, all else of ordinary size."""
    names = {}
    for name, weight in model.named_parameters():
        around = 1.0 if name.endswith("norm.weight") else 0.0
        names[name] = _around(around, tuple(weight.shape))
    return names


def _around(centre: float, shape: tuple[int, ...]) -> Callable[[np.random.Generator], Any]:
    return lambda rng: centre + 0.5 * rng.normal(size=shape)


def _ids(rng: np.random.Generator) -> Any:
    return rng.integers(VOCABULARY, size=LENGTH)


def _feed_forward_theory(ids: Any, **weights: Any) -> Any:
    x = theory.window(weights["token_embedding.weight"][ids][None], KERNEL)[0]
    head = weights["head.weight"].T
    hidden, bias = weights["blocks.0.weight"].T, weights["blocks.0.bias"]
    return theory.feed_forward_scores(x, hidden, bias, head[:WIDTH], head[WIDTH:])


def _feed_forward_practice(ids: Any, **weights: Any) -> Any:
    module: Any = feedforward.FeedForward(FEED_FORWARD).to(weights["head.weight"]).eval()
    return functional_call(module, weights, (ids[None],))[0] @ weights["head.weight"].T


def _feed_forward_derivative(ids: Any, upstream: Any, **weights: Any) -> dict[str, Any]:
    x = theory.window(weights["token_embedding.weight"][ids][None], KERNEL)[0]
    head = weights["head.weight"].T
    dx, d_hidden, d_bias, d_output, d_direct = theory.feed_forward_scores_gradient(
        x, weights["blocks.0.weight"].T, weights["blocks.0.bias"], head[:WIDTH], head[WIDTH:], upstream
    )
    d_embedding = np.zeros_like(weights["token_embedding.weight"])
    for lag, block in enumerate(reversed(np.split(dx, KERNEL, axis=-1))):
        np.add.at(d_embedding, ids[: LENGTH - lag], block[lag:])
    return {
        "token_embedding.weight": d_embedding,
        "blocks.0.weight": d_hidden.T,
        "blocks.0.bias": d_bias,
        "head.weight": np.concatenate([d_output, d_direct]).T,
    }


def _stack_theory(ids: Any, **weights: Any) -> Any:
    """Blocks of layer norm, convolution and gate, each added to what it read; the embedding is also the head."""
    embedding = weights["token_embedding.weight"]
    x = embedding[ids][None] * WIDTH**0.5
    for layer in range(GATED.layers):
        normed = layer_norm(x, weights[f"blocks.{layer}.norm.weight"], weights[f"blocks.{layer}.norm.bias"], 1e-5)
        kernel, bias = (weights[f"blocks.{layer}.convolution.{part}"] for part in ("weight", "bias"))
        both = theory.causal_convolution(normed, _by_lag(kernel, WIDTH), bias)
        x = x + theory.gated_linear_unit(both[..., :WIDTH], both[..., WIDTH:])
    return layer_norm(x, weights["norm.weight"], weights["norm.bias"], 1e-5)[0] @ embedding.T


def _stack_practice(cached: bool) -> Callable[..., Any]:
    def scores(ids: Any, **weights: Any) -> Any:
        embedding = weights["token_embedding.weight"]
        module: Any = convolutional.Convolutional(GATED).to(embedding).eval()
        if not cached:
            return functional_call(module, weights, (ids[None],))[0] @ embedding.T
        with torch.no_grad():
            cache, parts = module.new_cache(1), (ids[None, :2], ids[None, 2:-1], ids[None, -1:])
            hidden = torch.cat([functional_call(module, weights, (p,), {"cache": cache})[0] for p in parts])
            return hidden @ embedding.T

    return scores


def _stack(cached: bool) -> Row:
    return Row(
        name="convolution.gated_model" + ("_with_state" if cached else ""),
        family="convolution",
        states=(theory.causal_convolution, theory.gated_linear_unit),
        theory=_stack_theory,
        practice=_stack_practice(cached),
        inputs=draw(ids=_ids, **_weights(convolutional.Convolutional(GATED))),
        tolerance=64.0,
        reason="two layers of sums of 12 products behind norms over 4 numbers, which enlarge what is small",
        gradient=not cached,
    )


def _brick(name: str, function: Callable[..., Any], derivative: Callable[..., Any] | None, gated: bool = False) -> Row:
    rows = 2 * WIDTH if gated else WIDTH
    of_gate = (theory.gated_linear_unit, theory.gated_linear_unit_gradient)
    return Row(
        name=f"convolution.{name}",
        family="convolution",
        states=of_gate if gated else (theory.causal_convolution, theory.causal_convolution_gradient),
        theory=_gated_theory
        if gated
        else lambda x, weight, bias: theory.causal_convolution(x, _by_lag(weight, INPUT), bias),
        practice=function,
        inputs=draw(
            x=normal(TEXTS, LENGTH, INPUT),
            weight=normal(rows, KERNEL * INPUT, scale=0.5),
            bias=normal(rows),
        ),
        tolerance=16.0,
        reason=REASON,
        gradient=derivative is not None,
        derivative=derivative,
    )


ROWS: tuple[Row, ...] = (
    _brick("causal", _convolution, _convolution_derivative),
    _brick("causal_in_pieces", _in_pieces, None),
    _brick("gated", _gated_practice, _gated_derivative, gated=True),
    Row(
        name="convolution.window",
        family="convolution",
        states=(theory.window, theory.shifted),
        theory=_isolated_theory,
        practice=lambda x, documents: practice.windows(x, x.new_zeros(TEXTS, KERNEL - 1, INPUT), documents),
        inputs=draw(x=normal(TEXTS, LENGTH, INPUT), documents=_documents),
        tolerance=1.0,
        reason="numbers are moved, not computed: only the rounding of the inputs themselves",
    ),
    Row(
        name="convolution.receptive_field",
        family="convolution",
        states=(theory.receptive_field,),
        theory=theory.receptive_field,
        practice=_field,
        inputs=draw(kernel=KERNEL, layers=GATED.layers),
        tolerance=0.0,
        reason="a number of tokens",
    ),
    Row(
        name="convolution.maximum_over_time",
        family="convolution",
        states=(theory.maximum_over_time, theory.maximum_over_time_gradient),
        theory=theory.maximum_over_time,
        practice=lambda x, lengths: practice.maximum_over_time(x, lengths),
        inputs=draw(x=normal(TEXTS, LENGTH, WIDTH), lengths=np.array([7, 1, 4])),
        tolerance=1.0,
        reason="a number is chosen; float32, as coarser numbers would make two places equal",
        gradient=True,
        derivative=lambda x, lengths, upstream: {"x": theory.maximum_over_time_gradient(x, lengths, upstream)},
        takes="float32",
    ),
    Row(
        name="convolution.feed_forward_model",
        family="convolution",
        states=(theory.feed_forward_scores, theory.feed_forward_scores_gradient, theory.window),
        theory=_feed_forward_theory,
        practice=_feed_forward_practice,
        inputs=draw(ids=_ids, **_weights(feedforward.FeedForward(FEED_FORWARD))),
        tolerance=16.0,
        reason="sums of 15 and of 19 products, one through tanh",
        gradient=True,
        derivative=_feed_forward_derivative,
    ),
    _stack(cached=False),
    _stack(cached=True),
)
