"""How a family learns from text alone: what it is asked about a window, and what its answer costs.

The loop and the run know only this record; an objective is one file beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field
from torch import nn

from zhixing.config import Settings, setting
from zhixing.data.windows import TokenWindows
from zhixing.language import tr
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import DecoderSettings
from zhixing.models.encoder_decoder import start_id
from zhixing.models.sentence_embedding import Pooling
from zhixing.pretraining.causal import CausalLM, CausalWindows, DecoderWithLoss
from zhixing.pretraining.contrastive import (
    ContrastiveLoss,
    ContrastiveSettings,
    SentenceIndex,
    TwoViewsWithLoss,
    tokens_read,
)
from zhixing.pretraining.masked import EncoderWithLoss, MaskedBatch, MaskedLM, MaskedSettings, MaskedWindows
from zhixing.pretraining.pairs import PairIndex
from zhixing.pretraining.permutation import (
    PermutationBatch,
    PermutationLM,
    PermutationSettings,
    PermutationWindows,
    StreamsWithLoss,
)
from zhixing.pretraining.sequence_to_sequence import (
    EncoderDecoderWithLoss,
    PairBatch,
    PairWindows,
    SequenceToSequence,
    SequenceToSequenceSettings,
)
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.span_corruption import GapsWithLoss, SpanBatch, SpanLM, SpanSettings, SpanWindows, sentinel_ids
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.tokenizers.specials import MASK
from zhixing.training.objective import BatchSource, Objective


class AutoSettings(Settings):
    """The family's own objective, as published."""

    kind: Literal["auto"] = setting("auto", "the family's own", "模型族自身的目标")


class CausalSettings(Settings):
    """Each token from those before it; nothing to choose."""

    kind: Literal["causal"] = setting("causal", "each token from those before it", "由前文预测每个词元")


ObjectiveSettings = Annotated[
    AutoSettings
    | CausalSettings
    | MaskedSettings
    | PermutationSettings
    | SequenceToSequenceSettings
    | SpanSettings
    | ContrastiveSettings,
    Field(discriminator="kind"),
]
FITTING: dict[str, tuple[str, ...]] = {
    "bert": ("masked", "contrastive"),
    "xlnet": ("permutation", "causal"),
    "transformer": ("sequence_to_sequence",),
    "recurrent_encoder_decoder": ("sequence_to_sequence",),
    "t5": ("span_corruption", "sequence_to_sequence"),
}
"""Family → the objectives it can learn by, its own first; a family that is not named learns causally."""
EXTRA_TOKENS: dict[str, tuple[str, ...]] = {"masked": (MASK,), "contrastive": (MASK,)}
"""Objective → the special tokens that a tokenizer needs for it beyond the usual."""


class Questions(BatchSource, Protocol):
    """Batches of an objective, which can be shown."""

    def shown(self, batch: Any, row: int) -> tuple[ShownPart, ...]:
        """Return one row of a batch of this source, as each stack of layers of the network reads it."""


@dataclass(frozen=True)
class Pretraining:
    """One objective, ready to run.

    Attributes:
        objective: a batch becomes a summed loss.
        with_loss: wraps a network so that one compiled graph holds network and loss.
        questions: turns windows of ids into the objective's batches, a pure function of the position as they are.
        tokens: how many tokens of text a batch holds; None: as many as it predicts.
        pooling: how a model of sentences pools its states; None: it is no such model.
    """

    objective: Objective
    with_loss: Callable[[nn.Module], nn.Module]
    questions: Callable[[TokenWindows], Questions]
    tokens: Callable[[Any], float] | None = None
    pooling: Pooling | None = None


def resolve(settings: ObjectiveSettings, family: str) -> ObjectiveSettings:
    """Return the objective that a family is trained by, ``auto`` replaced by its own.

    Raises:
        ValueError: the family cannot learn by the one asked for; those that fit are named.
    """
    fitting = FITTING.get(family, ("causal",))
    if settings.kind == "auto":
        return OWN[fitting[0]]()
    if settings.kind not in fitting:
        fits = ", ".join(fitting)
        raise ValueError(
            tr(
                f"objective.kind = {settings.kind} does not fit model.family {family}; use auto or {fits}",
                f"objective.kind = {settings.kind} 不适用于 model.family {family}；请用 auto 或 {fits}",
            )
        )
    return settings


def extra_tokens(settings: ObjectiveSettings, family: str) -> tuple[str, ...]:
    """Return the special tokens that the objective needs beyond the usual."""
    resolved = resolve(settings, family)
    if family == "t5":  # whatever it learns by: one that has filled gaps may go on to learn something else
        return (resolved if isinstance(resolved, SpanSettings) else SpanSettings()).tokens
    return EXTRA_TOKENS.get(resolved.kind, ())


def choose(
    settings: ObjectiveSettings,
    model: DecoderSettings,
    tokenizer: Tokenizer,
    device: str,
    seed: int,
    pairs: int | None = None,
) -> Pretraining:
    """Return the objective of a run, ready: the settings as ``resolve`` takes them, and what it may need.

    ``pairs``: the text is pairs of source and target, and so many are a batch; None: it is running text.
    """
    resolved = resolve(settings, model.family)
    if isinstance(resolved, SequenceToSequenceSettings):
        return sequence_to_sequence(resolved, model, tokenizer, device, seed, pairs)
    if isinstance(resolved, SpanSettings):
        return span_corruption(resolved, model, tokenizer, device, seed)
    if isinstance(resolved, ContrastiveSettings):
        return contrastive(resolved, model, tokenizer, device)
    if isinstance(resolved, MaskedSettings):
        return masked(resolved, tokenizer, device, seed)
    if isinstance(resolved, PermutationSettings):
        return permutation(resolved, tokenizer, device, seed)
    return causal(device)


def causal(device: str) -> Pretraining:
    """Each token from those before it."""
    return Pretraining(CausalLM(device), DecoderWithLoss, CausalWindows)


def masked(settings: MaskedSettings, tokenizer: Tokenizer, device: str, seed: int) -> Pretraining:
    """Hidden tokens from what stands on both sides."""

    def tokens(batch: MaskedBatch) -> float:
        return float(batch.inputs.size if batch.lengths is None else batch.lengths.sum())

    return Pretraining(
        MaskedLM(device),
        EncoderWithLoss,
        lambda windows: MaskedWindows(windows, settings, tokenizer, seed),
        tokens,
    )


def permutation(settings: PermutationSettings, tokenizer: Tokenizer, device: str, seed: int) -> Pretraining:
    """The last of a random order from all before them."""

    def tokens(batch: PermutationBatch) -> float:
        return float((batch.ranks <= batch.ranks.shape[1]).sum())  # what never becomes visible is padding

    return Pretraining(
        PermutationLM(device),
        StreamsWithLoss,
        lambda windows: PermutationWindows(windows, settings, tokenizer, seed),
        tokens,
    )


def sequence_to_sequence(
    settings: SequenceToSequenceSettings,
    model: DecoderSettings,
    tokenizer: Tokenizer,
    device: str,
    seed: int,
    pairs: int | None = None,
) -> Pretraining:
    """A target after its source: of given pairs, or of windows cut in two."""

    def tokens(batch: PairBatch) -> float:
        return batch.tokens

    def cut(windows: TokenWindows) -> Questions:
        return PairWindows(windows, settings, model, tokenizer.separator_id, seed)

    return Pretraining(
        SequenceToSequence(device),
        lambda network: EncoderDecoderWithLoss(network, settings.label_smoothing),
        cut if pairs is None else PairIndex(tokenizer, model, pairs),
        tokens,
    )


def contrastive(
    settings: ContrastiveSettings, model: DecoderSettings, tokenizer: Tokenizer, device: str
) -> Pretraining:
    """A sentence among the others of its batch."""
    assert isinstance(model, BertSettings)
    return Pretraining(
        ContrastiveLoss(device),
        lambda network: TwoViewsWithLoss(network, settings),
        SentenceIndex(settings, tokenizer),
        tokens_read,
        pooling=Pooling(settings.pooling, longest=model.context_length),
    )


def span_corruption(
    settings: SpanSettings, model: DecoderSettings, tokenizer: Tokenizer, device: str, seed: int
) -> Pretraining:
    """Dropped spans from what is left."""

    def tokens(batch: SpanBatch) -> float:
        return float(batch.tokens)

    return Pretraining(
        SpanLM(device),
        GapsWithLoss,
        lambda windows: SpanWindows(windows, settings, tokenizer, seed, start_id(model, tokenizer.separator_id)),
        tokens,
    )


def fitted(model: DecoderSettings, objective: ObjectiveSettings, tokenizer: Tokenizer) -> DecoderSettings:
    """Return a model's settings with what its objective decides: one that fills gaps knows its sentinels."""
    resolved = resolve(objective, model.family)
    if not isinstance(resolved, SpanSettings):
        return model
    return model.replace(gap_ids=tuple(sentinel_ids(tokenizer, resolved.sentinels).tolist()))


OWN: dict[str, Callable[[], ObjectiveSettings]] = {
    "causal": CausalSettings,
    "masked": MaskedSettings,
    "contrastive": ContrastiveSettings,
    "permutation": PermutationSettings,
    "sequence_to_sequence": SequenceToSequenceSettings,
    "span_corruption": SpanSettings,
}
"""Objective → its settings as published."""
