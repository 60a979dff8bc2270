"""Llama, Mistral, Qwen2 and Qwen3 as transformers stores them: names, and ``config.json``.

They are one model with single differences, each a field of ``LlamaSettings``; which name is written follows from these
fields. A Mistral without a window computes what a Llama does, and is written as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Packed, Rename, Rule, without_copies
from zhixing.models.interop.rotary import HONOURED as ROTARY_FIELDS
from zhixing.models.interop.rotary import read_rotary, rotary_fields
from zhixing.models.llama import LlamaSettings

DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"vocab_size": 32000, "intermediate_size": 11008, "max_position_embeddings": 2048},
    "mistral": {
        "vocab_size": 32000, "intermediate_size": 14336, "max_position_embeddings": 131072,
        "num_key_value_heads": 8, "sliding_window": 4096,
    },
    "qwen2": {
        "vocab_size": 151936, "intermediate_size": 22016, "max_position_embeddings": 32768,
        "num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 28,
    },
}  # fmt: skip
"""What transformers takes for a field that a ``config.json`` lacks."""
DEFAULTS["qwen3"] = DEFAULTS["qwen2"] | {"head_dim": 128}
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
FULL, SLIDING = "full_attention", "sliding_attention"
HONOURED = (
    "vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "intermediate_size", "hidden_act", "rms_norm_eps", "tie_word_embeddings",
    "attention_bias", "mlp_bias", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
    "quantization_config", *ROTARY_FIELDS,
)  # fmt: skip
"""Fields of ``config.json`` that are read below; any other must mean nothing (``ConfigReader.refuse_others``)."""


def table(settings: LlamaSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    layer = "model.layers.{}."
    query, others = settings.heads * settings.per_head, settings.groups * settings.per_head
    rules: list[Rule] = [
        Rename("token_embedding.weight", "model.embed_tokens.weight"),
        Rename("final_norm.weight", "model.norm.weight"),
        Rename("head.weight", "lm_head.weight"),
        Rename("blocks.{}.attention.output.bias", f"{layer}self_attn.o_proj.bias"),
        Packed(
            "blocks.{}.feed_forward.gate_up.weight",
            (f"{layer}mlp.gate_proj.weight", f"{layer}mlp.up_proj.weight"),
            (settings.inner_width, settings.inner_width),
        ),
    ]
    for part in ("weight", "bias"):
        rules.append(
            Packed(
                f"blocks.{{}}.attention.query_key_value.{part}",
                tuple(f"{layer}self_attn.{name}_proj.{part}" for name in "qkv"),
                (query, others, others),
            )
        )
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
    whole = without_copies(tensors, {"lm_head.weight": "model.embed_tokens.weight"} if settings.tied else {})
    return {name: tensor for name, tensor in whole.items() if not name.endswith("rotary_emb.inv_freq")}


def model_type(settings: LlamaSettings) -> str:
    """Return transformers' name of the layout with these differences."""
    if settings.query_key_norm:
        return "qwen3"
    if settings.attention_bias == "query_key_value":
        return "qwen2"
    # transformers' Llama wants heads that divide the width; its Mistral is the same model without that demand.
    narrow_heads = settings.width % settings.heads != 0 and settings.attention_bias == "none"
    return "mistral" if settings.attention_window is not None or narrow_heads else "llama"


def to_config(settings: LlamaSettings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json``."""
    family = model_type(settings)
    return {
        "model_type": family,
        "architectures": [CLASSES[family]],
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
        **rotary_fields(settings.rotary_theta, settings.rotary_scaling),
        **_bias_fields(settings, family),
        **_window_fields(settings, family),
        "attention_dropout": 0.0,
        "tie_word_embeddings": settings.tied,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def _bias_fields(settings: LlamaSettings, family: str) -> dict[str, Any]:
    """A Qwen2 has its biases, and a Mistral none, whatever the file says: it says nothing."""
    if family in ("qwen2", "mistral"):
        return {}
    return {"attention_bias": settings.attention_bias == "all", "mlp_bias": False}


def _window_fields(settings: LlamaSettings, family: str) -> dict[str, Any]:
    if family == "mistral":
        return {"sliding_window": settings.attention_window}
    if settings.attention_window is None:
        return {}
    full, others = settings.full_layers, settings.layers - settings.full_layers
    return {
        "use_sliding_window": True,
        "sliding_window": settings.attention_window,
        "max_window_layers": full,
        "layer_types": [FULL] * full + [SLIDING] * others,
    }


def from_config(config: Mapping[str, Any]) -> LlamaSettings:
    """Return the settings of a foreign Llama, Mistral, Qwen2 or Qwen3; what it cannot do is refused by name."""
    family = config.get("model_type", "llama")
    read = ConfigReader({**DEFAULTS.get(str(family), {}), **config})
    read.require("model_type", tuple(CLASSES), default="llama")
    read.require("hidden_act", ("silu", "swish"), default="silu")
    read.require("mlp_bias", (False, None), default=False)
    read.require("tie_word_embeddings", (False, True), default=False)
    read.require("quantization_config", (None,), default=None)
    read.refuse_others(HONOURED)
    heads, layers = read.integer("num_attention_heads", 32), read.integer("num_hidden_layers", 32)
    context = read.integer("max_position_embeddings")
    theta, scaling = read_rotary(config, context)
    window, full_layers = _read_window(read, str(family), layers)
    settings = read.build(
        LlamaSettings,
        vocab_size=read.integer("vocab_size"),
        context_length=context,
        width=read.integer("hidden_size", 4096),
        layers=layers,
        heads=heads,
        key_value_heads=read.optional_integer("num_key_value_heads") or heads,
        head_width=read.optional_integer("head_dim"),
        inner_width=read.integer("intermediate_size"),
        rotary_theta=theta,
        rotary_scaling=scaling,
        attention_window=window,
        full_layers=full_layers,
        attention_bias=_read_bias(read, str(family)),
        norm_epsilon=read.number("rms_norm_eps", 1e-6),
        query_key_norm=family == "qwen3",
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    read.refuse_long("max_position_embeddings", settings.context_length, settings.per_head)
    return settings


def _read_bias(read: ConfigReader, family: str) -> str:
    """A Qwen2 has biases on queries, keys and values always, a Mistral never; the others by ``attention_bias``."""
    if family == "qwen2":
        read.require("attention_bias", (True, None), default=None)
        return "query_key_value"
    read.require("attention_bias", (False, None) if family == "mistral" else (False, True, None), default=False)
    return "all" if read.value("attention_bias") else "none"


def _read_window(read: ConfigReader, family: str, layers: int) -> tuple[int | None, int]:
    """Return the window and how many layers from the first are without it."""
    window = read.optional_integer("sliding_window")
    if family == "llama":
        for name in ("sliding_window", "use_sliding_window", "max_window_layers"):
            read.require(name, (None, False), default=None)
        window = None
    if family == "mistral":
        read.require("max_window_layers", (None,), default=None)
        read.require("use_sliding_window", (None, window is not None), default=None)
    if family in ("qwen2", "qwen3"):
        read.require("use_sliding_window", (False, True, None), default=False)
        window = window if read.value("use_sliding_window") else None
    full = min(read.optional_integer("max_window_layers") or 0, layers) if family.startswith("qwen") else 0
    found = read.value("layer_types")
    if found is not None and not _as_expected(found, layers, layers if window is None else full):
        full = _full_layers(found, layers, family, window)
    return (None, 0) if window is None or full == layers else (window, full)


def _as_expected(types: Any, layers: int, full: int) -> bool:
    """Say whether ``layer_types`` lists ``full`` full layers, then sliding ones; a false number makes no list."""
    return isinstance(types, list) and len(types) == layers and types == [FULL] * full + [SLIDING] * (layers - full)


def _full_layers(types: Any, layers: int, family: str, window: int | None) -> int:
    """Return how many layers of ``layer_types`` are full; the rest must slide, and a window be there for them."""
    full = types.count(FULL) if isinstance(types, list) else -1
    ordered = full >= 0 and _as_expected(types, layers, full)
    if not ordered or window is None or not family.startswith("qwen"):
        raise ModelFolderError(
            tr(
                f"config.json: layer_types = {types!r:.80} is not supported (only {layers} layers, full ones first, "
                "and sliding ones where sliding_window and use_sliding_window say so)",
                f"config.json：不支持 layer_types = {types!r:.80}"
                f"（须为 {layers} 层，full_attention 在前；sliding_attention 须与 sliding_window、"
                "use_sliding_window 一致）",
            )
        )
    return full
