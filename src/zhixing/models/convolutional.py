"""Convolutional models of text: the gated convolutional language model (Dauphin et al. 2017), and the sentence
classifier of Kim (2014).

Each layer sees K tokens, and a stack of L of them ``1 + L (K - 1)``; all places are computed at once, and a text may be
of any length.

What differs here from Dauphin et al.: layer norm before each convolution instead of weight normalisation; the residual
connection around every layer, not around groups of up to five with bottlenecks; a plain softmax; an embedding shared
with the head, if wanted, is scaled by ``sqrt(D)`` where it is read. From Kim: a text is padded with zeros before its
first word, so that one shorter than the kernel has features too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.nn.cache import RecurrentState
from zhixing.nn.convolution import CausalConvolution, GatedConvolution, maximum_over_time, memory
from zhixing.nn.dropout import Dropout
from zhixing.nn.norms import LayerNorm


class ConvolutionalSettings(Settings):
    """Shape of a gated convolutional language model."""

    family: Literal["convolutional"] = "convolutional"
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(
        256, "tokens of one row in training; a text may be longer", "训练时一行的词元数；文本可以更长", ge=2
    )
    layers: int = setting(6, "gated convolutions, one upon the other", "门控卷积层的层数", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    kernel: int = setting(4, "K, tokens that a layer sees at once", "K，一层同时所见的词元数", ge=1)
    tied: bool = setting(False, "output head shares the embedding", "输出头与词嵌入共享权重")
    norm_epsilon: float = setting(1e-5, "added to the variance", "加在方差上的小量", gt=0)
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)


PRESETS: dict[str, ConvolutionalSettings] = {
    "tiny": ConvolutionalSettings(context_length=64, layers=2, width=64, kernel=3),
    "small": ConvolutionalSettings(),
    "gcnn-8": ConvolutionalSettings(layers=8, width=900),
}
"""``gcnn-8``: eight layers of 900 with kernels of 4, as the paper's GCNN-8; here the embeddings have that width too."""


class Block(nn.Module):
    """``x + gated_convolution(norm(x))``."""

    def __init__(self, settings: ConvolutionalSettings) -> None:
        super().__init__()
        self.norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.convolution = GatedConvolution(settings.width, settings.width, settings.kernel)
        self.dropout = Dropout(settings.dropout)

    def forward(
        self, x: Tensor, before: Tensor, documents: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (B, T, D) of (B, T, D), and what to remember: the convolution's last inputs."""
        normed = self.norm(x)
        x = x + self.dropout(self.convolution(normed, before.to(normed.dtype), documents))
        return x, memory(normed, before.to(normed.dtype), lengths)


class Convolutional(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: ConvolutionalSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.embedding_scale = settings.width**0.5 if settings.tied else 1.0
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.dropout = Dropout(settings.dropout)
        self.head = None if settings.tied else nn.Linear(settings.width, settings.vocab_size, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Draw embeddings of unit size as read, convolutions that keep the size; the head starts at zero."""
        nn.init.normal_(self.token_embedding.weight, std=1.0 / self.embedding_scale)
        for block in self._blocks():
            nn.init.normal_(block.convolution.weight, std=block.convolution.in_features**-0.5)
            nn.init.zeros_(block.convolution.bias)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def new_cache(self, batch: int) -> RecurrentState:
        """Return the state of ``batch`` rows that have read nothing."""
        lengths = torch.zeros(batch, dtype=torch.int64, device=self.token_embedding.weight.device)
        return RecurrentState([(block.convolution.new_memory(batch),) for block in self._blocks()], lengths)

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
            positions: as other families take them; a convolution counts no positions.
            documents: (B, T) document numbers: nothing is seen of another document.
            cache: each layer's last K - 1 inputs; it is brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

        Raises:
            ValueError: documents or positions together with a cache, which holds one document per row.
        """
        if cache is not None and (documents is not None or positions is not None):
            raise ValueError("a cache holds one document per row and numbers no positions")
        state = self.new_cache(len(ids)) if cache is None else cache
        x = self.dropout(self.token_embedding(ids) * self.embedding_scale)
        for index, block in enumerate(self._blocks()):
            x, end = block(x, state.layers[index][0], documents, lengths)
            state.layers[index] = (end,)
        state.lengths = state.lengths + (ids.shape[1] if lengths is None else lengths)
        return self.norm(x)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


class ConvolutionalClassifier(nn.Module):
    """Kim's sentence classifier: kernels of several sizes, each feature's largest value over time, a linear map."""

    def __init__(
        self,
        vocab_size: int,
        classes: int,
        width: int = 300,
        kernels: Sequence[int] = (3, 4, 5),
        features: int = 100,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.convolutions = nn.ModuleList(CausalConvolution(width, (features,), kernel) for kernel in kernels)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(features * len(kernels), classes)

    def forward(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, T) ids, right-padded to ``lengths`` (B,), to the (B, classes) logits."""
        embedded = self.token_embedding(ids)
        strongest = [maximum_over_time(torch.relu(each(embedded)), lengths) for each in self.convolutions]
        return self.head(self.dropout(torch.cat(strongest, dim=-1)))
