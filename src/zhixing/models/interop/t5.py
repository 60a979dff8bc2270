"""T5 as transformers stores it (``T5ForConditionalGeneration``): names, and ``config.json``.

transformers keeps every T5's ``tie_word_embeddings`` true in memory and reads the field only as "hidden states are
divided before the head"; whether the head is the embedding is said by the file's tensors alone (``refine``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.interop.fields import DEEPEST, ConfigReader
from zhixing.models.interop.names import Packed, Rename, Rule, without_copies
from zhixing.models.t5 import T5Settings

_HEAD, _SHARED = "lm_head.weight", "shared.weight"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
"""In the first published files; no network reads it."""
HONOURED = (
    "vocab_size", "n_positions", "target_length", "gap_token_ids", "d_model", "d_kv", "d_ff", "num_layers",
    "num_decoder_layers", "num_heads", "feed_forward_proj", "dense_act_fn", "is_gated_act",
    "relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon", "dropout_rate",
    "is_encoder_decoder", "tie_word_embeddings", "scale_decoder_outputs", "quantization_config", "initializer_factor",
    "output_past",
)  # fmt: skip
"""Fields of ``config.json`` that are read below, and those that say nothing in evaluation."""
_ACTIVATIONS = {"relu": "relu", "gated-gelu": "gelu_new"}
"""Kind of feed-forward, and what its activation is called beside it."""
_STACKS = {"encoder": ("attention", "feed_forward"), "decoder": ("attention", "cross", "feed_forward")}


def table(settings: T5Settings) -> tuple[Rule, ...]:
    """Return the rules of names, one set per layer: the two stacks may differ in depth."""
    rules: list[Rule] = [Rename("token_embedding.weight", _SHARED)]
    if not settings.tied:
        rules.append(Rename("head.weight", _HEAD))
    for stack, layers in (("encoder", settings.layers), ("decoder", settings.writing_layers)):
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        rules.append(Rename(f"{stack}_bias.embedding.weight", bias))
        rules.append(Rename(f"{stack}_norm.weight", f"{stack}.final_layer_norm.weight"))
        for layer in range(layers):
            for place, part in enumerate(_STACKS[stack]):
                ours, theirs = f"blocks.{stack}.{layer}.{part}", f"{stack}.block.{layer}.layer.{place}"
                rules.append(Rename(f"{ours}_norm.weight", f"{theirs}.layer_norm.weight"))
                rules += _part(part, ours, theirs, settings)
    return tuple(rules)


def _part(part: str, ours: str, theirs: str, settings: T5Settings) -> list[Rule]:
    """Return the rules of one part of a block."""
    inner = settings.heads * settings.per_head
    if part == "feed_forward":
        theirs = f"{theirs}.DenseReluDense"
        gated = settings.feed_forward == "gated-gelu"
        expand = ("wi_0", "wi_1") if gated else ("wi",)
        names = tuple(f"{theirs}.{name}.weight" for name in expand)
        packed = Packed(f"{ours}.expand.weight", names, (settings.inner,) * len(names))
        return [packed, Rename(f"{ours}.contract.weight", f"{theirs}.wo.weight")]
    theirs = f"{theirs}.{'EncDecAttention' if part == 'cross' else 'SelfAttention'}"
    rules: list[Rule] = [Rename(f"{ours}.output.weight", f"{theirs}.o.weight")]
    if part == "cross":
        rules.append(Rename(f"{ours}.query.weight", f"{theirs}.q.weight"))
        return [*rules, Packed(f"{ours}.key_value.weight", (f"{theirs}.k.weight", f"{theirs}.v.weight"), (inner,) * 2)]
    names = tuple(f"{theirs}.{name}.weight" for name in "qkv")
    return [*rules, Packed(f"{ours}.query_key_value.weight", names, (inner,) * 3)]


def prepare(tensors: Mapping[str, Any], settings: T5Settings) -> dict[str, Any]:
    """Return a foreign file's tensors without copies of the embedding and what no network reads."""
    copies = dict.fromkeys((*_COPIES, *([_HEAD] if settings.tied else [])), _SHARED)
    return {name: tensor for name, tensor in without_copies(tensors, copies).items() if name != _UNUSED}


def refine(settings: T5Settings, tensors: Mapping[str, Any]) -> T5Settings:
    """Return the settings with what only the file says: whether it holds a head of its own."""
    head, shared = tensors.get(_HEAD), tensors.get(_SHARED)
    tied = head is None or (shared is not None and head.shape == shared.shape and bool((head == shared).all()))
    return settings.replace(tied=tied, scaled=None if settings.scaled == tied else settings.scaled)


def to_config(settings: T5Settings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json`` of a T5."""
    return {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": settings.vocab_size,
        "n_positions": settings.context_length,
        "d_model": settings.width,
        "d_kv": settings.per_head,
        "d_ff": settings.inner,
        "num_layers": settings.layers,
        "num_decoder_layers": settings.writing_layers,
        "num_heads": settings.heads,
        "feed_forward_proj": settings.feed_forward,
        "relative_attention_num_buckets": settings.buckets,
        "relative_attention_max_distance": settings.farthest,
        "layer_norm_epsilon": settings.norm_epsilon,
        "dropout_rate": settings.dropout,
        "is_encoder_decoder": True,
        "tie_word_embeddings": settings.divides,
        "scale_decoder_outputs": settings.divides,
        "decoder_start_token_id": separator_id if settings.start_id is None else settings.start_id,
        "pad_token_id": separator_id,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
        "target_length": settings.target_length,
        "gap_token_ids": list(settings.gap_ids),
    }


def from_config(config: Mapping[str, Any]) -> T5Settings:
    """Return the settings of a foreign T5; what this family cannot do is refused by name."""
    read = ConfigReader(config)
    read.require("feed_forward_proj", tuple(_ACTIVATIONS), default="relu")
    kind = str(config.get("feed_forward_proj", "relu"))
    read.require("dense_act_fn", (None, _ACTIVATIONS[kind]), default=None)
    read.require("is_gated_act", (None, kind == "gated-gelu"), default=None)
    read.require("is_encoder_decoder", (True,), default=True)
    read.require("tie_word_embeddings", (True, False, None), default=None)
    read.require("scale_decoder_outputs", (True, False, None), default=None)
    read.require("quantization_config", (None,), default=None)
    read.require_each("architectures", ("T5ForConditionalGeneration", "T5WithLMHeadModel"))
    read.refuse_others(HONOURED)
    divides = config.get("scale_decoder_outputs")
    divides = config.get("tie_word_embeddings") is not False if divides is None else divides
    layers, width = read.integer("num_layers", 6, DEEPEST), read.integer("d_model", 512)
    writing, start = read.optional_integer("num_decoder_layers", DEEPEST), read.integer("decoder_start_token_id", 0)
    return read.build(
        T5Settings,
        vocab_size=read.integer("vocab_size", 32128),
        context_length=read.integer("n_positions", 512),
        layers=layers,
        decoder_layers=None if writing == layers else writing,
        width=width,
        heads=read.integer("num_heads", 8),
        head_width=read.integer("d_kv", 64),
        inner_width=read.integer("d_ff", 2048),
        feed_forward=kind,
        tied=divides,
        scaled=divides,
        buckets=read.integer("relative_attention_num_buckets", 32),
        farthest=read.integer("relative_attention_max_distance", 128),
        norm_epsilon=read.number("layer_norm_epsilon", 1e-6),
        start_id=None if start == config.get("bos_token_id") else start,
        target_length=read.optional_integer("target_length"),
        gap_ids=config.get("gap_token_ids", []),
    )
