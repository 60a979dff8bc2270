"""What training costs: floating-point operations per token, by family."""

from __future__ import annotations

from zhixing.models.bert import BertSettings
from zhixing.models.decoders import DecoderSettings, parameter_count
from zhixing.models.encoder_decoder import source_and_target_length
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings
from zhixing.models.xlnet import XLNetSettings
from zhixing.nn.recurrent import GATES
from zhixing.pretraining.masked import MaskedSettings
from zhixing.pretraining.permutation import PermutationSettings
from zhixing.pretraining.span_corruption import SpanSettings

MASKED_SHARE = MaskedSettings().share
"""Of the tokens of a window, those that pass through a masked model's output head, as published."""
PREDICTED_SHARE = 1 / PermutationSettings().one_in
"""Of the tokens of a window, those that an XLNet has a second stream for, as published."""


def flops_per_token(settings: DecoderSettings) -> float:
    """Return the floating-point operations of forward and backward for one token of a full window.

    Six per weight of every matrix product (Kaplan et al. 2020, section 2.1), and the causal half of
    attention's products.
    """
    shape = settings.replace(vocab_size=settings.vocab_size or 2)
    products = parameter_count(shape) - _looked_up(shape)
    if isinstance(shape, BertSettings):  # both halves of attention; the head sees the masked share of the tokens only
        return 6.0 * products + 12.0 * shape.layers * shape.context_length * shape.width
    if isinstance(shape, XLNetSettings):
        return _two_streams(shape)
    if isinstance(shape, TransformerSettings):
        return _source_and_target(shape)
    if isinstance(shape, RecurrentEncoderDecoderSettings):
        return _read_and_write(shape)
    if isinstance(shape, T5Settings):
        return _gaps(shape)
    return 6.0 * products + 12.0 * _keys_seen(shape) * _attention_width(shape)


def _two_streams(shape: XLNetSettings) -> float:
    """The content stream of every token and the query stream of the predicted ones, with the head of the latter alone.

    Each compares with all keys of the window and with the distances on both sides, and mixes all values.
    """
    head = (shape.vocab_size or 0) * shape.width
    blocks = parameter_count(shape) - head - (shape.vocab_size or 0)
    streams = 1 + PREDICTED_SHARE
    attention = 24.0 * shape.layers * shape.context_length * shape.width
    return 6.0 * PREDICTED_SHARE * head + streams * (6.0 * blocks + attention)


def _source_and_target(shape: TransformerSettings) -> float:
    """Return the cost of a window, its source in the encoder and its target in the decoder, over its ids.

    Of the decoder, the source passes through the keys and values that the target looks at.
    """
    source, target = source_and_target_length(shape)
    width, inner = shape.width, shape.inner
    encoder = 4 * width**2 + 2 * width * inner + source * 2 * width
    decoder = 6 * width**2 + 2 * width * inner + (target / 2 + source) * 2 * width
    seen = shape.layers * source * encoder + shape.writing_layers * (target * decoder + source * 2 * width**2)
    return 6.0 * (seen + target * (shape.vocab_size or 0) * width) / (source + target)


def _read_and_write(shape: RecurrentEncoderDecoderSettings) -> float:
    """Return the cost of a window as ``_source_and_target``; every step of the target looks at the whole source."""
    source, target = source_and_target_length(shape)
    gates, width = len(GATES[shape.cell]), shape.width
    keys = shape.directions * width
    encoder = shape.directions * gates * (2 * width * width + (shape.layers - 1) * (keys + width) * width)
    decoder = 2 * shape.layers * gates * width**2
    looking = 0
    if shape.attention == "additive":
        decoder += (gates * keys + width + 2 * (2 * width + keys)) * width
        looking = width + keys
    elif shape.attention == "multiplicative":
        decoder += (gates * width * shape.feeds + keys + width) * width
        looking = width + keys
    prepared = 0 if shape.attention == "none" else keys * width
    head = (shape.vocab_size or 0) * width
    return 6.0 * (source * (encoder + prepared) + target * (decoder + source * looking + head)) / (source + target)


def _gaps(shape: T5Settings) -> float:
    """Return the cost of a window with gaps as published, its source in the encoder and its target in the decoder, over
    the tokens of its text.
    """
    dropped, spans = SpanSettings().counts(shape.context_length)
    source, target = shape.context_length - dropped + spans, dropped + spans + 1
    inner = shape.heads * shape.per_head
    attention = 4 * shape.width * inner
    feed_forward = (3 if shape.feed_forward == "gated-gelu" else 2) * shape.width * shape.inner
    reading = source * (attention + feed_forward + 2 * source * inner)
    looking = (source + target) * attention / 2 + 2 * target * source * inner
    writing = target * (attention + feed_forward + target * inner) + looking
    head = target * (shape.vocab_size or 0) * shape.width
    return 6.0 * (shape.layers * reading + shape.writing_layers * writing + head) / shape.context_length


def _looked_up(shape: DecoderSettings) -> int:
    """Return the weights that a token looks up and that no product reads: tables that are not the head too."""
    if isinstance(shape, BertSettings):
        rows = shape.first_position + shape.context_length + shape.segments
        head = shape.vocab_size * shape.width if shape.head and shape.vocab_size else 0
        return rows * shape.width + round((1 - MASKED_SHARE) * head)
    if isinstance(shape, GPT2Settings):
        return shape.context_length * shape.width
    if isinstance(shape, FeedForwardSettings):
        return (shape.vocab_size or 0) * shape.embedding_width
    if isinstance(shape, XLNetSettings | TransformerSettings | RecurrentEncoderDecoderSettings | T5Settings):
        return 0
    return 0 if shape.tied else (shape.vocab_size or 0) * shape.width


def _keys_seen(settings: DecoderSettings) -> float:
    """Return how many keys a token sees on average, summed over layers: half the window of text, or what is near."""
    context = float(settings.context_length)
    window = settings.attention_window if isinstance(settings, LlamaSettings) else None
    if not isinstance(settings, LlamaSettings) or window is None or window >= context:
        return settings.layers * context / 2
    near = window - window**2 / (2 * context)
    return settings.full_layers * context / 2 + (settings.layers - settings.full_layers) * near


def _attention_width(settings: DecoderSettings) -> int:
    """Return the summed width of the heads; 0 for a family without attention."""
    if isinstance(settings, LlamaSettings):
        return settings.heads * settings.per_head
    return settings.width if isinstance(settings, GPT2Settings) else 0
