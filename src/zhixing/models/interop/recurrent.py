"""Recurrent models as they are stored: torch's names for the layers, and ``config.json``.

No family of transformers is meant: the layers' names behind ``recurrent.`` are those of ``torch.nn.RNN``, ``LSTM`` and
``GRU``, which load them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule
from zhixing.models.recurrent import RecurrentSettings

CELLS = ("rnn", "lstm", "gru")


def table(settings: RecurrentSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    rules = [Rename("token_embedding.weight", "embedding.weight")]
    for ours, theirs in (("input", "ih"), ("recurrent", "hh")):
        for part in ("weight", "bias"):
            rules.append(Rename(f"blocks.{{}}.{ours}.{part}", f"recurrent.{part}_{theirs}_l{{}}"))
    if not settings.tied:
        rules.append(Rename("head.weight", "head.weight"))
    return tuple(rules)


def prepare(tensors: Mapping[str, Any], settings: RecurrentSettings) -> dict[str, Any]:
    """Return the tensors as they are: nothing more is stored."""
    return dict(tensors)


def to_config(settings: RecurrentSettings, separator_id: int) -> dict[str, Any]:
    """Return the ``config.json`` of a recurrent model."""
    return {
        "model_type": "recurrent",
        "cell": settings.cell,
        "vocab_size": settings.vocab_size,
        "context_length": settings.context_length,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "dropout": settings.dropout,
        "tie_word_embeddings": settings.tied,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> RecurrentSettings:
    """Return the settings of a stored model; what is unknown is refused by name."""
    read = ConfigReader(config)
    read.require("cell", CELLS, default=None)
    read.require("tie_word_embeddings", (True, False), default=False)
    return read.build(
        RecurrentSettings,
        cell=config["cell"],
        vocab_size=read.integer("vocab_size"),
        context_length=read.integer("context_length"),
        width=read.integer("hidden_size"),
        layers=read.integer("num_hidden_layers"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
