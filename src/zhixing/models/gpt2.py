"""GPT-2 (Radford et al. 2019): the Transformer decoder of Vaswani et al. 2017 with layer norm before each
part, learned positions, a GELU feed-forward block, biases, and an output head that shares the token
embedding.

What differs here from the published code: weight matrices are stored (out, in) as everywhere else in this
project (GPT-2's files hold them transposed; ``interop`` turns them), and dropout acts on embeddings and
residual branches only: on the attention weights it would leave the fused kernel and cost a third of the
speed.

The presets named after GPT-3 have the shapes of Brown et al. (2020), table 2.1. GPT-3 alternates dense and locally
banded sparse attention from layer to layer; here every layer is dense. Two rows of the table do not add up, a width
being heads times head width: XL has 24 heads of 128 at a width of 2048 (16 of 128 here), and 13B a width of 5140
with 40 heads of 128 (5120 here).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.models.presets import expand
from zhixing.nn.attention import Reading, attend, plan_reading
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.dropout import Dropout
from zhixing.nn.feedforward import GeluFeedForward
from zhixing.nn.linear import PackedLinear
from zhixing.nn.norms import LayerNorm


class GPT2Settings(Settings):
    """Shape of a GPT-2."""

    family: Literal["gpt2"] = "gpt2"
    preset: str | None = setting(
        None, "a published shape; fields beside it change it", "已发表的形状；与之并列的字段可改动它"
    )
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(256, "longest text the model can see", "可见的最长文本", unit="tokens", ge=2)
    layers: int = setting(4, "number of blocks", "层数", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    heads: int = setting(4, "H, attention heads; divides D", "H，注意力头数，须整除 D", ge=1)
    inner_width: int | None = setting(None, "F, inner width; empty: 4 D", "F，前馈层内宽；留空：4 D", ge=1)
    norm_epsilon: float = setting(1e-5, "added to the variance", "加在方差上的小量", gt=0)
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return expand(data, lambda: PRESETS)

    @model_validator(mode="after")
    def _heads_fit(self) -> GPT2Settings:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


def _published(context: int, layers: int, width: int, heads: int) -> GPT2Settings:
    return GPT2Settings(vocab_size=50257, context_length=context, layers=layers, width=width, heads=heads)


PRESETS: dict[str, GPT2Settings] = {
    "tiny": GPT2Settings(context_length=64, layers=2, width=64, heads=2),
    "small": GPT2Settings(),
    "gpt2": _published(1024, 12, 768, 12),
    "gpt2-medium": _published(1024, 24, 1024, 16),
    "gpt2-large": _published(1024, 36, 1280, 20),
    "gpt2-xl": _published(1024, 48, 1600, 25),
    "gpt3-small": _published(2048, 12, 768, 12),
    "gpt3-medium": _published(2048, 24, 1024, 16),
    "gpt3-large": _published(2048, 24, 1536, 16),
    "gpt3-xl": _published(2048, 24, 2048, 16),
    "gpt3-2.7b": _published(2048, 32, 2560, 32),
    "gpt3-6.7b": _published(2048, 32, 4096, 32),
    "gpt3-13b": _published(2048, 40, 5120, 40),
    "gpt3-175b": _published(2048, 96, 12288, 96),
}
"""Shapes of our own, GPT-2's four sizes, and GPT-3's eight."""


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, settings: GPT2Settings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.query_key_value = PackedLinear(settings.width, [settings.width] * 3)
        self.output = nn.Linear(settings.width, settings.width)

    def forward(self, x: Tensor, reading: Reading, layer: int) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        batch, length, width = x.shape
        packed = self.query_key_value(x).view(batch, length, 3 * self.heads, width // self.heads)
        query, key, value = packed.transpose(1, 2).chunk(3, dim=1)  # (B, H, T, E)
        key, value = reading.remember(layer, key, value)
        mixed = attend(query, key, value, reading.mask, reading.causal)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, settings: GPT2Settings) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings)
        self.feed_forward_norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = GeluFeedForward(settings.width, settings.inner_width or 4 * settings.width)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, reading: Reading, layer: int) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), reading, layer))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class GPT2(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: GPT2Settings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.position_embedding = nn.Embedding(settings.context_length, settings.width)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.final_norm = LayerNorm(settings.width, settings.norm_epsilon)
        self.initialise()

    def initialise(self) -> None:
        """Draw weights as GPT-2: N(0, 0.02), residual writers over ``sqrt(2 layers)``, biases zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.position_embedding.weight, std=0.01)
        for block in self.blocks:
            assert isinstance(block, Block)
            for writer in (block.attention.output, block.feed_forward.contract):
                nn.init.normal_(writer.weight, std=0.02 / (2 * self.settings.layers) ** 0.5)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding, tied to the token embedding."""
        return self.token_embedding.weight

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache for ``batch`` rows."""
        s = self.settings
        like = self.token_embedding.weight.detach()
        return KeyValueCache.empty(s.layers, batch, s.heads, s.width // s.heads, like)

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: KeyValueCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) final hidden states of (B, T) ids; arguments as in ``plan_reading``."""
        reading = plan_reading(ids, positions=positions, documents=documents, cache=cache, lengths=lengths)
        where = reading.positions
        if where is None:
            where = torch.arange(ids.shape[1], device=ids.device)
        elif cache is not None:
            # Padding of a full row stands one beyond the context; what it computes is never seen.
            where = where.clamp(max=self.settings.context_length - 1)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(where))
        for layer, block in enumerate(self.blocks):
            x = block(x, reading, layer)
        return self.final_norm(x)
