"""Contrastive sentence embedding: find a sentence again among the others of its batch (SimCSE: Gao, Yao and Chen 2021,
section 3).

Each sentence passes the encoder twice, and dropout makes the two passes differ: that is all the augmentation there is.
The loss is InfoNCE over the cosines of the pooled states, at a low temperature. What differs here from the paper: no
further layer stands between pooling and loss in training; sentences are those of the user's text, each distinct one
once per epoch.

A sentence is encoded as it will be when the model is used: without the blanks around it, opened like any text.
Everything is a pure function of (seed, position in the global order).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.data.sentences import Sentences, find_sentences
from zhixing.data.windows import TokenWindows, global_order
from zhixing.models.encoder import wrap
from zhixing.models.protocol import Ids
from zhixing.models.sentence_embedding import PoolingKind, padded, pool
from zhixing.nn.contrastive_losses import alignment_sum, info_nce_sum, retrieved_sum, uniformity
from zhixing.pretraining.shown import ShownPart
from zhixing.pretraining.visibility import around
from zhixing.tokenizers.protocol import Tokenizer
from zhixing.training.objective import Loss

LENGTH_STEP = 8
"""Batches are padded to a multiple of it, so that few shapes occur."""
VALIDATION_SEED = 0
"""Of the dropout that makes the two views when held-out sentences are judged."""


class ContrastiveSettings(Settings):
    """How sentences are told apart."""

    kind: Literal["contrastive"] = setting("contrastive", "a sentence among those of its batch", "在批次中认出同一句子")
    temperature: float = setting(0.05, "cosines are divided by it", "余弦除以该温度", gt=0)
    pooling: PoolingKind = setting(
        "mean", "of a sentence's states, or its first token's state", "取句中各状态的均值，或首个词元的状态"
    )
    shortest: int = setting(4, "shorter sentences are left out", "更短的句子略去", unit="tokens", ge=1)


@dataclass(frozen=True)
class SentenceBatch:
    """B sentences: ``inputs`` (B, T) int64, padded on the right; ``lengths`` (B,) int64; ``numbers`` (B,), which."""

    inputs: Ids
    lengths: Ids
    numbers: Ids


class SentenceQuestions:
    """Sentences of the text that windows are cut from, at positions of one global order."""

    def __init__(
        self, windows: TokenWindows, settings: ContrastiveSettings, tokenizer: Tokenizer, sentences: Sentences
    ) -> None:
        self._windows, self._settings, self._tokenizer, self._sentences = windows, settings, tokenizer, sentences

    @property
    def items_per_epoch(self) -> int:
        """Distinct sentences of the text."""
        return len(self._sentences)

    def batch(self, start: int, count: int) -> SentenceBatch:
        """Return the sentences at positions ``start`` to ``start + count - 1``."""
        windows = self._windows
        numbers = np.fromiter(
            global_order(start, start + count, self.items_per_epoch, windows.seed, windows.shuffle), np.int64, count
        )
        found = self._tokenizer.encode_batch([self._text(int(number)) for number in numbers])
        rows = [wrap(self._tokenizer, ids)[: windows.context_length] for ids in found]
        inputs, lengths = padded(rows, LENGTH_STEP, self._tokenizer.separator_id)
        return SentenceBatch(inputs[:, : windows.context_length], lengths, numbers)

    def shown(self, batch: SentenceBatch, row: int) -> tuple[ShownPart, ...]:
        """Return one sentence as the encoder reads it; no token is asked for."""
        size = batch.inputs.shape[1]
        part = ShownPart(
            name="inputs",
            ids=batch.inputs[row],
            targets=np.full(size, -1, np.int64),
            weights=np.zeros(size, np.float32),
            positions=np.arange(size),
            documents=np.zeros(size, np.int64),
            visible=around(None, size, int(batch.lengths[row])),
        )
        return (part,)

    def _text(self, number: int) -> str:
        first = int(self._sentences.starts[number])
        ids = self._windows.shards.tokens(first, first + int(self._sentences.lengths[number]))
        return self._tokenizer.decode(ids.tolist()).strip()


class SentenceIndex:
    """Finds the sentences of each text once, however often questions are asked about it."""

    def __init__(self, settings: ContrastiveSettings, tokenizer: Tokenizer) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._found: dict[tuple[str, int], Sentences] = {}

    def __call__(self, windows: TokenWindows) -> SentenceQuestions:
        """Return the questions about the text of ``windows``.

        Raises:
            DataError: it has no sentence of ``settings.shortest`` tokens.
        """
        shards, settings = windows.shards, self._settings
        longest = max(1, windows.context_length - len(wrap(self._tokenizer, np.empty(0, np.int64))))
        if (key := (shards.digest, longest)) not in self._found:
            self._found[key] = find_sentences(shards, self._tokenizer, settings.shortest, longest)
        return SentenceQuestions(windows, settings, self._tokenizer, self._found[key])


class ContrastiveLoss:
    """InfoNCE over the sentences of a batch, in nats, summed over them.

    The module it is given is a ``TwoViewsWithLoss``, compiled or not.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def weight(self, batch: SentenceBatch) -> float:
        """Return how many sentences count; one alone has nothing to be told from."""
        return float(len(batch.inputs)) if len(batch.inputs) > 1 else 0.0

    def loss(self, model: nn.Module, batch: SentenceBatch) -> Loss:
        """Return the summed loss of one micro-batch, and how well its vectors lie.

        ``alignment``: squared distance of the two views; ``uniformity``: the lower, the more evenly the vectors spread;
        ``retrieval_accuracy``: how often the nearest vector is one's own.
        """
        inputs, lengths = (torch.as_tensor(array).to(self._device) for array in (batch.inputs, batch.lengths))
        total, apart, spread, found = model(inputs, lengths)
        count = max(1, len(batch.inputs))
        return Loss(
            total,
            {
                "alignment": float(apart) / count,
                "uniformity": float(spread) if count > 1 else 0.0,
                "retrieval_accuracy": float(found) / count,
            },
        )


class TwoViewsWithLoss(nn.Module):
    """An encoder that reads each sentence twice, and the loss of telling the sentences apart, as one module."""

    def __init__(self, encoder: nn.Module, settings: ContrastiveSettings) -> None:
        super().__init__()
        self.encoder, self._temperature, self._pooling = encoder, settings.temperature, settings.pooling

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the summed loss of (B, T) sentences, and alignment (summed), uniformity and how many were found.

        An encoder in evaluation mode drops out too, with a seed of its own: without it there are no two views.
        """
        if self.encoder.training:
            first, second = self._views(inputs, lengths)
        else:
            with _dropping_out(self.encoder):
                first, second = self._views(inputs, lengths)
        loss = info_nce_sum(first, second, self._temperature)
        with torch.no_grad():
            measures = alignment_sum(first, second), uniformity(first), retrieved_sum(first, second)
        return loss, *measures

    def _views(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return two (B, D) vectors of each sentence, from one pass over both copies."""
        encoder: Any = self.encoder
        twice = lengths.repeat(2)
        hidden = encoder(inputs.repeat(2, 1), lengths=twice)
        first, second = pool(hidden, twice, self._pooling).float().chunk(2)
        return first, second


@contextmanager
def _dropping_out(encoder: nn.Module) -> Iterator[None]:
    """Put dropout to work for a while, and leave random state and mode as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(VALIDATION_SEED)
        encoder.train()
        try:
            yield
        finally:
            encoder.eval()


def tokens_read(batch: SentenceBatch) -> float:
    """Return how many tokens of text a batch holds."""
    return float(batch.lengths.sum())
