"""Llama and Qwen3 as transformers stores them: names, and ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Packed, Rename, Rule
from zhixing.models.llama import LlamaSettings


def table(settings: LlamaSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    layer = "model.layers.{}."
    query, others = settings.heads * settings.per_head, settings.groups * settings.per_head
    rules: list[Rule] = [
        Rename("token_embedding.weight", "model.embed_tokens.weight"),
        Rename("final_norm.weight", "model.norm.weight"),
        Rename("head.weight", "lm_head.weight"),
        Packed(
            "blocks.{}.attention.query_key_value.weight",
            tuple(f"{layer}self_attn.{name}_proj.weight" for name in "qkv"),
            (query, others, others),
        ),
        Packed(
            "blocks.{}.feed_forward.gate_up.weight",
            (f"{layer}mlp.gate_proj.weight", f"{layer}mlp.up_proj.weight"),
            (settings.inner_width, settings.inner_width),
        ),
    ]
    for ours, theirs in (
        ("attention.output", "self_attn.o_proj"),
        ("attention.query_norm", "self_attn.q_norm"),
        ("attention.key_norm", "self_attn.k_norm"),
        ("feed_forward.down", "mlp.down_proj"),
        ("attention_norm", "input_layernorm"),
        ("feed_forward_norm", "post_attention_layernorm"),
    ):
        rules.append(Rename(f"blocks.{{}}.{ours}.weight", f"{layer}{theirs}.weight"))
    return tuple(rules)


def prepare(tensors: Mapping[str, Any], settings: LlamaSettings) -> dict[str, Any]:
    """Return a foreign file's tensors as ``table`` has them: no tied head, no rotary tables of old files."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.endswith("rotary_emb.inv_freq") and not (settings.tied and name == "lm_head.weight")
    }


def to_config(settings: LlamaSettings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json``: ``llama``, or ``qwen3`` when queries and keys are normalised."""
    family = "qwen3" if settings.query_key_norm else "llama"
    return {
        "model_type": family,
        "architectures": ["Qwen3ForCausalLM" if settings.query_key_norm else "LlamaForCausalLM"],
        "vocab_size": settings.vocab_size,
        "max_position_embeddings": settings.context_length,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.groups,
        "head_dim": settings.per_head,
        "intermediate_size": settings.inner_width,
        "hidden_act": "silu",
        "rms_norm_eps": settings.norm_epsilon,
        "rope_theta": settings.rotary_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": settings.rotary_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": settings.tied,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> LlamaSettings:
    """Return the settings of a foreign Llama or Qwen3; what this family cannot do is refused by name."""
    read, is_qwen3 = ConfigReader(config), config.get("model_type") == "qwen3"
    read.require("hidden_act", ("silu", "swish"), default="silu")
    read.require("attention_bias", (False,), default=False)
    read.require("mlp_bias", (False,), default=False)
    read.require("use_sliding_window", (False, None), default=False)
    read.require_each("layer_types", ("full_attention",))
    read.require("tie_word_embeddings", (False, True), default=False)
    read.require("quantization_config", (None,), default=None)
    heads = read.integer("num_attention_heads", 32)
    return read.build(
        LlamaSettings,
        vocab_size=read.integer("vocab_size"),
        context_length=read.integer("max_position_embeddings", 2048),
        width=read.integer("hidden_size", 4096),
        layers=read.integer("num_hidden_layers", 32),
        heads=heads,
        key_value_heads=read.optional_integer("num_key_value_heads") or heads,
        head_width=read.optional_integer("head_dim") or (128 if is_qwen3 else None),
        inner_width=read.integer("intermediate_size", 11008),
        rotary_theta=_rotary_theta(config),
        norm_epsilon=read.number("rms_norm_eps", 1e-6),
        query_key_norm=is_qwen3,
        tied=bool(config.get("tie_word_embeddings", False)),
    )


def _rotary_theta(config: Mapping[str, Any]) -> float:
    """Read the base from where transformers 5 or 4 writes it; stretched positions are refused."""
    bases = [10000.0, config.get("rope_theta")]
    for name in ("rope_parameters", "rope_scaling"):
        parameters = config.get(name) or {}
        if not isinstance(parameters, Mapping):
            parameters = {"rope_type": parameters}
        for field, value in parameters.items():
            if field in ("rope_type", "type"):
                ConfigReader({f"{name}.{field}": value}).require(f"{name}.{field}", ("default",), "default")
            elif field != "rope_theta":
                ConfigReader({f"{name}.{field}": value}).require(f"{name}.{field}", (None,), None)
        bases.append(parameters.get("rope_theta"))
    return ConfigReader({"rope_theta": [base for base in bases if base is not None][-1]}).number("rope_theta")
