"""GPT-2 as transformers stores it: names, and ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule, without_copies

ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")
HONOURED = (
    "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "activation_function", "layer_norm_epsilon",
    "scale_attn_by_inverse_layer_idx", "scale_attn_weights", "tie_word_embeddings", "add_cross_attention",
    "quantization_config", "n_ctx", "reorder_and_upcast_attn",
    "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout",
)  # fmt: skip
"""Fields of ``config.json`` that are read below, and those that say nothing to a language model in float32: the older
name of ``n_positions``, the precision of attention's products, the head of another task."""
STANDARD_NAMES = {
    "hidden_size": "n_embd", "max_position_embeddings": "n_positions", "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}  # fmt: skip
"""Names of other families that transformers reads as GPT-2's own."""


def table(settings: GPT2Settings) -> tuple[Rule, ...]:
    """Return the rules of names. GPT-2 stores matrices (in, out)."""
    layer = "transformer.h.{}."
    rules: list[Rule] = [
        Rename("token_embedding.weight", "transformer.wte.weight"),
        Rename("position_embedding.weight", "transformer.wpe.weight"),
    ]
    for ours, theirs in (
        ("attention.query_key_value", "attn.c_attn"),
        ("attention.output", "attn.c_proj"),
        ("feed_forward.expand", "mlp.c_fc"),
        ("feed_forward.contract", "mlp.c_proj"),
    ):
        rules.append(Rename(f"blocks.{{}}.{ours}.weight", f"{layer}{theirs}.weight", transposed=True))
        rules.append(Rename(f"blocks.{{}}.{ours}.bias", f"{layer}{theirs}.bias"))
    for part in ("weight", "bias"):
        rules.append(Rename(f"blocks.{{}}.attention_norm.{part}", f"{layer}ln_1.{part}"))
        rules.append(Rename(f"blocks.{{}}.feed_forward_norm.{part}", f"{layer}ln_2.{part}"))
        rules.append(Rename(f"final_norm.{part}", f"transformer.ln_f.{part}"))
    return tuple(rules)


def prepare(tensors: Mapping[str, Any], settings: GPT2Settings) -> dict[str, Any]:
    """Return a foreign file's tensors as ``table`` has them: older files hold masks and lack the prefix."""
    prefix = "" if any(name.startswith("transformer.") for name in tensors) else "transformer."
    whole = without_copies(tensors, {"lm_head.weight": "transformer.wte.weight".removeprefix(prefix)})
    kept = {name: tensor for name, tensor in whole.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    return {prefix + name: tensor for name, tensor in kept.items()}


def to_config(settings: GPT2Settings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json`` of a GPT-2."""
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": settings.vocab_size,
        "n_positions": settings.context_length,
        "n_embd": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "n_inner": settings.inner_width,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": settings.norm_epsilon,
        "embd_pdrop": settings.dropout,
        "resid_pdrop": settings.dropout,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> GPT2Settings:
    """Return the settings of a foreign GPT-2; what this family cannot do is refused by name."""
    renamed = {STANDARD_NAMES[name]: value for name, value in config.items() if name in STANDARD_NAMES}
    read = ConfigReader({name: value for name, value in config.items() if name not in STANDARD_NAMES} | renamed)
    read.refuse_others(HONOURED)
    read.require("activation_function", ACTIVATIONS, default="gelu_new")
    read.require("scale_attn_by_inverse_layer_idx", (False,), default=False)
    read.require("scale_attn_weights", (True,), default=True)
    read.require("tie_word_embeddings", (True,), default=True)
    read.require("add_cross_attention", (False,), default=False)
    read.require("quantization_config", (None,), default=None)
    return read.build(
        GPT2Settings,
        vocab_size=read.integer("vocab_size", 50257),
        context_length=read.integer("n_positions", 1024),
        width=read.integer("n_embd", 768),
        layers=read.integer("n_layer", 12),
        heads=read.integer("n_head", 12),
        inner_width=read.optional_integer("n_inner"),
        norm_epsilon=read.number("layer_norm_epsilon", 1e-5),
    )
