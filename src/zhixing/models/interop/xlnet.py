"""XLNet as transformers stores it (``XLNetLMHeadModel``): names, shapes, and ``config.json``.

Matrices there stand as (D, H, E). A model of ours that never learned segments is written with segment weights of zero,
which say nothing; such weights are left out again when it is read. The published files name no longest text (distances
have no end): the 512 tokens they were trained on are assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import cat

from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule, Tensors, without_copies
from zhixing.models.xlnet import XLNetSettings

PUBLISHED_CONTEXT = 512
HONOURED = (
    "vocab_size", "n_token", "context_length", "d_model", "hidden_size", "n_layer", "num_hidden_layers", "n_head",
    "num_attention_heads", "d_head", "d_inner", "ff_activation", "attn_type", "clamp_len", "layer_norm_eps", "dropout",
    "bi_data", "same_length", "untie_r", "segment_weights", "tie_word_embeddings", "quantization_config",
    "mem_len", "reuse_len", "use_mems_eval", "use_mems_train", "use_mems", "start_n_top", "end_n_top",
    "summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout", "max_position_embeddings",
)  # fmt: skip
"""Fields of ``config.json`` that are read below, and those that say nothing to a language model that reads a text at
once: memory between windows, the heads of other tasks, a longest text that transformers does not know."""
_TIED = "lm_loss.weight"
_SEGMENTS = (".rel_attn.r_s_bias", ".rel_attn.seg_embed")


@dataclass(frozen=True)
class Reshaped:
    """A tensor of ours that is, or stacks along the rows, tensors of theirs of another ``shape``.

    ``axes``: of ours; 1: a vector, 2: a matrix whose rows are the first axis of theirs, ``transposed`` if it is ours'
    columns.
    """

    ours: str
    theirs: tuple[str, ...]
    shape: tuple[int, ...]
    axes: int = 1
    transposed: bool = False

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""
        if (name := self.ours.format(layer)) in source:
            for part, their in zip(source.pop(name).chunk(len(self.theirs)), self.theirs, strict=True):
                whole = part.T if self.transposed else part
                target[their.format(layer)] = whole.reshape(self.shape).contiguous()

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours; nothing unless all parts are there."""
        names = [their.format(layer) for their in self.theirs]
        if all(name in source for name in names):
            parts = [source.pop(name) for name in names]
            flat = [part.reshape(-1) if self.axes == 1 else part.reshape(len(part), -1) for part in parts]
            target[self.ours.format(layer)] = cat([part.T if self.transposed else part for part in flat]).contiguous()


@dataclass(frozen=True)
class Zeros:
    """A tensor of theirs that we do not have: written as zeros, and dropped when read."""

    theirs: str
    shape: tuple[int, ...]

    def export(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Ours to theirs."""
        target[self.theirs.format(layer)] = torch.zeros(self.shape)

    def load(self, layer: str, source: Tensors, target: Tensors) -> None:
        """Theirs to ours."""
        source.pop(self.theirs.format(layer), None)


def table(settings: XLNetSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    width, heads = settings.width, settings.heads
    head = (heads, width // heads)
    ours, theirs = "blocks.{}.", "transformer.layer.{}."
    rules: list[Rule] = [
        Rename("token_embedding.weight", "transformer.word_embedding.weight"),
        Rename("head_bias", "lm_loss.bias"),
        Reshaped("mask_embedding", ("transformer.mask_emb",), (1, 1, width)),
    ]
    for name, letters in (("query", "q"), ("key_value", "kv"), ("position", "r")):
        parts = tuple(f"{theirs}rel_attn.{letter}" for letter in letters)
        rules.append(Reshaped(f"{ours}attention.{name}.weight", parts, (width, *head), 2, transposed=True))
    rules.append(Reshaped(f"{ours}attention.output.weight", (f"{theirs}rel_attn.o",), (width, *head), 2))
    for name, their in (("content_bias", "r_w_bias"), ("position_bias", "r_r_bias")):
        rules.append(Reshaped(f"{ours}attention.{name}", (f"{theirs}rel_attn.{their}",), head))
    bias, embedding = (theirs + name.removeprefix(".") for name in _SEGMENTS)
    if settings.segments:
        rules.append(Reshaped(f"{ours}attention.segment_bias", (bias,), head))
        rules.append(Reshaped(f"{ours}attention.segment_embedding", (embedding,), (2, *head), 2))
    else:
        rules += [Zeros(bias, head), Zeros(embedding, (2, *head))]
    for part in ("weight", "bias"):
        for name, their in (
            ("attention_norm", "rel_attn.layer_norm"),
            ("feed_forward.expand", "ff.layer_1"),
            ("feed_forward.contract", "ff.layer_2"),
            ("feed_forward_norm", "ff.layer_norm"),
        ):
            rules.append(Rename(f"{ours}{name}.{part}", f"{theirs}{their}.{part}"))
    return tuple(rules)


def prepare(tensors: Mapping[str, Any], settings: XLNetSettings) -> dict[str, Any]:
    """Return the tensors without the head's matrix, which is the embedding."""
    return without_copies(tensors, {_TIED: "transformer.word_embedding.weight"})


def refine(settings: XLNetSettings, tensors: Mapping[str, Any]) -> XLNetSettings:
    """Return the settings with what only the file says: whether its segment weights say anything."""
    said = [tensor for name, tensor in tensors.items() if name.endswith(_SEGMENTS)]
    return settings.replace(segments=any(bool((tensor != 0).any()) for tensor in said))


def to_config(settings: XLNetSettings, separator_id: int) -> dict[str, Any]:
    """Return transformers' ``config.json`` of an XLNet."""
    return {
        "model_type": "xlnet",
        "architectures": ["XLNetLMHeadModel"],
        "vocab_size": settings.vocab_size,
        "context_length": settings.context_length,
        "d_model": settings.width,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "d_head": settings.width // settings.heads,
        "d_inner": settings.inner_width or 4 * settings.width,
        "ff_activation": "gelu",
        "attn_type": settings.attention,
        "clamp_len": settings.clamp or -1,
        "layer_norm_eps": settings.norm_epsilon,
        "dropout": settings.dropout,
        "bi_data": False,
        "same_length": False,
        "untie_r": True,
        "mem_len": None,
        "reuse_len": None,
        "segment_weights": settings.segments,
        "pad_token_id": separator_id,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> XLNetSettings:
    """Return the settings of a foreign XLNet; what this family cannot do is refused by name.

    How much memory a foreign model would carry from window to window is no matter of a single reading.
    """
    read = ConfigReader(config)
    read.refuse_others(HONOURED)
    read.require("ff_activation", ("gelu",), default="gelu")
    read.require("attn_type", ("bi", "uni"), default="bi")
    read.require("bi_data", (False,), default=False)
    read.require("same_length", (False,), default=False)
    read.require("untie_r", (True,), default=True)
    read.require("tie_word_embeddings", (True,), default=True)
    read.require("quantization_config", (None,), default=None)
    read.require("segment_weights", (True, False), default=True)
    read.require_each("architectures", ("XLNetLMHeadModel",))
    # Each of these fields has two names in transformers.
    width = read.integer("d_model", read.integer("hidden_size", 1024))
    heads = read.integer("n_head", read.integer("num_attention_heads", 16))
    read.require("d_head", (None, width // max(heads, 1)), default=None)
    clamp = read.integer("clamp_len", -1)
    return read.build(
        XLNetSettings,
        vocab_size=read.integer("vocab_size", read.integer("n_token", 32000)),
        context_length=read.integer("context_length", PUBLISHED_CONTEXT),
        width=width,
        layers=read.integer("n_layer", read.integer("num_hidden_layers", 24)),
        heads=heads,
        inner_width=read.integer("d_inner", 4096),
        attention=config.get("attn_type", "bi"),
        clamp=clamp if clamp > 0 else None,
        segments=config.get("segment_weights", True),
        norm_epsilon=read.number("layer_norm_eps", 1e-12),
    )
