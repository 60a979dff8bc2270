"""Recurrent language models: Elman's RNN (1990; as a language model Mikolov et al. 2010), LSTM (Hochreiter and
Schmidhuber 1997; Sundermeyer et al. 2012) and GRU (Cho et al. 2014), stacked as in Zaremba et al. (2014).

All that such a model knows of the text before is one state of fixed size per layer. So, unlike a Transformer, it reads
texts of any length at the same cost per token; ``context_length`` is only the window of back-propagation through time.

What differs here from the papers: dropout acts between layers only (Zaremba et al.), with the cheap mask of
``nn.dropout``; an embedding shared with the head (Press and Wolf 2017) is scaled by ``sqrt(D)`` where it is read, so
that one table is of a good size for both; documents that share a training window are read as separate rows.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.nn.cache import RecurrentState
from zhixing.nn.compiled import not_compiled
from zhixing.nn.dropout import Dropout
from zhixing.nn.recurrent import RecurrentLayer


class RecurrentSettings(Settings):
    """Shape of a recurrent language model."""

    family: Literal["recurrent"] = "recurrent"
    cell: Literal["rnn", "lstm", "gru"] = setting("lstm", "what a layer does at each step", "每一步所用的循环单元")
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(
        256,
        "window of back-propagation through time; a text may be longer",
        "随时间反向传播的窗口；文本可以更长",
        unit="tokens",
        ge=2,
    )
    layers: int = setting(2, "recurrent layers, one upon the other", "循环层的层数", ge=1)
    width: int = setting(256, "D, width of embedding and state", "D，词嵌入与状态的宽度", ge=1)
    tied: bool = setting(False, "output head shares the embedding", "输出头与词嵌入共享权重")
    dropout: float = setting(0.0, "on embeddings and between layers", "作用于词嵌入与层间", ge=0, lt=1)


PRESETS: dict[str, RecurrentSettings] = {
    "tiny": RecurrentSettings(context_length=64, layers=1, width=64),
    "rnn": RecurrentSettings(cell="rnn"),
    "gru": RecurrentSettings(cell="gru"),
    "lstm": RecurrentSettings(),
    "zaremba-medium": RecurrentSettings(vocab_size=10000, context_length=35, width=650, dropout=0.5),
    "zaremba-large": RecurrentSettings(vocab_size=10000, context_length=35, width=1500, dropout=0.65),
}


class Recurrent(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: RecurrentSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        width = settings.width
        self.token_embedding = nn.Embedding(settings.vocab_size, width)
        self.embedding_scale = width**0.5 if settings.tied else 1.0
        self.blocks = nn.ModuleList(RecurrentLayer(settings.cell, width, width) for _ in range(settings.layers))
        self.dropout = Dropout(settings.dropout)
        self.head = None if settings.tied else nn.Linear(width, settings.vocab_size, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Draw embeddings of unit size as read; the head starts at zero. Layers have drawn their own."""
        nn.init.normal_(self.token_embedding.weight, std=1.0 / self.embedding_scale)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def new_cache(self, batch: int) -> RecurrentState:
        """Return the state of ``batch`` rows that have read nothing."""
        lengths = torch.zeros(batch, dtype=torch.int64, device=self.token_embedding.weight.device)
        return RecurrentState([layer.new_state(batch) for layer in self._layers()], lengths)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: RecurrentState | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) hidden states of (B, T) ids.

        Args:
            ids: (B, T).
            positions: as other families take them; a recurrent network counts no positions.
            documents: (B, T) document numbers: each document begins with an empty state.
            cache: what was read before; it is brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

        Raises:
            ValueError: documents or positions together with a cache, which holds one document per row.
        """
        if cache is not None and (documents is not None or positions is not None):
            raise ValueError("a cache holds one document per row and numbers no positions")
        if documents is not None:
            rows, row, place = _documents_as_rows(ids, documents)
            return self._read(rows, self.new_cache(len(rows)), None)[row, place].view(*ids.shape, -1)
        return self._read(ids, self.new_cache(len(ids)) if cache is None else cache, lengths)

    def _read(self, ids: Tensor, state: RecurrentState, lengths: Tensor | None) -> Tensor:
        x = self.dropout(self.token_embedding(ids) * self.embedding_scale)
        for index, layer in enumerate(self._layers()):
            x, state.layers[index] = layer(x, state.layers[index], lengths)
            x = self.dropout(x)
        state.lengths = state.lengths + (ids.shape[1] if lengths is None else lengths)
        return x

    def _layers(self) -> list[RecurrentLayer]:
        return [layer for layer in self.blocks if isinstance(layer, RecurrentLayer)]


@not_compiled  # the shapes depend on the ids
def _documents_as_rows(ids: Tensor, documents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give every document of (B, T) ids a row of its own, padded on the right.

    Returns (N, L) ids for N documents of at most L tokens, and for each of the B·T tokens its row and its place there.
    """
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = begins.flatten().nonzero().squeeze(1)
    row = begins.flatten().cumsum(0) - 1
    place = torch.arange(ids.numel(), device=ids.device) - starts[row]
    rows = ids.new_zeros(len(starts), int(place.max()) + 1)
    rows[row, place] = ids.flatten()
    return rows, row, place
