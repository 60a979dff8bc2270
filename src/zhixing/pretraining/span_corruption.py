"""The span-corruption objective: say what stood in the gaps of a text (Raffel et al. 2020, section 3.1.4).

15 % of the tokens are dropped, in spans of 3 on average. In the source a sentinel stands for each span; the target is
every sentinel with the span it stands for, and a last sentinel that closes it. A window is one text, as published:
documents that share it are not told apart. With isolated documents it shows one of them, drawn with its share of the
window as the chance; the others wait for another reading. Spans are a pure function of (seed, position in the global
order): a resumed run draws the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.data.windows import TokenWindows
from zhixing.errors import ConfigError
from zhixing.language import tr
from zhixing.models.protocol import Ids
from zhixing.nn.losses import cross_entropy_sum
from zhixing.pretraining.shown import ShownPart, shown_pair
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.training.objective import Loss

Flags = NDArray[np.bool_]


class SpanSettings(Settings):
    """How spans are drawn."""

    kind: Literal["span_corruption"] = setting("span_corruption", "dropped spans", "还原被删去的片段")
    share: float = setting(0.15, "of the tokens are dropped", "删去的词元占比", gt=0, lt=1)
    span: float = setting(3.0, "mean length of a span", "片段平均长度", unit="tokens", ge=1)
    sentinels: int = setting(100, "special tokens <extra_id_0>, …", "特殊词元 <extra_id_0>、… 的个数", ge=2)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The sentinels' names, in the order in which spans use them."""
        return tuple(f"<extra_id_{index}>" for index in range(self.sentinels))

    def counts(self, length: int) -> tuple[int, int]:
        """Return how many tokens of a text of ``length`` are dropped, and in how many spans; (0, 0) below 2."""
        if length < 2:
            return 0, 0
        dropped = min(max(round(length * self.share), 1), length - 1)
        spans = max(round(dropped / self.span), 1)
        return dropped, min(spans, dropped, length - dropped)

    def check_sentinels(self, length: int) -> None:
        """Refuse fewer sentinels than a window of ``length`` tokens needs, one more than spans.

        Raises:
            ValueError: there are too few.
        """
        needed = self.counts(length)[1] + 1
        if self.sentinels < needed:
            raise ValueError(
                tr(
                    f"objective.sentinels = {self.sentinels}: a window of {length} tokens needs {needed}; raise it or "
                    "objective.span, or lower objective.share or model.context_length",
                    f"objective.sentinels = {self.sentinels}：{length} 个词元的窗口需要 {needed} 个；请提高它或 "
                    "objective.span，或降低 objective.share 或 model.context_length",
                )
            )


@dataclass(frozen=True)
class SpanBatch:
    """B windows with gaps, and what fills them.

    ``source`` (B, S) int64, ``source_lengths`` (B,) real ids, None: all. ``inputs``, ``targets`` (B, U) int64: the
    target one place late, opened by the start id, and as it is; ``weights`` (B, U) float32, 0 at padding; ``in_span``
    (B, U), True where the target is a token of the text and no sentinel. ``tokens``: of the text shown.
    """

    source: Ids
    source_lengths: Ids | None
    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]
    in_span: Flags
    tokens: int


class SpanWindows:
    """Windows with spans dropped, at positions of the windows' global order."""

    def __init__(
        self,
        windows: TokenWindows,
        settings: SpanSettings,
        tokenizer: Tokenizer,
        seed: int,
        start_id: int,
    ) -> None:
        """Targets begin with ``start_id``."""
        self._windows, self._settings, self._seed = windows, settings, seed
        self._separator = tokenizer.separator_id
        self._start = start_id
        self._sentinels = sentinel_ids(tokenizer, settings.counts(windows.context_length)[1] + 1)

    def batch(self, start: int, count: int) -> SpanBatch:
        """Return the windows at positions ``start`` to ``start + count - 1``."""
        plain = self._windows.batch(start, count)
        lengths = np.maximum(plain.weights.sum(axis=1).astype(np.int64), 1)
        dropped, spans = self._settings.counts(plain.inputs.shape[1])
        source = np.full((count, plain.inputs.shape[1] - dropped + spans), self._separator, np.int64)
        targets = np.full((count, dropped + spans + 1), self._separator, np.int64)
        source_lengths, target_lengths = np.zeros(count, np.int64), np.zeros(count, np.int64)
        tokens = 0
        for row, length in enumerate(lengths):
            draw = np.random.Generator(np.random.PCG64([self._seed, start + row]))
            ids = plain.inputs[row, :length]
            if plain.documents is not None:
                ids = ids[plain.documents[row, :length] == plain.documents[row, int(draw.integers(length))]]
            noise = draw_spans(len(ids), *self._settings.counts(len(ids)), draw)
            shown, asked = corrupt(ids, noise, self._sentinels)
            tokens += len(ids)
            source_lengths[row], target_lengths[row] = len(shown), len(asked)
            source[row, : len(shown)], targets[row, : len(asked)] = shown, asked
        real = np.arange(targets.shape[1]) < target_lengths[:, None]
        opening = np.full((count, 1), self._start, np.int64)
        return SpanBatch(
            source,
            None if (source_lengths == source.shape[1]).all() else source_lengths,
            np.concatenate([opening, targets[:, :-1]], axis=1),
            targets,
            real.astype(np.float32),
            real & ~np.isin(targets, self._sentinels),
            tokens,
        )

    def shown(self, batch: SpanBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one row as the encoder and as the decoder read it."""
        b = batch
        read = b.source.shape[1] if b.source_lengths is None else int(b.source_lengths[row])
        return shown_pair(b.source[row], read, b.inputs[row], b.targets[row], b.weights[row])


def sentinel_ids(tokenizer: Tokenizer, needed: int) -> Ids:
    """Return the ids of ``<extra_id_0>``, ``<extra_id_1>``, …: ``needed`` of them.

    Raises:
        ConfigError: the tokenizer has fewer.
    """
    found = [tokenizer.special_id(f"<extra_id_{index}>") for index in range(needed)]
    present = [index for index in found if index is not None]
    if len(present) < needed:
        raise ConfigError(
            tr(
                f"the tokenizer has {len(present)} sentinels (<extra_id_0>, …), {needed} are needed; train one with "
                "the recipe, or lower objective.sentinels",
                f"分词器只有 {len(present)} 个哨兵词元（<extra_id_0>、…），需要 {needed} 个；请用配方训练分词器，"
                "或降低 objective.sentinels",
            )
        )
    return np.array(present, np.int64)


def draw_spans(length: int, dropped: int, spans: int, draw: np.random.Generator) -> Flags:
    """Return (length,), True in ``spans`` random spans of ``dropped`` places in all.

    Kept and dropped places are each cut into that many parts, every way of cutting equally likely, and laid in turn,
    a kept part first: no two spans touch, and a text ends in a span (the published code).
    """
    if not spans:
        return np.zeros(length, bool)
    parts = np.stack([_cut(length - dropped, spans, draw), _cut(dropped, spans, draw)], axis=1).flatten()
    return np.repeat(np.tile([False, True], spans), parts)


def _cut(items: int, parts: int, draw: np.random.Generator) -> Ids:
    """Return the sizes (parts,) of ``items`` cut into that many non-empty parts at random."""
    cuts = np.sort(draw.permutation(items - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [items]])).astype(np.int64)


def corrupt(ids: Ids, noise: Flags, sentinels: Ids) -> tuple[Ids, Ids]:
    """Return source and target of a text: kept tokens with a sentinel per span, and sentinels with their spans.

    Args:
        ids: (T,).
        noise: (T,) True where a token is dropped.
        sentinels: ids, one more than there are spans at least: the last one used closes the target.
    """
    begins = noise & ~np.concatenate([[False], noise[:-1]])
    which = np.cumsum(begins) - 1
    source = np.where(begins, sentinels[which], ids)[~noise | begins]
    places = np.flatnonzero(begins)
    before_each = np.cumsum(noise)[places] - 1
    target = np.insert(ids[noise], before_each, sentinels[: len(places)])
    return source, np.append(target, sentinels[len(places)])


class SpanLM:
    """Cross-entropy of the target, in nats, summed; and the share of the spans' tokens named right.

    The module it is given is an ``GapsWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: SpanBatch) -> float:
        """Return how many predictions count, sentinels included."""
        return float(batch.weights.sum())

    def loss(self, model: nn.Module, batch: SpanBatch) -> Loss:
        """Return the summed loss of one micro-batch; ``span_accuracy``: given the source and the target before."""
        b = batch
        lengths = None if b.source_lengths is None else self._move(b.source_lengths)
        arrays = (b.inputs, b.targets, b.weights, b.in_span)
        total, right = model(self._move(b.source), lengths, *map(self._move, arrays))
        return Loss(total, {"span_accuracy": float(right) / max(1.0, float(b.in_span.sum()))})

    def _move(self, array: object) -> Tensor:
        return torch.as_tensor(array).to(self._device, non_blocking=True)


class GapsWithLoss(nn.Module):
    """An encoder-decoder and its loss as one module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        source: Tensor,
        source_lengths: Tensor | None,
        inputs: Tensor,
        targets: Tensor,
        weights: Tensor,
        in_span: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the summed loss of (B, U) targets after (B, S) sources, and how many tokens of spans are right."""
        model: Any = self.model
        hidden = model.decode(inputs, model.encode(source, source_lengths), source_lengths).flatten(0, 1)
        logits = nn.functional.linear(hidden, model.head_weight).float()
        right = ((logits.detach().argmax(dim=-1) == targets.flatten()) & in_span.flatten()).sum()
        return cross_entropy_sum(logits, targets.flatten(), weights.flatten()), right
