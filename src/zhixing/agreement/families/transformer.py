"""Whole models against ``zhixing.models``: the same weights, the same ids, the same logits, and every
gradient.

The weights are the arguments, by their names in production; the formulas take them as ``x @ weight``,
transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from zhixing.agreement.row import Row
from zhixing.data import windows
from zhixing.models import gpt2, llama
from zhixing.pretraining import causal
from zhixing.theory import transformer as theory
from zhixing.theory.attention import Projections
from zhixing.theory.losses import causal_lm_loss

VOCABULARY, LENGTH, BEFORE = 11, 6, 3
GPT2 = gpt2.GPT2Settings(vocab_size=VOCABULARY, context_length=9, layers=2, width=12, heads=3, inner_width=20)
LLAMA = llama.LlamaSettings(
    vocab_size=VOCABULARY, context_length=9, layers=2, width=12, heads=4, key_value_heads=2, head_width=6,
    inner_width=20, query_key_norm=False,
)  # fmt: skip
QWEN3 = LLAMA.replace(query_key_norm=True, tied=True)
QWEN2 = LLAMA.replace(attention_bias="query_key_value", tied=True)
MISTRAL = LLAMA.replace(attention_window=3)
EMBEDDING = "token_embedding.weight"


def _inputs(build: Callable[[], torch.nn.Module]) -> Callable[[np.random.Generator], dict[str, Any]]:
    """Return a generator of ids and of weights in the shapes of the model's, of ordinary size: gains near
    1."""

    def generate(rng: np.random.Generator) -> dict[str, Any]:
        inputs: dict[str, Any] = {"ids": rng.integers(VOCABULARY, size=LENGTH)}
        for name, weight in build().named_parameters():
            drawn = rng.normal(size=tuple(weight.shape))
            if "norm" in name:
                inputs[name] = name.endswith("weight") + 0.3 * drawn
            else:
                inputs[name] = drawn if "embedding" in name else drawn * weight.shape[-1] ** -0.5
        return inputs

    return generate


def _pair(weights: Mapping[str, Any], name: str) -> tuple[Any, Any]:
    return weights[f"{name}.weight"].T, weights[f"{name}.bias"]


def _gpt2_theory(ids: Any, **weights: Any) -> Any:
    parts = (
        "attention_norm", "attention.query_key_value", "attention.output",
        "feed_forward_norm", "feed_forward.expand", "feed_forward.contract",
    )  # fmt: skip
    blocks = [
        theory.Gpt2Block(*(_pair(weights, f"blocks.{layer}.{part}") for part in parts)) for layer in range(GPT2.layers)
    ]
    positions = weights["position_embedding.weight"]
    return theory.gpt2_logits(ids, weights[EMBEDDING], positions, blocks, _pair(weights, "final_norm"), GPT2.heads)


def _llama_block(settings: llama.LlamaSettings, weights: Mapping[str, Any], layer: int) -> theory.LlamaBlock:
    def weight(name: str) -> Any:
        return weights[f"blocks.{layer}.{name}.weight"]

    cuts = np.cumsum([settings.heads * settings.per_head, settings.groups * settings.per_head])
    query, key, value = np.split(weight("attention.query_key_value").T, cuts, axis=1)
    norms = (weight("attention.query_norm"), weight("attention.key_norm")) if settings.query_key_norm else None
    biases: tuple[Any, ...] = (0.0, 0.0, 0.0)
    if settings.attention_bias == "query_key_value":
        biases = tuple(np.split(weights[f"blocks.{layer}.attention.query_key_value.bias"], cuts))
    gate, up = np.split(weight("feed_forward.gate_up").T, 2, axis=1)
    return theory.LlamaBlock(
        weight("attention_norm"),
        Projections(query, key, value, weight("attention.output").T),
        weight("feed_forward_norm"),
        gate,
        up,
        weight("feed_forward.down").T,
        norms,
        biases,
    )


def _llama_theory(settings: llama.LlamaSettings) -> Callable[..., Any]:
    def logits(ids: Any, **weights: Any) -> Any:
        blocks = [_llama_block(settings, weights, layer) for layer in range(settings.layers)]
        head = weights[EMBEDDING] if settings.tied else weights["head.weight"]
        final_norm, heads = weights["final_norm.weight"], (settings.heads, settings.groups)
        return theory.llama_logits(
            ids,
            weights[EMBEDDING],
            blocks,
            final_norm,
            head.T,
            heads,
            settings.rotary_theta,
            settings.norm_epsilon,
            settings.attention_window,
        )

    return logits


def _practice(build: Callable[[], torch.nn.Module], cached: bool = False) -> Callable[..., Any]:
    def logits(ids: Any, **weights: Any) -> Any:
        embedding = weights[EMBEDDING]
        model: Any = build().to(embedding).eval()
        head = weights.get("head.weight", embedding)
        if not cached:
            return functional_call(model, weights, (ids[None],))[0] @ head.T
        with torch.no_grad():  # what decoding does: some ids, then the rest, through one cache
            cache = model.new_cache(1)
            parts = (ids[None, :BEFORE], ids[None, BEFORE:-1], ids[None, -1:])
            hidden = [functional_call(model, weights, (part,), {"cache": cache}) for part in parts]
            return torch.cat(hidden, dim=1)[0] @ head.T

    return logits


def _loss_theory(ids: Any, counted: Any, **weights: Any) -> Any:
    logits = np.stack([_llama_theory(QWEN3)(row, **weights) for row in ids])
    return causal_lm_loss(logits, ids, counted)


def _loss_practice(ids: Any, counted: Any, **weights: Any) -> Any:
    """What the training loop differentiates: the objective's sum, divided by its weight."""
    model = causal.DecoderWithLoss(llama.Llama(QWEN3).to(weights[EMBEDDING]))
    arrays = ids.cpu().numpy(), counted.cpu().numpy().astype(np.float32)
    batch = windows.Batch(arrays[0][:, :-1], arrays[0][:, 1:], arrays[1][:, 1:])
    objective: Any = causal.CausalLM(str(ids.device))

    def forward(*inputs: Any) -> Any:
        return functional_call(model, {f"decoder.{name}": weight for name, weight in weights.items()}, inputs)

    return objective.loss(forward, batch).total / objective.weight(batch)


def _loss_inputs(rng: np.random.Generator) -> dict[str, Any]:
    counted = np.ones((2, LENGTH), dtype=bool)
    counted[0, :3] = counted[1, -2:] = False  # a prompt that is not to be learned, and padding
    weights = _inputs(lambda: llama.Llama(QWEN3))(rng)
    return weights | {"ids": rng.integers(VOCABULARY, size=(2, LENGTH)), "counted": counted}


def _row(
    name: str,
    states: tuple[Any, ...],
    formula: Callable[..., Any],
    build: Callable[[], torch.nn.Module],
    cached: bool = False,
) -> Row:
    return Row(
        name=f"transformer.{name}",
        family="transformer",
        states=states,
        theory=formula,
        practice=_practice(build, cached),
        inputs=_inputs(build),
        tolerance=48.0,
        reason="two blocks, each four layers of sums of at most 20 products; angles rounded in float32",
        gradient=not cached,
        coarsest="float32",
    )


GPT2_STATES = (theory.gpt2_logits, theory.gpt2_block)
LLAMA_STATES = (theory.llama_logits, theory.llama_block)

ROWS: tuple[Row, ...] = (
    _row("gpt2", GPT2_STATES, _gpt2_theory, lambda: gpt2.GPT2(GPT2)),
    _row("llama", LLAMA_STATES, _llama_theory(LLAMA), lambda: llama.Llama(LLAMA)),
    _row("qwen3", LLAMA_STATES, _llama_theory(QWEN3), lambda: llama.Llama(QWEN3)),
    _row("qwen2", LLAMA_STATES, _llama_theory(QWEN2), lambda: llama.Llama(QWEN2)),
    _row("mistral", LLAMA_STATES, _llama_theory(MISTRAL), lambda: llama.Llama(MISTRAL)),
    Row(
        name="transformer.qwen3_loss",
        family="transformer",
        states=(causal_lm_loss,),
        theory=_loss_theory,
        practice=_loss_practice,
        inputs=_loss_inputs,
        tolerance=48.0,
        reason="as for its logits",
        gradient=True,
        coarsest="float32",
    ),
    _row("gpt2_with_cache", GPT2_STATES, _gpt2_theory, lambda: gpt2.GPT2(GPT2), cached=True),
    _row("llama_with_cache", LLAMA_STATES, _llama_theory(LLAMA), lambda: llama.Llama(LLAMA), cached=True),
    _row("mistral_with_cache", LLAMA_STATES, _llama_theory(MISTRAL), lambda: llama.Llama(MISTRAL), cached=True),
    _row("qwen3_with_cache", LLAMA_STATES, _llama_theory(QWEN3), lambda: llama.Llama(QWEN3), cached=True),
)
