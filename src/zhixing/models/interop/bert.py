"""BERT and RoBERTa as transformers stores them: names, and ``config.json``.

Three kinds of folder open here: ``BertForMaskedLM``, ``RobertaForMaskedLM``, and the bare encoders (``BertModel``,
``RobertaModel``) that sentence embedders are published as. What a masked model's file holds beyond the network of this
family (the head of BERT's next-sentence task) is named in a notice and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from zhixing.language import tr
from zhixing.models.bert import BertSettings
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Packed, Rename, Rule, without_copies

_log = logging.getLogger(__name__)
BARE = ("BertModel", "RobertaModel")
MASKED = ("BertForMaskedLM", "BertForPreTraining", "RobertaForMaskedLM")
_OLDER = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
"""Names of the first published files, and what they became."""
_TIED = {
    "cls.predictions.decoder.weight": "{}embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
    "lm_head.decoder.weight": "{}embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}
"""Copy → what it repeats; ``{}`` stands for the name of the variant, where there is a head."""
_NEXT_SENTENCE = "cls.seq_relationship."


def table(settings: BertSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    prefix = f"{settings.variant}." if settings.head else ""
    layer, width = prefix + "encoder.layer.{}.", settings.width
    rules: list[Rule] = [
        Rename(f"{ours}_embedding.weight", f"{prefix}embeddings.{theirs}_embeddings.weight")
        for ours, theirs in (("token", "word"), ("position", "position"), ("segment", "token_type"))
    ]
    for part in ("weight", "bias"):
        rules.append(Rename(f"embedding_norm.{part}", f"{prefix}embeddings.LayerNorm.{part}"))
        parts = tuple(f"{layer}attention.self.{name}.{part}" for name in ("query", "key", "value"))
        rules.append(Packed(f"blocks.{{}}.attention.query_key_value.{part}", parts, (width,) * 3))
        for ours, theirs in (
            ("attention.output", "attention.output.dense"),
            ("attention_norm", "attention.output.LayerNorm"),
            ("feed_forward.expand", "intermediate.dense"),
            ("feed_forward.contract", "output.dense"),
            ("feed_forward_norm", "output.LayerNorm"),
        ):
            rules.append(Rename(f"blocks.{{}}.{ours}.{part}", f"{layer}{theirs}.{part}"))
    return (*rules, *_outer(settings, prefix))


def _outer(settings: BertSettings, prefix: str) -> list[Rule]:
    """Return the rules of head and pooler."""
    names = {"dense": "cls.predictions.transform.dense", "norm": "cls.predictions.transform.LayerNorm"}
    bias = "cls.predictions.bias"
    if settings.variant == "roberta":
        names, bias = {"dense": "lm_head.dense", "norm": "lm_head.layer_norm"}, "lm_head.bias"
    rules: list[Rule] = [Rename("head.bias", bias)] if settings.head else []
    for part in ("weight", "bias"):
        if settings.head:
            rules.append(Rename(f"head.transform.{part}", f"{names['dense']}.{part}"))
            rules.append(Rename(f"head.norm.{part}", f"{names['norm']}.{part}"))
        if settings.pooler:
            rules.append(Rename(f"pooler.{part}", f"{prefix}pooler.dense.{part}"))
    return rules


def prepare(tensors: Mapping[str, Any], settings: BertSettings) -> dict[str, Any]:
    """Return a foreign file's tensors as ``table`` has them: older names renewed, what is tied or empty left out."""
    prefix = f"{settings.variant}."
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        for old, new in _OLDER:
            name = name.replace(old, new)
        if name.endswith("embeddings.position_ids"):
            continue
        bare = name.removeprefix(prefix)
        if settings.head and bare.startswith(("embeddings.", "encoder.", "pooler.")):
            name = prefix + bare
        found[name if settings.head else bare] = tensor
    copies = {copy: original.format(prefix if settings.head else "") for copy, original in _TIED.items()}
    found = without_copies(found, copies)
    if lost := [name for name in found if name.startswith(_NEXT_SENTENCE)]:
        _log.warning(
            tr(
                f"left out: {', '.join(lost)}, the head of BERT's next-sentence task",
                f"未载入：{', '.join(lost)}，即 BERT 下一句预测任务的输出头",
            )
        )
    return {name: tensor for name, tensor in found.items() if not name.startswith(_NEXT_SENTENCE)}


def refine(settings: BertSettings, tensors: Mapping[str, Any]) -> BertSettings:
    """Return the settings with what only the file says: whether it holds a pooler."""
    return settings.replace(pooler=any("pooler.dense." in name for name in tensors))


def to_config(settings: BertSettings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json`` of a BERT or a RoBERTa."""
    name = "Roberta" if settings.variant == "roberta" else "Bert"
    return {
        "model_type": settings.variant,
        "architectures": [f"{name}ForMaskedLM" if settings.head else f"{name}Model"],
        "vocab_size": settings.vocab_size,
        "max_position_embeddings": settings.first_position + settings.context_length,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "intermediate_size": settings.inner_width or 4 * settings.width,
        "hidden_act": "gelu",
        "type_vocab_size": settings.segments,
        "layer_norm_eps": settings.norm_epsilon,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": settings.padding_id,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "is_decoder": False,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> BertSettings:
    """Return the settings of a foreign BERT or RoBERTa; what this family cannot do is refused by name."""
    read = ConfigReader(config)
    variant = config.get("model_type", "bert")
    read.require("model_type", ("bert", "roberta"), default="bert")
    read.require("hidden_act", ("gelu",), default="gelu")
    read.require("position_embedding_type", ("absolute",), default="absolute")
    read.require("is_decoder", (False,), default=False)
    read.require("add_cross_attention", (False,), default=False)
    read.require("tie_word_embeddings", (True,), default=True)
    read.require("quantization_config", (None,), default=None)
    read.require_each("architectures", (*MASKED, *BARE))
    padding = read.integer("pad_token_id", 1 if variant == "roberta" else 0)
    named = config.get("architectures") or ()
    head = not set([named] if isinstance(named, str) else named) & set(BARE)
    first = padding + 1 if variant == "roberta" else 0
    return read.build(
        BertSettings,
        variant=variant,
        vocab_size=read.integer("vocab_size", 30522 if variant == "bert" else 50265),
        context_length=read.integer("max_position_embeddings", 512) - first,
        width=read.integer("hidden_size", 768),
        layers=read.integer("num_hidden_layers", 12),
        heads=read.integer("num_attention_heads", 12),
        inner_width=read.integer("intermediate_size", 3072),
        segments=read.integer("type_vocab_size", 2),
        padding_id=padding,
        norm_epsilon=read.number("layer_norm_eps", 1e-12),
        head=head,
        pooler=not head and variant == "bert",
    )
