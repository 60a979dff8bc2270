"""The feed-forward language model (Bengio et al. 2003): the embeddings of the last tokens side by side, a layer of
tanh, and a score for every token that may come next.

It is an n-gram model that generalises: similar words have similar embeddings, so a context never seen is near contexts
that were. It sees ``window`` tokens and nothing before them, and so reads texts of any length.

What differs here from the paper: the scores have no bias of their own; a place before the text's first token counts as
an embedding of zeros, not as a word; hidden layers may be stacked (the paper has one); dropout instead of weight decay
alone. ``direct`` adds the paper's connections from embeddings to scores.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.nn.cache import RecurrentState
from zhixing.nn.convolution import memory, windows
from zhixing.nn.dropout import Dropout


class FeedForwardSettings(Settings):
    """Shape of a feed-forward language model."""

    family: Literal["feedforward"] = "feedforward"
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(
        256, "tokens of one row in training; a text may be longer", "训练时一行的词元数；文本可以更长", ge=2
    )
    window: int = setting(
        8, "tokens that the next one is predicted from (n - 1)", "据以预测下一词元的词元数 (n - 1)", ge=1
    )
    embedding_width: int = setting(128, "E, width of a token's embedding", "E，词嵌入宽度", ge=1)
    layers: int = setting(1, "hidden layers of tanh", "tanh 隐藏层的层数", ge=1)
    width: int = setting(512, "D, width of a hidden layer", "D，隐藏层宽度", ge=1)
    direct: bool = setting(False, "connect the embeddings with the scores too", "词嵌入是否另有直通得分的连接")
    dropout: float = setting(0.0, "on embeddings and hidden layers", "作用于词嵌入与隐藏层", ge=0, lt=1)


PRESETS: dict[str, FeedForwardSettings] = {
    "tiny": FeedForwardSettings(context_length=64, window=4, embedding_width=32, width=64),
    "small": FeedForwardSettings(),
    "bengio": FeedForwardSettings(
        vocab_size=17964, context_length=128, window=5, embedding_width=100, width=60, direct=True
    ),
}
"""``bengio``: the network that the paper's section 3.1 takes for its count of operations."""


class FeedForward(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: FeedForwardSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        seen, width = settings.window * settings.embedding_width, settings.width
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.embedding_width)
        self.blocks = nn.ModuleList(nn.Linear(width if layer else seen, width) for layer in range(settings.layers))
        self.dropout = Dropout(settings.dropout)
        self.head = nn.Linear(width + seen * settings.direct, settings.vocab_size, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Draw embeddings of unit size and maps that keep the size; the head starts at zero."""
        nn.init.normal_(self.token_embedding.weight)
        for layer in self._layers():
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.head.weight)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output weights, or with direct connections (V, D + window · E)."""
        return self.head.weight

    def new_cache(self, batch: int) -> RecurrentState:
        """Return the state of ``batch`` rows that have read nothing: no embeddings, that is zeros."""
        table, size = self.token_embedding.weight.detach(), self.settings.window - 1
        lengths = torch.zeros(batch, dtype=torch.int64, device=table.device)
        return RecurrentState([(table.new_zeros(batch, size, table.shape[1]),)], lengths)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: RecurrentState | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) hidden states of (B, T) ids, with the window beside them if ``direct``.

        Args:
            ids: (B, T).
            positions: as other families take them; a window counts no positions.
            documents: (B, T) document numbers: nothing is seen of another document.
            cache: the last embeddings read before; it is brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

        Raises:
            ValueError: documents or positions together with a cache, which holds one document per row.
        """
        if cache is not None and (documents is not None or positions is not None):
            raise ValueError("a cache holds one document per row and numbers no positions")
        state = self.new_cache(len(ids)) if cache is None else cache
        embedded = self.token_embedding(ids)
        seen = self.dropout(windows(embedded, state.layers[0][0], documents))
        if cache is not None:
            state.layers[0] = (memory(embedded, state.layers[0][0], lengths),)
            state.lengths = state.lengths + (ids.shape[1] if lengths is None else lengths)
        hidden = seen
        for layer in self._layers():
            hidden = self.dropout(torch.tanh(layer(hidden)))
        return torch.cat([hidden, seen], dim=-1) if self.settings.direct else hidden

    def _layers(self) -> list[nn.Linear]:
        return [layer for layer in self.blocks if isinstance(layer, nn.Linear)]
