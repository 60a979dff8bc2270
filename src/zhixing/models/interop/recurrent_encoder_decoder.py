"""Recurrent encoder-decoders as they are stored: torch's names for the layers, and ``config.json``.

No family of transformers is meant. The names behind ``encoder.`` and ``decoder.`` are those of ``torch.nn.RNN``,
``LSTM`` and ``GRU`` (bidirectional where the encoder reads both ways), which load them as they are; an encoder that
reads backward only is to be given its source in reverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zhixing.models.interop.fields import ConfigReader
from zhixing.models.interop.names import Rename, Rule
from zhixing.models.recurrent_encoder_decoder import READERS, RecurrentEncoderDecoderSettings

_OTHERS = {
    "additive": ("blocks.decoder.0.attention.query.weight", "blocks.decoder.0.attention.key.weight",
                 "blocks.decoder.0.attention.score.weight", "output.weight", "output.bias"),
    "multiplicative": ("look.attention.key.weight", "look.combine.weight"),
    "dot": ("look.combine.weight",),
    "concat": ("look.attention.query.weight", "look.attention.key.weight", "look.attention.score.weight",
               "look.combine.weight"),
    "none": (),
}  # fmt: skip


def table(settings: RecurrentEncoderDecoderSettings) -> tuple[Rule, ...]:
    """Return the rules of names."""
    rules: list[Rule] = [Rename("token_embedding.weight", "embedding.weight")]
    both = settings.encoder == "both"
    for layer in range(settings.layers):
        for name, direction in READERS.items():
            if settings.encoder in (direction, "both"):
                suffix = "_reverse" if both and direction == "backward" else ""
                rules += _recurrent(f"blocks.encoder.{layer}.readers.{name}", "encoder", f"l{layer}{suffix}")
        looks = ".layer" if layer == 0 and settings.attention == "additive" else ""
        rules += _recurrent(f"blocks.decoder.{layer}{looks}", "decoder", f"l{layer}")
        if both:
            rules += [Rename(f"begin.{layer}.{part}", f"begin.{layer}.{part}") for part in ("weight", "bias")]
    rules += [Rename(name, name.removeprefix("blocks.decoder.0.")) for name in _OTHERS[settings.attention]]
    return (*rules, *(() if settings.tied else (Rename("head.weight", "head.weight"),)))


def _recurrent(ours: str, theirs: str, where: str) -> list[Rule]:
    """Return the rules of one recurrent layer."""
    return [
        Rename(f"{ours}.{mine}.{part}", f"{theirs}.{part}_{other}_{where}")
        for mine, other in (("input", "ih"), ("recurrent", "hh"))
        for part in ("weight", "bias")
    ]


def prepare(tensors: Mapping[str, Any], settings: RecurrentEncoderDecoderSettings) -> dict[str, Any]:
    """Return the tensors as they are: nothing more is stored."""
    return dict(tensors)


def to_config(settings: RecurrentEncoderDecoderSettings, separator_id: int) -> dict[str, Any]:
    """Return the ``config.json`` of a recurrent encoder-decoder."""
    return {
        "model_type": "recurrent_encoder_decoder",
        "cell": settings.cell,
        "vocab_size": settings.vocab_size,
        "context_length": settings.context_length,
        "target_length": settings.target_length,
        "attention": settings.attention,
        "input_feeding": settings.input_feeding,
        "encoder_direction": settings.encoder,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "dropout": settings.dropout,
        "is_encoder_decoder": True,
        "tie_word_embeddings": settings.tied,
        "decoder_start_token_id": separator_id if settings.start_id is None else settings.start_id,
        "bos_token_id": separator_id,
        "eos_token_id": separator_id,
        "dtype": "float32",
    }


def from_config(config: Mapping[str, Any]) -> RecurrentEncoderDecoderSettings:
    """Return the settings of a stored model; what is unknown is refused by name."""
    read = ConfigReader(config)
    read.require("cell", ("rnn", "lstm", "gru"), default=None)
    read.require("attention", tuple(_OTHERS), default=None)
    read.require("encoder_direction", ("forward", "backward", "both"), default=None)
    read.require("input_feeding", (True, False), default=True)
    read.require("tie_word_embeddings", (True, False), default=False)
    start = read.integer("decoder_start_token_id")
    return read.build(
        RecurrentEncoderDecoderSettings,
        cell=config["cell"],
        vocab_size=read.integer("vocab_size"),
        context_length=read.integer("context_length"),
        target_length=read.optional_integer("target_length"),
        start_id=None if start == config.get("bos_token_id") else start,
        attention=config["attention"],
        input_feeding=bool(config.get("input_feeding", True)),
        encoder=config["encoder_direction"],
        width=read.integer("hidden_size"),
        layers=read.integer("num_hidden_layers"),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
