"""BERT (Devlin et al. 2019) and RoBERTa (Liu et al. 2019): the Transformer encoder of Vaswani et al. 2017, which
reads a text in both directions at once and is trained to say what stood at masked places.

Unlike the decoders here, layer norm comes *after* each residual sum, and the embeddings are normed too. Positions are
learned; a segment embedding says which of two texts a token belongs to. RoBERTa keeps all of this and changes the
training (no second text, masks drawn anew each epoch); in the network it only counts positions from behind the id of
padding.

What differs here from the published code: queries, keys and values are one matrix product, and dropout acts on
embeddings and residual branches only, as everywhere in this project. A new model's position table begins as sinusoids,
a narrow one's weights wider than 0.02, and the heads of the first block at their neighbours: small models on small
texts learn sooner so. The pooler of BERT's next-sentence task is not trained here; a foreign model's is kept. A model
without the masked-LM head (``head: false``) gives hidden states only.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.nn.attention import attend, visible_mask
from zhixing.nn.dropout import Dropout
from zhixing.nn.feedforward import GeluFeedForward
from zhixing.nn.linear import PackedLinear
from zhixing.nn.norms import LayerNorm
from zhixing.nn.positions import sinusoidal, turned_waves


class BertSettings(Settings):
    """Shape of a BERT."""

    family: Literal["bert"] = "bert"
    variant: Literal["bert", "roberta"] = setting("bert", "how positions are counted", "位置如何编号")
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(128, "longest text the model can see", "可见的最长文本", unit="tokens", ge=2)
    layers: int = setting(4, "number of blocks", "层数", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    heads: int = setting(4, "H, attention heads; divides D", "H，注意力头数，须整除 D", ge=1)
    inner_width: int | None = setting(None, "F, inner width; empty: 4 D", "F，前馈层内宽；留空：4 D", ge=1)
    segments: int = setting(2, "how many texts one input may join", "一个输入最多由几段文本拼成", ge=1)
    padding_id: int = setting(
        0, "id of padding; RoBERTa counts positions behind it", "填充编号；RoBERTa 的位置从其后数起", ge=0
    )
    norm_epsilon: float = setting(1e-12, "added to the variance", "加在方差上的小量", gt=0)
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)
    head: bool = setting(True, "with the masked-LM head", "带掩码语言模型输出头")
    pooler: bool = setting(False, "with the pooler, of imported models", "带汇聚层，用于导入的模型")

    @model_validator(mode="after")
    def _heads_fit(self) -> BertSettings:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @property
    def first_position(self) -> int:
        """Row of the position table that belongs to the first token."""
        return self.padding_id + 1 if self.variant == "roberta" else 0


PRESETS: dict[str, BertSettings] = {
    "tiny": BertSettings(context_length=64, layers=2, width=64, heads=2),
    "small": BertSettings(),
    "bert-base": BertSettings(vocab_size=30522, context_length=512, layers=12, width=768, heads=12, dropout=0.1),
    "bert-large": BertSettings(vocab_size=30522, context_length=512, layers=24, width=1024, heads=16, dropout=0.1),
    "roberta-base": BertSettings(
        variant="roberta", vocab_size=50265, context_length=512, layers=12, width=768, heads=12, segments=1,
        padding_id=1, norm_epsilon=1e-5, dropout=0.1,
    ),
    "all-minilm-l6": BertSettings(
        vocab_size=30522, context_length=512, layers=6, width=384, heads=12, inner_width=1536, dropout=0.1,
        head=False, pooler=True,
    ),
}  # fmt: skip

_SHARPNESS = 4.0
"""Size of the first queries and keys: a neighbour's share of attention is then several times that of the next place."""


class Attention(nn.Module):
    """Multi-head self-attention in both directions."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.query_key_value = PackedLinear(settings.width, [settings.width] * 3)
        self.output = nn.Linear(settings.width, settings.width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); mask (B, 1, 1 or T, T), True where a token may look."""
        batch, length, width = x.shape
        packed = self.query_key_value(x).view(batch, length, 3 * self.heads, width // self.heads)
        query, key, value = packed.transpose(1, 2).chunk(3, dim=1)  # (B, H, T, E)
        mixed = attend(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """``x = norm(x + attention(x))``, then ``norm(x + feed_forward(x))``."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.attention = Attention(settings)
        self.attention_norm = LayerNorm(settings.width, settings.norm_epsilon)
        inner = settings.inner_width or 4 * settings.width
        self.feed_forward = GeluFeedForward(settings.width, inner, approximate="none")
        self.feed_forward_norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class MaskedHead(nn.Module):
    """``norm(gelu(transform(h))) @ token_embedding.T + bias``: what stood at a place (Devlin et al. 2019, section 3.1).

    The transform stands in the published code only.
    """

    def __init__(self, settings: BertSettings, vocab_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(settings.width, settings.width)
        self.norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """(..., D) and the token embedding (V, D) to logits (..., V)."""
        return functional.linear(self.norm(functional.gelu(self.transform(hidden))), embedding, self.bias)


class Bert(nn.Module):
    """Ids to hidden states; ``logits`` turns hidden states into what may have stood there."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        width = settings.width
        self.token_embedding = nn.Embedding(settings.vocab_size, width)
        self.position_embedding = nn.Embedding(settings.first_position + settings.context_length, width)
        self.segment_embedding = nn.Embedding(settings.segments, width)
        self.embedding_norm = LayerNorm(width, settings.norm_epsilon)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.head = MaskedHead(settings, settings.vocab_size) if settings.head else None
        self.pooler = nn.Linear(width, width) if settings.pooler else None
        self.initialise()

    def initialise(self) -> None:
        """Draw weights as BERT's base model: N(0, 0.02) at its width of 768, biases zero.

        Narrower models draw wider, so that queries, keys and logits begin at the same size; with 0.02 their attention
        begins almost uniform, and they stay for thousands of steps where only the tokens' frequencies are known. For
        the same reason positions begin as sinusoids of that size: heads find neighbours several times sooner.
        """
        width, first = self.settings.width, self.settings.first_position
        deviation = 0.02 * (768 / width) ** 0.5
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=deviation)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            waves = sinusoidal(self.settings.context_length, width) * 2**0.5 * deviation
            self.position_embedding.weight[first:].copy_(waves)
            self._look_at_neighbours()

    def _look_at_neighbours(self) -> None:
        """Have the heads of the first block begin by looking one token back, one ahead, two back, two ahead, ...

        What stands beside a masked place says most about it, and small models take most of a budget of minutes to find
        out. Queries and keys begin as the fast waves of the positions, the keys turned by the head's distance; the
        tokens' features leave room for these waves. All of it is trained on like any other weight.
        """
        heads, width = self.settings.heads, self.settings.width
        each = width // heads // 2 * 2  # sine and cosine of each wave
        for embedding in (self.token_embedding, self.segment_embedding):
            embedding.weight[:, :each] = 0
        first = self.blocks[0]
        assert isinstance(first, Block)
        packed = first.attention.query_key_value.weight.view(3, heads, width // heads, width)
        for head in range(heads):
            distance = (head // 2 + 1) * (1 if head % 2 else -1)
            query, key = packed[0, head, :each], packed[1, head, :each]
            query.zero_()
            key.zero_()
            query[:, :each] = _SHARPNESS * torch.eye(each)
            key[:, :each] = _SHARPNESS * turned_waves(distance, width, each // 2)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        segments: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) final hidden states of (B, T) ids.

        Args:
            ids: (B, T).
            positions: (B, T) positions, when they restart within a window; None: counted from the left.
            documents: (B, T) document numbers: tokens of different documents do not see each other.
            segments: (B, T) which of the joined texts each token belongs to; None: all to the first.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.
        """
        x = self.token_embedding(ids) + self.position_embedding(self._rows(ids, positions))
        x = x + (self.segment_embedding.weight[0] if segments is None else self.segment_embedding(segments))
        x = self.dropout(self.embedding_norm(x))
        mask = visible_mask(ids, documents, lengths)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the (..., V) scores of the ids that may have stood at (..., D) hidden states.

        Raises:
            ValueError: the model has no masked-LM head.
        """
        if self.head is None:
            raise ValueError("a model without a masked-LM head gives hidden states only")
        return self.head(hidden, self.token_embedding.weight)

    def pooled(self, hidden: Tensor) -> Tensor:
        """Return the (B, D) pooled first token of (B, T, D) hidden states, where there is a pooler."""
        if self.pooler is None:
            raise ValueError("this model has no pooler")
        return torch.tanh(self.pooler(hidden[:, 0]))

    def _rows(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        """Return which rows of the position table belong to (B, T) ids; broadcastable."""
        first = self.settings.first_position
        if positions is not None:
            return positions + first
        if self.settings.variant == "bert":
            return torch.arange(ids.shape[1], device=ids.device)
        real = ids != self.settings.padding_id  # RoBERTa passes over padding wherever it stands
        return real.cumsum(1) * real + self.settings.padding_id
