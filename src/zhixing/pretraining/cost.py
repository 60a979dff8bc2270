"""What training costs: floating-point operations per token, by family and objective."""

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
from zhixing.pretraining.objectives import AutoSettings, ObjectiveSettings, resolve
from zhixing.pretraining.permutation import PermutationSettings
from zhixing.pretraining.span_corruption import SpanSettings


def flops_per_token(settings: DecoderSettings, objective: ObjectiveSettings | None = None) -> float:
    """Return the floating-point operations of forward and backward for one token of text, in a full window.

    Six per weight of every matrix product (Kaplan et al. 2020, section 2.1), and attention's products, of a causal
    one the half that is not masked.

    Args:
        settings: the model's shape.
        objective: what it learns by; None: the family's own, as published.

    Raises:
        ValueError: the family cannot learn by it.
    """
    shape = settings.replace(vocab_size=settings.vocab_size or 2)
    how = resolve(AutoSettings() if objective is None else objective, shape.family)
    if isinstance(shape, BertSettings):
        return _encoder(shape, how)
    if isinstance(shape, XLNetSettings):
        return _two_streams(shape, how)
    if isinstance(shape, TransformerSettings):
        return _source_and_target(shape)
    if isinstance(shape, RecurrentEncoderDecoderSettings):
        return _read_and_write(shape)
    if isinstance(shape, T5Settings):
        return _gaps(shape, how) if isinstance(how, SpanSettings) else _pairs(shape)
    products = parameter_count(shape) - _looked_up(shape)
    return 6.0 * products + 12.0 * _keys_seen(shape) * _attention_width(shape)


def _encoder(shape: BertSettings, objective: ObjectiveSettings) -> float:
    """Both halves of attention; the head for the masked tokens alone. Of a sentence both views, and no head."""
    bare = shape.replace(head=False, pooler=False)
    rows = (shape.vocab_size or 0) + shape.first_position + shape.context_length + shape.segments
    blocks = parameter_count(bare) - rows * shape.width
    once = 6.0 * blocks + 12.0 * shape.layers * shape.context_length * shape.width
    if not isinstance(objective, MaskedSettings):
        return 2 * once
    asked = max(1, round(objective.share * shape.context_length)) / shape.context_length
    return once + 6.0 * asked * ((shape.vocab_size or 0) + shape.width) * shape.width


def _two_streams(shape: XLNetSettings, objective: ObjectiveSettings) -> float:
    """Some windows in a random order, one place in K asked for; the others from left to right, where all are."""
    ordered = _streams(shape, 1.0, causal=True)
    if not isinstance(objective, PermutationSettings):
        return ordered
    asked = max(1, shape.context_length // objective.one_in) / shape.context_length
    drawn = _streams(shape, asked, causal=shape.attention == "uni")
    return objective.left_to_right * ordered + (1 - objective.left_to_right) * drawn


def _streams(shape: XLNetSettings, asked: float, causal: bool) -> float:
    """Return the cost of the content stream, and of the query stream and the head at the share ``asked`` of the places.

    Either stream compares with the keys and with the distances on both sides, and mixes the values; a causal one with
    half of the keys, on one side. In the last block the content is but mapped to keys and values.
    """
    width, inner = shape.width, shape.inner_width or 4 * shape.width
    block = 2 * width * (width + inner) + (1.5 if causal else 4.0) * shape.context_length * width
    content = (shape.layers - 1) * block + shape.layers * 2 * width**2
    query = shape.layers * block + (shape.vocab_size or 0) * (width + 1)
    return 6.0 * (content + asked * query)


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
    elif shape.attention != "none":
        decoder += (gates * width * shape.feeds + keys + width * (2 if shape.attention == "concat" else 1)) * width
        looking = width + keys
    prepared = 0 if shape.attention in ("none", "dot") else keys * width
    head = (shape.vocab_size or 0) * width
    return 6.0 * (source * (encoder + prepared) + target * (decoder + source * looking + head)) / (source + target)


def _gaps(shape: T5Settings, objective: SpanSettings) -> float:
    """Return the cost of a window with gaps over the tokens of its text."""
    dropped, spans = objective.counts(shape.context_length)
    return _answered(shape, shape.context_length - dropped + spans, dropped + spans + 1) / shape.context_length


def _pairs(shape: T5Settings) -> float:
    """Return the cost of a window cut into source and target over its ids."""
    source, target = source_and_target_length(shape)
    return _answered(shape, source, target) / (source + target)


def _answered(shape: T5Settings, source: int, target: int) -> float:
    """Return the cost of a source in a T5's encoder and a target in its decoder."""
    inner = shape.heads * shape.per_head
    attention = 4 * shape.width * inner
    feed_forward = (3 if shape.feed_forward == "gated-gelu" else 2) * shape.width * shape.inner
    reading = source * (attention + feed_forward + 2 * source * inner)
    looking = (source + target) * attention / 2 + 2 * target * source * inner
    writing = target * (attention + feed_forward + target * inner) + looking
    head = target * (shape.vocab_size or 0) * shape.width
    return 6.0 * (shape.layers * reading + shape.writing_layers * writing + head)


def _looked_up(shape: DecoderSettings) -> int:
    """Return the weights that a token looks up and that no product reads: tables that are not the head too."""
    if isinstance(shape, GPT2Settings):
        return shape.context_length * shape.width
    if isinstance(shape, FeedForwardSettings):
        return (shape.vocab_size or 0) * shape.embedding_width
    return 0 if getattr(shape, "tied", True) else (shape.vocab_size or 0) * shape.width


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
