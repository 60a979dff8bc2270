"""Perplexity and bits per byte of any ``LanguageModel`` on held-out documents, document by document.

Perplexity is per token, so it compares only models that share a tokenizer; bits per byte compares all of
them. The formulas are those of ``zhixing.theory.measures``; what differs is that long documents are scored
in overlapping windows (see ``windows``) and that sums are kept per document, for paired tests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError, ZhixingError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.windows import WindowBatch, window_batches
from zhixing.language import tr
from zhixing.models.protocol import LanguageModel
from zhixing.progress import progress


@dataclass(frozen=True)
class Scores:
    """What a model lost on each document.

    ``losses`` (N,) natural-log loss in nats, ``tokens`` (N,) predicted ids, the closing separators among
    them, ``text_bytes`` (N,) UTF-8 bytes of the texts, ``seconds`` of wall-clock.
    """

    losses: NDArray[np.float64]
    tokens: NDArray[np.int64]
    text_bytes: NDArray[np.int64]
    seconds: float = 0.0

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.losses)

    @property
    def total_loss(self) -> float:
        """Nats over all documents."""
        return float(self.losses.sum())

    @property
    def total_tokens(self) -> int:
        """Predicted ids over all documents."""
        return int(self.tokens.sum())

    @property
    def total_bytes(self) -> int:
        """UTF-8 bytes of all texts."""
        return int(self.text_bytes.sum())

    @property
    def bits_per_byte(self) -> float:
        """Bits needed for one byte of text; comparable between tokenizers."""
        return self.total_loss / (math.log(2) * self.total_bytes)

    @property
    def nats_per_token(self) -> float:
        """Mean loss of a token, in nats."""
        return self.total_loss / self.total_tokens

    @property
    def perplexity(self) -> float:
        """``exp(nats_per_token)``; infinite where that is above what a float holds."""
        return math.exp(self.nats_per_token) if self.nats_per_token < 709 else math.inf

    @property
    def tokens_per_second(self) -> float:
        """Predicted ids per second of wall-clock."""
        return self.total_tokens / self.seconds if self.seconds else 0.0

    def document_bits_per_byte(self) -> NDArray[np.float64]:
        """Return (N,) bits per byte of each document; a document without text counts as one byte."""
        return self.losses / (math.log(2) * np.maximum(self.text_bytes, 1))


def score_documents(
    model: LanguageModel,
    documents: Iterable[HeldOutDocument],
    *,
    stride: float = 0.5,
    batch_tokens: int | None = None,
    label: str = "",
    total: int | None = None,
) -> Scores:
    """Score every document once.

    Args:
        model: any ``LanguageModel``; one with a ``context_length`` is given overlapping windows, one
            without whole documents.
        documents: read once, a few batches ahead.
        stride: of the windows as a fraction of the context, in (0, 1]; smaller is fairer to the model and
            slower.
        batch_tokens: padded ids in one batch; None: 4,096 for a model with a context, 131,072 for one
            without.
        label: shown beside the progress.
        total: tokens that will be scored, for the progress; None: not known.

    Raises:
        DataError: there are no documents, or they hold no text, or an id is outside the model's vocabulary.
        ZhixingError: the model gives something that is not a number.
    """
    started = time.perf_counter()
    sizes: list[tuple[int, int]] = []
    losses: dict[int, float] = {}
    watched = _watch(documents, sizes, model.vocab_size)
    with progress(label or tr("scoring", "评分"), total, tr("tokens", "词元")) as bar:
        for batch in window_batches(watched, model, stride, batch_tokens):
            _add_losses(model, batch, losses)
            bar.advance(int(batch.counted().sum()))
    if not sum(text_bytes for _, text_bytes in sizes):
        raise DataError(
            tr(
                "there is no held-out text to evaluate on: give at least one document with text",
                "没有可供评估的留出文本：请至少提供一篇有内容的文档",
            )
        )
    return Scores(
        losses=np.array([losses.get(number, 0.0) for number in range(len(sizes))]),
        tokens=np.array([tokens for tokens, _ in sizes], np.int64),
        text_bytes=np.array([text_bytes for _, text_bytes in sizes], np.int64),
        seconds=time.perf_counter() - started,
    )


def _watch(
    documents: Iterable[HeldOutDocument], sizes: list[tuple[int, int]], vocab_size: int
) -> Iterator[HeldOutDocument]:
    for number, document in enumerate(documents):
        if document.ids.min() < 0 or document.ids.max() >= vocab_size:
            raise DataError(
                tr(
                    f"document {number + 1} holds id {document.ids.max()}, but the model knows ids 0 to "
                    f"{vocab_size - 1}; encode it with the model's own tokenizer",
                    f"第 {number + 1} 篇文档含有编号 {document.ids.max()}，而模型只有 0 到 {vocab_size - 1}；"
                    "请用模型自己的分词器编码",
                )
            )
        sizes.append((len(document.ids) - 1, document.text_bytes))
        yield document


def _add_losses(model: LanguageModel, batch: WindowBatch, losses: dict[int, float]) -> None:
    log_probs = np.asarray(model.score(batch.ids, batch.lengths), np.float64)
    row_losses = -np.where(batch.counted(), log_probs, 0.0).sum(axis=1)
    for number, loss in zip(batch.document.tolist(), row_losses.tolist(), strict=True):
        if math.isnan(loss):
            raise ZhixingError(
                tr(
                    f"the model gives no number in document {number + 1}: its weights are damaged",
                    f"模型在第 {number + 1} 篇文档中给出的概率不是数字：其权重已损坏",
                )
            )
        losses[number] = losses.get(number, 0.0) + loss
