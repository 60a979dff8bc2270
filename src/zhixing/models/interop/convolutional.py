"""Gated convolutional language models as they are stored; no family of another library is meant.

A convolution's weight is a matrix (2·D, K·D): value above gate, and in each row the oldest of the K inputs first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule


def table(settings: ConvolutionalSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    rules = [Rename("token_embedding.weight", "embedding.weight")]
    for part in ("norm.weight", "norm.bias", "convolution.weight", "convolution.bias"):
        rules.append(Rename(f"blocks.{{}}.{part}", f"layers.{{}}.{part}"))
    rules += [Rename(f"norm.{part}", f"norm.{part}") for part in ("weight", "bias")]
    if not settings.tied:
        rules.append(Rename("head.weight", "head.weight"))
    return tuple(rules)


def prepare(tensors: Mapping[str, Any], settings: ConvolutionalSettings) -> dict[str, Any]:
    """Return the tensors as they are: nothing more is stored."""
    return dict(tensors)


def to_config(settings: ConvolutionalSettings, separator_id: int) -> dict[str, Any]:
    """Return the ``config.json`` of a convolutional model."""
    return {
        "model_type": "convolutional",
        "vocab_size": settings.vocab_size,
        "context_length": settings.context_length,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "kernel_size": settings.kernel,
        "layer_norm_eps": settings.norm_epsilon,
        "dropout": settings.dropout,
        "tie_word_embeddings": settings.tied,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> ConvolutionalSettings:
    """Return the settings of a stored model; what is unknown is refused by name."""
    read = ConfigReader(config)
    read.require("tie_word_embeddings", (True, False), default=False)
    return read.build(
        ConvolutionalSettings,
        vocab_size=read.integer("vocab_size"),
        context_length=read.integer("context_length"),
        width=read.integer("hidden_size"),
        layers=read.integer("num_hidden_layers"),
        kernel=read.integer("kernel_size"),
        norm_epsilon=read.number("layer_norm_eps", default=1e-5),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
