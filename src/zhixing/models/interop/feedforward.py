"""Feed-forward language models as they are stored; no family of another library is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule


def table(settings: FeedForwardSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    return (
        Rename("token_embedding.weight", "embedding.weight"),
        Rename("blocks.{}.weight", "hidden.{}.weight"),
        Rename("blocks.{}.bias", "hidden.{}.bias"),
        Rename("head.weight", "head.weight"),
    )


def prepare(tensors: Mapping[str, Any], settings: FeedForwardSettings) -> dict[str, Any]:
    """Return the tensors as they are: nothing more is stored."""
    return dict(tensors)


def to_config(settings: FeedForwardSettings, separator_id: int) -> dict[str, Any]:
    """Return the ``config.json`` of a feed-forward model."""
    return {
        "model_type": "feedforward",
        "vocab_size": settings.vocab_size,
        "context_length": settings.context_length,
        "window": settings.window,
        "embedding_size": settings.embedding_width,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "direct_connections": settings.direct,
        "dropout": settings.dropout,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> FeedForwardSettings:
    """Return the settings of a stored model; what is unknown is refused by name."""
    read = ConfigReader(config)
    read.require("direct_connections", (True, False), default=False)
    return read.build(
        FeedForwardSettings,
        vocab_size=read.integer("vocab_size"),
        context_length=read.integer("context_length"),
        window=read.integer("window"),
        embedding_width=read.integer("embedding_size"),
        width=read.integer("hidden_size"),
        layers=read.integer("num_hidden_layers"),
        direct=bool(config.get("direct_connections", False)),
    )
