"""Building a neural decoder from its settings, and its exchange with the Hugging Face layout.

Our tensor names and theirs are related by the tables in ``interop``; a model folder always holds theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zhixing.errors import ModelFolderError
from zhixing.language import tr
from zhixing.model_folder import check_tensor_names, tensor_shapes
from zhixing.models import (
    bert,
    convolutional,
    feedforward,
    gpt2,
    llama,
    recurrent,
    recurrent_encoder_decoder,
    t5,
    transformer,
    xlnet,
)
from zhixing.models.interop import bert as bert_exchange
from zhixing.models.interop import convolutional as convolutional_exchange
from zhixing.models.interop import feedforward as feedforward_exchange
from zhixing.models.interop import gpt2 as gpt2_exchange
from zhixing.models.interop import llama as llama_exchange
from zhixing.models.interop import recurrent as recurrent_exchange
from zhixing.models.interop import recurrent_encoder_decoder as recurrent_encoder_decoder_exchange
from zhixing.models.interop import t5 as t5_exchange
from zhixing.models.interop import transformer as transformer_exchange
from zhixing.models.interop import xlnet as xlnet_exchange
from zhixing.models.interop.names import Rule, to_ours, to_theirs

DecoderSettings = (
    gpt2.GPT2Settings
    | llama.LlamaSettings
    | recurrent.RecurrentSettings
    | feedforward.FeedForwardSettings
    | convolutional.ConvolutionalSettings
    | bert.BertSettings
    | xlnet.XLNetSettings
    | transformer.TransformerSettings
    | recurrent_encoder_decoder.RecurrentEncoderDecoderSettings
    | t5.T5Settings
)
Decoder = (
    gpt2.GPT2
    | llama.Llama
    | recurrent.Recurrent
    | feedforward.FeedForward
    | convolutional.Convolutional
    | bert.Bert
    | xlnet.XLNet
    | transformer.Transformer
    | recurrent_encoder_decoder.RecurrentEncoderDecoder
    | t5.T5
)


class Exchange(Protocol):
    """What a module of ``interop`` offers for its family."""

    def table(self, settings: Any) -> tuple[Rule, ...]:
        """Return how our tensor names and theirs are related."""

    def prepare(self, tensors: Mapping[str, Any], settings: Any) -> dict[str, Any]:
        """Return their tensors without what may be there and says nothing."""

    def to_config(self, settings: Any, separator_id: int) -> dict[str, Any]:
        """Return ``config.json``."""

    def from_config(self, config: Mapping[str, Any]) -> Any:
        """Return the settings that a ``config.json`` describes."""


FAMILIES: dict[str, tuple[Callable[[Any], Decoder], Exchange]] = {
    "gpt2": (gpt2.GPT2, gpt2_exchange),
    "llama": (llama.Llama, llama_exchange),
    "recurrent": (recurrent.Recurrent, recurrent_exchange),
    "feedforward": (feedforward.FeedForward, feedforward_exchange),
    "convolutional": (convolutional.Convolutional, convolutional_exchange),
    "bert": (bert.Bert, bert_exchange),
    "xlnet": (xlnet.XLNet, xlnet_exchange),
    "transformer": (transformer.Transformer, transformer_exchange),
    "recurrent_encoder_decoder": (
        recurrent_encoder_decoder.RecurrentEncoderDecoder,
        recurrent_encoder_decoder_exchange,
    ),
    "t5": (t5.T5, t5_exchange),
}
"""Family → the class of its module, and its exchange with the Hugging Face layout."""


def build_decoder(settings: DecoderSettings) -> Decoder:
    """Return a new model with random weights (drawn from torch's global generator)."""
    return FAMILIES[settings.family][0](settings)


def parameter_count(settings: DecoderSettings) -> int:
    """Return the number of weights a model of this shape has, tied ones once, without allocating them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_decoder(settings).parameters())


def to_config(settings: DecoderSettings, separator_id: int) -> dict[str, Any]:
    """Return the Hugging Face ``config.json``."""
    return _exchange(settings).to_config(settings, separator_id)


def from_config(family: str, config: Mapping[str, Any]) -> DecoderSettings:
    """Return the settings that a Hugging Face ``config.json`` describes.

    Raises:
        ModelFolderError: a field is of the wrong type, or asks for what the family cannot do.
    """
    settings: DecoderSettings = FAMILIES[family][1].from_config(config)
    return settings


def read_settings(family: str, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> DecoderSettings:
    """Return ``from_config``, with what only the weights say where a family may lack parts (``refine``)."""
    settings = from_config(family, config)
    refine = getattr(FAMILIES[family][1], "refine", None)
    return settings if refine is None else refine(settings, tensors)


def export_tensors(module: nn.Module, settings: DecoderSettings) -> dict[str, Tensor]:
    """Return the weights under the Hugging Face names."""
    ours = {name: tensor.detach() for name, tensor in module.state_dict().items()}
    return to_theirs(_exchange(settings).table(settings), settings.layers, ours)


def restore_decoder(settings: DecoderSettings, tensors: Mapping[str, Tensor], where: str) -> Decoder:
    """Return a model with the given weights; no random weights are drawn for it.

    Raises:
        ModelFolderError: as ``load_tensors``.
    """
    if settings.layers > len(tensors):
        raise ModelFolderError(
            tr(
                f"{where}: config.json asks for {settings.layers} layers, the file has {len(tensors)} tensors",
                f"{where}：config.json 要求 {settings.layers} 层，却只有 {len(tensors)} 个张量",
            )
        )
    with torch.device("meta"):
        module = build_decoder(settings)
    load_tensors(module, settings, tensors, where)
    return module


def load_tensors(module: nn.Module, settings: DecoderSettings, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put weights with Hugging Face names into ``module``: every tensor must fit, none may be left over.

    The module's own tensors keep their identity, except those of a module without memory (on the meta
    device).

    Raises:
        ModelFolderError: names are missing or too many, or a shape is wrong: all are listed.
    """
    exchange = _exchange(settings)
    prepared = exchange.prepare(tensors, settings)
    table, new = exchange.table(settings), next(module.parameters()).is_meta
    shapes = {name: tensor.to("meta") for name, tensor in module.state_dict().items()}
    check_tensor_names(tensor_shapes(to_theirs(table, settings.layers, shapes)), tensor_shapes(prepared), where)
    ours = to_ours(table, settings.layers, prepared)
    weights = {name: tensor.to(torch.float32, copy=new) for name, tensor in ours.items()}
    module.load_state_dict(weights, assign=new)


def _exchange(settings: DecoderSettings) -> Exchange:
    return FAMILIES[settings.family][1]
