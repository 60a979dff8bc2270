"""The Transformer as transformers stores it (``MarianMTModel``): names, and ``config.json``.

That is Vaswani et al.'s architecture with the same placement of sines and cosines. A folder of ours opens there; theirs
opens here unless embeddings are not shared or layers are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.models.interop.fields import DEEPEST, ConfigReader
from zhixing.models.interop.names import Packed, Rename, Rule, Tensors, without_copies
from zhixing.models.transformer import TransformerSettings
from zhixing.nn.positions import sinusoidal

_SHARED, _BIAS = "model.shared.weight", "final_logits_bias"
_COPIES = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
_SINUSOIDS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
"""The shared table once more, and sinusoids, which are not learned."""
_ROUNDED = 4e-3
"""What half precision may do to a sine (8 bits)."""
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu"}
HONOURED = (
    "vocab_size", "decoder_vocab_size", "max_position_embeddings", "target_length", "d_model", "encoder_layers",
    "decoder_layers", "encoder_attention_heads", "decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim",
    "activation_function", "scale_embedding", "logits_bias", "dropout", "is_encoder_decoder", "tie_word_embeddings",
    "share_encoder_decoder_embeddings", "normalize_before", "add_final_layer_norm", "normalize_embedding",
    "static_position_embeddings", "quantization_config", "num_hidden_layers", "num_attention_heads", "hidden_size",
    "encoder_layerdrop", "decoder_layerdrop", "activation_dropout", "init_std", "add_bias_logits",
)  # fmt: skip
"""Fields of ``config.json`` that are read below, and those that say nothing in evaluation or twice what others say."""


@dataclass(frozen=True)
class HeadBias:
    """The bias of the logits: a row of theirs, a vector of ours; zeros where we have none."""

    vocab_size: int
    kept: bool

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""
        if self.kept and "head_bias" in source:
            target[_BIAS] = source.pop("head_bias")[None]
        elif not self.kept:
            target[_BIAS] = torch.zeros(1, self.vocab_size)

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours."""
        if _BIAS in source:
            bias = source.pop(_BIAS)
            if self.kept:
                target["head_bias"] = bias[0]


def table(settings: TransformerSettings) -> tuple[Rule, ...]:
    """Return the rules of names, one set per layer: the two stacks may differ in depth."""
    rules: list[Rule] = [
        Rename("token_embedding.weight", _SHARED),
        HeadBias(settings.vocab_size or 0, settings.head_bias),
    ]
    for stack, layers in (("encoder", settings.layers), ("decoder", settings.writing_layers)):
        for layer in range(layers):
            rules += _block(
                f"blocks.{stack}.{layer}", f"model.{stack}.layers.{layer}", settings.width, stack == "decoder"
            )
    return tuple(rules)


def _block(ours: str, theirs: str, width: int, crosses: bool) -> list[Rule]:
    """Return the rules of one block."""
    rules: list[Rule] = []
    for part in ("weight", "bias"):
        names = {
            "attention.output": "self_attn.out_proj",
            "attention_norm": "self_attn_layer_norm",
            "feed_forward.expand": "fc1",
            "feed_forward.contract": "fc2",
            "feed_forward_norm": "final_layer_norm",
        }
        if crosses:
            names["cross.query"] = "encoder_attn.q_proj"
            names["cross.output"] = "encoder_attn.out_proj"
            names["cross_norm"] = "encoder_attn_layer_norm"
            pair = tuple(f"{theirs}.encoder_attn.{letter}_proj.{part}" for letter in "kv")
            rules.append(Packed(f"{ours}.cross.key_value.{part}", pair, (width,) * 2))
        rules += [Rename(f"{ours}.{mine}.{part}", f"{theirs}.{other}.{part}") for mine, other in names.items()]
        triple = tuple(f"{theirs}.self_attn.{letter}_proj.{part}" for letter in "qkv")
        rules.append(Packed(f"{ours}.attention.query_key_value.{part}", triple, (width,) * 3))
    return rules


def prepare(tensors: Mapping[str, Any], settings: TransformerSettings) -> dict[str, Any]:
    """Return a foreign file's tensors without copies of the embedding and tables of sinusoids; the bias if absent."""
    whole = without_copies(tensors, dict.fromkeys(_COPIES, _SHARED))
    _refuse_other_places([whole[name] for name in _SINUSOIDS if name in whole])
    found = {name: tensor for name, tensor in whole.items() if name not in _SINUSOIDS}
    found.setdefault(_BIAS, torch.zeros(1, settings.vocab_size or 0))
    return found


def _refuse_other_places(tables: Sequence[torch.Tensor]) -> None:
    """Refuse (P, D) tables of positions that are not the sinusoids which this family computes."""
    for table in tables:
        right = table.ndim == 2 and table.shape[1] % 2 == 0
        if right:
            turns = sinusoidal(*table.shape)
            places = torch.cat([turns[:, 0::2], turns[:, 1::2]], dim=1)
            right = bool((table.float() - places).abs().le(_ROUNDED).all())
        if not right:
            raise ModelFolderError(
                tr(
                    "model.safetensors: embed_positions.weight holds other values than the sinusoids of this family",
                    "model.safetensors：embed_positions.weight 的数值不是该模型族的正弦位置编码",
                )
            )


def refine(settings: TransformerSettings, tensors: Mapping[str, Any]) -> TransformerSettings:
    """Return the settings with what only the file says: whether the head's bias says anything."""
    bias = tensors.get(_BIAS)
    return settings.replace(head_bias=settings.head_bias or (bias is not None and bool((bias != 0).any())))


def to_config(settings: TransformerSettings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json`` of a Marian model."""
    start = separator_id if settings.start_id is None else settings.start_id
    return {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "vocab_size": settings.vocab_size,
        "decoder_vocab_size": settings.vocab_size,
        "max_position_embeddings": settings.context_length + 1,
        "target_length": settings.target_length,
        "d_model": settings.width,
        "encoder_layers": settings.layers,
        "decoder_layers": settings.writing_layers,
        "encoder_attention_heads": settings.heads,
        "decoder_attention_heads": settings.heads,
        "encoder_ffn_dim": settings.inner,
        "decoder_ffn_dim": settings.inner,
        "activation_function": settings.activation,
        "scale_embedding": settings.scaled,
        "logits_bias": settings.head_bias,
        "dropout": settings.dropout,
        "is_encoder_decoder": True,
        "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True,
        "decoder_start_token_id": start,
        "pad_token_id": start,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "forced_eos_token_id": None,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> TransformerSettings:
    """Return the settings of a foreign Marian model; what this family cannot do is refused by name."""
    read = ConfigReader(config)
    read.require("activation_function", tuple(_ACTIVATIONS), default="gelu")
    read.require("share_encoder_decoder_embeddings", (True,), default=True)
    read.require("tie_word_embeddings", (True,), default=True)
    read.require("is_encoder_decoder", (True,), default=True)
    read.require("scale_embedding", (True, False), default=False)
    read.require("normalize_before", (False,), default=False)
    read.require("add_final_layer_norm", (False,), default=False)
    read.require("normalize_embedding", (False,), default=False)
    read.require("static_position_embeddings", (True,), default=True)
    read.require("quantization_config", (None,), default=None)
    read.require("logits_bias", (True, False), default=False)
    read.require_each("architectures", ("MarianMTModel",))
    read.refuse_others(HONOURED)
    vocabulary, layers = read.integer("vocab_size", 58101), read.integer("encoder_layers", 12, DEEPEST)
    heads, inner = read.integer("encoder_attention_heads", 16), read.integer("encoder_ffn_dim", 4096)
    read.require("decoder_vocab_size", (None, vocabulary), default=None)
    read.require("decoder_attention_heads", (heads,), default=16)
    read.require("decoder_ffn_dim", (inner,), default=4096)
    writing, start = read.integer("decoder_layers", 12, DEEPEST), read.integer("decoder_start_token_id", 58100)
    settings = read.build(
        TransformerSettings,
        vocab_size=vocabulary,
        context_length=read.integer("max_position_embeddings", 1024) - 1,
        target_length=read.optional_integer("target_length"),
        start_id=None if start == config.get("bos_token_id") else start,
        layers=layers,
        decoder_layers=None if writing == layers else writing,
        width=read.integer("d_model", 1024),
        heads=heads,
        inner_width=inner,
        activation=_ACTIVATIONS[str(config.get("activation_function", "gelu"))],
        scaled=bool(config.get("scale_embedding", False)),
        head_bias=bool(config.get("logits_bias", False)),
    )
    read.refuse_long("max_position_embeddings", settings.context_length, settings.width)
    return settings
