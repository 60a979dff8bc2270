"""T5 (Raffel et al. 2020): an encoder that reads a source in both directions, and a decoder that writes a target.

Blocks norm what they read, not what they return; norms subtract no mean, and nothing has a bias (section 2.1).
Positions are biases on the scores, by bucket of distance, one table per stack that all of its layers share. Scores are
not divided by ``sqrt(E)``: queries begin smaller instead. Version 1.0 has a ReLU feed-forward and one table for
embedding and head, before which hidden states are divided by ``sqrt(D)``; version 1.1 (Shazeer 2020) has a gated GELU
and a head of its own. The width of a head is no function of the model's.

What differs here from the published code: dropout acts on embeddings and residual branches only, as everywhere in this
project; queries, keys and values of one text are one matrix product; a head of its own begins at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.models.presets import expand
from zhixing.nn.attention import join_heads, plan_reading, split_heads
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.cross_cache import CrossCache, source_of
from zhixing.nn.dropout import Dropout
from zhixing.nn.linear import PackedLinear
from zhixing.nn.norms import RMSNorm
from zhixing.nn.relative_bias import RelativeBias, attend_with_bias


class T5Settings(Settings):
    """Shape of a T5."""

    family: Literal["t5"] = "t5"
    preset: str | None = setting(
        None, "a published shape; fields beside it change it", "已发表的形状；与之并列的字段可改动它"
    )
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(128, "window of text in training", "训练时的文本窗口", unit="tokens", ge=2)
    layers: int = setting(4, "blocks of the encoder", "编码器层数", ge=1)
    decoder_layers: int | None = setting(None, "blocks of the decoder; empty: as many", "解码器层数；留空：相同", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    heads: int = setting(4, "H, attention heads", "H，注意力头数", ge=1)
    head_width: int | None = setting(None, "E, width of a head; empty: D / H", "E，注意力头宽度；留空：D / H", ge=1)
    inner_width: int | None = setting(None, "F, inner width; empty: 4 D", "F，前馈层内宽；留空：4 D", ge=1)
    feed_forward: Literal["relu", "gated-gelu"] = setting(
        "relu", "relu: version 1.0; gated-gelu: 1.1", "relu：1.0 版；gated-gelu：1.1 版"
    )
    tied: bool = setting(True, "output head shares the embedding", "输出头与词嵌入共享权重")
    scaled: bool | None = setting(
        None, "hidden states over sqrt(D) before the head; empty: if tied", "输出头前隐状态除以 sqrt(D)；留空：共享时"
    )
    buckets: int = setting(32, "of distance", "距离分桶数", ge=4)
    farthest: int = setting(128, "larger distances share a bucket", "更大的距离同属一桶", unit="tokens", ge=3)
    norm_epsilon: float = setting(1e-6, "added to the mean square", "加在均方上的小量", gt=0)
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)

    target_length: int | None = setting(
        None,
        "as a language model: ids written after one source; empty: half the window",
        "作语言模型时每个源文之后写出的词元数；留空：窗口之半",
        unit="ids",
        ge=1,
    )
    start_id: int | None = setting(None, "begins a target; empty: the separator", "目标的起始编号；留空：分隔符", ge=0)
    gap_ids: tuple[int, ...] = setting(
        (), "ids of the sentinels, filled in by span corruption", "哨兵词元的编号，由片段还原目标填入"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        data = expand(data, lambda: PRESETS)
        gaps = data.get("gap_ids") if isinstance(data, Mapping) else None
        return {**data, "gap_ids": tuple(gaps)} if isinstance(gaps, list) else data

    @model_validator(mode="after")
    def _parts_fit(self) -> T5Settings:
        if self.head_width is None and self.width % self.heads:
            raise ValueError(
                tr(
                    f"width ({self.width}) must be a multiple of heads ({self.heads}), or name head_width",
                    f"width（{self.width}）须为 heads（{self.heads}）的倍数，否则请给出 head_width",
                )
            )
        if self.farthest <= self.buckets // 2:
            raise ValueError(
                tr(
                    f"farthest ({self.farthest}) must be above half of buckets ({self.buckets})",
                    f"farthest（{self.farthest}）须大于 buckets（{self.buckets}）的一半",
                )
            )
        return self

    @property
    def per_head(self) -> int:
        """E."""
        return self.head_width or self.width // self.heads

    @property
    def inner(self) -> int:
        """F."""
        return self.inner_width or 4 * self.width

    @property
    def writing_layers(self) -> int:
        """Blocks of the decoder."""
        return self.decoder_layers or self.layers

    @property
    def divides(self) -> bool:
        """Whether hidden states are divided by ``sqrt(D)`` before the head."""
        return self.tied if self.scaled is None else self.scaled


_OLD = T5Settings(vocab_size=32128, context_length=512, head_width=64, dropout=0.1)
_NEW = _OLD.replace(feed_forward="gated-gelu", tied=False)
PRESETS: dict[str, T5Settings] = {
    "tiny": T5Settings(context_length=64, layers=2, width=64, heads=2),
    "small": T5Settings(),
    "t5-small": _OLD.replace(layers=6, width=512, heads=8, inner_width=2048),
    "t5-base": _OLD.replace(layers=12, width=768, heads=12, inner_width=3072),
    "t5-large": _OLD.replace(layers=24, width=1024, heads=16, inner_width=4096),
    "t5-3b": _OLD.replace(layers=24, width=1024, heads=32, head_width=128, inner_width=16384),
    "t5-v1.1-small": _NEW.replace(layers=8, width=512, heads=6, inner_width=1024),
    "t5-v1.1-base": _NEW.replace(layers=12, width=768, heads=12, inner_width=2048),
    "t5-v1.1-large": _NEW.replace(layers=24, width=1024, heads=16, inner_width=2816),
}


class SelfAttention(nn.Module):
    """Queries, keys and values of one text; scores unscaled, biases by distance."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        self.heads, inner = settings.heads, settings.heads * settings.per_head
        self.query_key_value = PackedLinear(settings.width, (inner,) * 3, bias=False)
        self.output = nn.Linear(inner, settings.width, bias=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) to query, key and value, (B, H, T, E) each."""
        query, key, value = split_heads(self.query_key_value(x), 3 * self.heads).chunk(3, dim=1)
        return query, key, value

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Return the (B, T, D) attention of (B, H, T, E) queries."""
        return self.output(join_heads(attend_with_bias(query, key, value, bias)))


class CrossAttention(nn.Module):
    """Queries of the target, keys and values of the source; no positions."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        self.heads, inner = settings.heads, settings.heads * settings.per_head
        self.query = nn.Linear(settings.width, inner, bias=False)
        self.key_value = PackedLinear(settings.width, (inner,) * 2, bias=False)
        self.output = nn.Linear(inner, settings.width, bias=False)

    def source(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) to key and value, (B, H, S, E) each."""
        key, value = split_heads(self.key_value(memory), 2 * self.heads).chunk(2, dim=1)
        return key, value

    def forward(self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); bias (B, 1, 1, S) is -inf at padding."""
        return self.output(join_heads(attend_with_bias(split_heads(self.query(x), self.heads), key, value, bias)))


class FeedForward(nn.Module):
    """``contract(relu(expand(x)))``, or ``contract(gelu(gate(x)) * up(x))`` in version 1.1 (Shazeer 2020)."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        self.gated = settings.feed_forward == "gated-gelu"
        self.expand = PackedLinear(settings.width, (settings.inner,) * (2 if self.gated else 1), bias=False)
        self.contract = nn.Linear(settings.inner, settings.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        if not self.gated:
            return self.contract(functional.relu(self.expand(x)))
        gate, up = self.expand(x).chunk(2, dim=-1)
        return self.contract(functional.gelu(gate, approximate="tanh") * up)


class EncoderBlock(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        width, epsilon = settings.width, settings.norm_epsilon
        self.attention_norm, self.attention = RMSNorm(width, epsilon), SelfAttention(settings)
        self.feed_forward_norm, self.feed_forward = RMSNorm(width, epsilon), FeedForward(settings)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, S, D) to (B, S, D)."""
        x = x + self.dropout(self.attention.mix(*self.attention.project(self.attention_norm(x)), bias))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class DecoderBlock(nn.Module):
    """Like the encoder's, with a look at the source between the two."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        width, epsilon = settings.width, settings.norm_epsilon
        self.attention_norm, self.attention = RMSNorm(width, epsilon), SelfAttention(settings)
        self.cross_norm, self.cross = RMSNorm(width, epsilon), CrossAttention(settings)
        self.feed_forward_norm, self.feed_forward = RMSNorm(width, epsilon), FeedForward(settings)
        self.dropout = Dropout(settings.dropout)


class T5(nn.Module):
    """``encode`` a source, ``decode`` a target; ``head_weight`` turns the latter's hidden states into logits."""

    def __init__(self, settings: T5Settings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        heads, buckets, farthest = settings.heads, settings.buckets, settings.farthest
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.encoder_bias = RelativeBias(heads, buckets, farthest, both_ways=True)
        self.encoder_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.decoder_bias = RelativeBias(heads, buckets, farthest, both_ways=False)
        encoder = nn.ModuleList(EncoderBlock(settings) for _ in range(settings.layers))
        decoder = nn.ModuleList(DecoderBlock(settings) for _ in range(settings.writing_layers))
        self.blocks = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        self.decoder_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.head = None if settings.tied else nn.Linear(settings.width, settings.vocab_size, bias=False)
        self.dropout = Dropout(settings.dropout)
        self.initialise()

    def initialise(self) -> None:
        """Draw weights as the published code: by the width that each matrix reads, queries smaller by ``sqrt(E)``."""
        s = self.settings
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, RelativeBias):
                nn.init.normal_(module.embedding.weight, std=s.width**-0.5)
        nn.init.normal_(self.token_embedding.weight)
        inner = s.heads * s.per_head
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, SelfAttention):
                    module.query_key_value.weight[:inner].mul_(s.per_head**-0.5)
                elif isinstance(module, CrossAttention):
                    module.query.weight.mul_(s.per_head**-0.5)
            if self.head is not None:
                self.head.weight.zero_()

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def new_cache(self, batch: int) -> CrossCache:
        """Return the cache of ``batch`` targets of which nothing has been read, their sources not known yet."""
        s = self.settings
        own = KeyValueCache.empty(s.writing_layers, batch, s.heads, s.per_head, self.token_embedding.weight)
        return CrossCache(own)

    def encode(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of (B, S) sources: (B, S, D).

        Args:
            ids: (B, S).
            lengths: (B,) how many ids of each row are real (right padding), at least one; None: all.
        """
        bias = self.encoder_bias(torch.arange(ids.shape[1], device=ids.device), ids.shape[1])
        if lengths is not None:
            bias = bias + padding_bias(lengths, ids.shape[1], bias)
        x = self.dropout(self.token_embedding(ids))
        for block in self._blocks("encoder"):
            x = block(x, bias)
        return self.dropout(self.encoder_norm(x))

    def decode(
        self,
        ids: Tensor,
        memory: Tensor | None,
        memory_lengths: Tensor | None = None,
        cache: CrossCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return the (B, T, D) hidden states of (B, T) targets, each place seeing those before it and the source.

        Args:
            ids: (B, T).
            memory: (B, S, D) of ``encode``; not looked at where the cache knows its source.
            memory_lengths: (B,) how many of the S are real, at least one; None: all.
            cache: of the targets so far; brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

        Raises:
            ValueError: there is no memory, and no cache that knows the source.
        """
        reading = plan_reading(ids, cache=None if cache is None else cache.own, lengths=lengths)
        blocks = self._blocks("decoder")
        keys, values, real = source_of([block.cross for block in blocks], memory, memory_lengths, cache)
        hidden = None if real is None else padding_bias(real, keys[0].shape[2], keys[0])
        bias = self._causal_bias(ids, reading.slots, fresh=reading.causal)
        x = self.dropout(self.token_embedding(ids))
        for layer, block in enumerate(blocks):
            query, key, value = block.attention.project(block.attention_norm(x))
            mixed = block.attention.mix(query, *reading.remember(layer, key, value), bias)
            x = x + block.dropout(mixed)
            looked = block.cross(block.cross_norm(x), keys[layer], values[layer], hidden)
            x = x + block.dropout(looked)
            x = x + block.dropout(block.feed_forward(block.feed_forward_norm(x)))
        x = self.dropout(self.decoder_norm(x))
        return x * self.settings.width**-0.5 if self.settings.divides else x

    def _causal_bias(self, ids: Tensor, slots: Tensor | None, fresh: bool) -> Tensor:
        """Return the biases of the target's places on those it may see, -inf on the others: (1 or B, H, T, S)."""
        length = ids.shape[1]
        places = torch.arange(length, device=ids.device) if slots is None else slots
        keys = length if fresh or slots is None else int(slots.max()) + 1
        later = torch.arange(keys, device=ids.device) > places[..., None]
        later = later[:, None] if later.ndim == 3 else later
        return self.decoder_bias(places, keys).masked_fill(later, -torch.inf)

    def _blocks(self, stack: str) -> list[Any]:
        return list(self.blocks[stack].children())


class _Source:
    """Keys and values of the source, one pair per layer of the decoder, and what hides its padding."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], bias: Tensor | None) -> None:
        self.keys, self.values, self.bias = keys, values, bias


def padding_bias(lengths: Tensor, size: int, like: Tensor) -> Tensor:
    """Return (B, 1, 1, S): 0 at the real places of each row, -inf at padding; number type of ``like``."""
    padded = torch.arange(size, device=lengths.device) >= lengths[:, None]
    return torch.zeros(padded.shape, dtype=like.dtype, device=like.device).masked_fill(padded, -torch.inf)[
        :, None, None
    ]
