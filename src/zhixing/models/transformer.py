"""The Transformer (Vaswani et al. 2017): an encoder reads the source in both directions, a decoder writes the target.

As published: a norm after each residual sum (section 3.1), sinusoids added to the embeddings (3.5), a ReLU feed-forward
(3.3), one table for both embeddings and the head, multiplied by ``sqrt(D)`` where it is read (3.4), dropout on the sums
of embeddings and positions and on what each part returns (5.4). Label smoothing belongs to the objective.

What differs here from the paper: sines stand in the first half of the features and cosines in the second, as in the
authors' code, not in turns: a fixed permutation, after which the weights are those of Marian's models (Junczys-Dowmunt
et al. 2018), which open here. These may have another activation, unscaled embeddings, and a bias on the head: hidden
states then end in a 1, and ``head_weight`` in a column that holds it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.models.presets import expand
from zhixing.nn.attention import Reading, attend, join_heads, plan_reading, split_heads
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.cross_cache import CrossCache, source_of
from zhixing.nn.dropout import Dropout
from zhixing.nn.linear import PackedLinear
from zhixing.nn.norms import LayerNorm
from zhixing.nn.positions import sinusoidal

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class TransformerSettings(Settings):
    """Shape of an encoder-decoder Transformer."""

    family: Literal["transformer"] = "transformer"
    preset: str | None = setting(
        None, "a published shape; fields beside it change it", "已发表的形状；与之并列的字段可改动它"
    )
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(
        128, "window of text: source and target, less one", "文本窗口：源与目标之和减一", unit="tokens", ge=2
    )
    target_length: int | None = setting(
        None,
        "of the window, written after its source; empty: half",
        "窗口中作为目标写出的部分；留空：一半",
        unit="tokens",
        ge=1,
    )
    start_id: int | None = setting(
        None,
        "what the decoder reads first; empty: the separator",
        "解码器首先读入的编号；留空：分隔符",
        unit="id",
        ge=0,
    )
    layers: int = setting(2, "blocks of the encoder", "编码器层数", ge=1)
    decoder_layers: int | None = setting(None, "blocks of the decoder; empty: as many", "解码器层数；留空：相同", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    heads: int = setting(4, "H, attention heads; divides D", "H，注意力头数，须整除 D", ge=1)
    inner_width: int | None = setting(None, "F, inner width; empty: 4 D", "F，前馈层内宽；留空：4 D", ge=1)
    activation: Literal["relu", "gelu", "silu"] = setting("relu", "of the feed-forward", "前馈层的激活函数")
    scaled: bool = setting(True, "embeddings times sqrt(D)", "词嵌入乘以 sqrt(D)")
    head_bias: bool = setting(False, "a bias on the logits, of imported models", "输出头带偏置，用于导入的模型")
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return expand(data, lambda: PRESETS)

    @model_validator(mode="after")
    def _parts_fit(self) -> TransformerSettings:
        if self.width % self.heads:
            raise ValueError(
                tr(
                    f"width ({self.width}) must be a multiple of heads ({self.heads})",
                    f"width（{self.width}）须为 heads（{self.heads}）的倍数",
                )
            )
        if self.target_length is not None and self.target_length > self.context_length:
            raise ValueError(
                tr(
                    f"target_length ({self.target_length}) must leave a source: at most context_length "
                    f"({self.context_length})",
                    f"target_length（{self.target_length}）须给源留位：至多 context_length（{self.context_length}）",
                )
            )
        return self

    @property
    def writing_layers(self) -> int:
        """Blocks of the decoder."""
        return self.decoder_layers or self.layers

    @property
    def inner(self) -> int:
        """F."""
        return self.inner_width or 4 * self.width


_PUBLISHED = TransformerSettings(vocab_size=37000, context_length=511, layers=6)
PRESETS: dict[str, TransformerSettings] = {
    "tiny": TransformerSettings(context_length=63, layers=1, width=64, heads=2),
    "small": TransformerSettings(),
    "transformer-base": _PUBLISHED.replace(width=512, heads=8, inner_width=2048, dropout=0.1),
    "transformer-big": _PUBLISHED.replace(width=1024, heads=16, inner_width=4096, dropout=0.3),
}


class SelfAttention(nn.Module):
    """Queries, keys and values of one text."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        self.heads, width = settings.heads, settings.width
        self.query_key_value = PackedLinear(width, (width,) * 3)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, S, D) to (B, S, D), in both directions; mask as for ``attend``."""
        return self.output(join_heads(attend(*self.project(x), mask)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, D) to query, key and value, (B, H, T, E) each."""
        query, key, value = split_heads(self.query_key_value(x), 3 * self.heads).chunk(3, dim=1)
        return query, key, value

    def causal(self, x: Tensor, reading: Reading, layer: int) -> Tensor:
        """(B, T, D) to (B, T, D), no place seeing a later one."""
        query, key, value = self.project(x)
        key, value = reading.remember(layer, key, value)
        return self.output(join_heads(attend(query, key, value, reading.mask, reading.causal)))


class CrossAttention(nn.Module):
    """Queries of the target, keys and values of the source."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        self.heads, width = settings.heads, settings.width
        self.query = nn.Linear(width, width)
        self.key_value = PackedLinear(width, (width,) * 2)
        self.output = nn.Linear(width, width)

    def source(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, D) to key and value, (B, H, S, E) each."""
        key, value = split_heads(self.key_value(memory), 2 * self.heads).chunk(2, dim=1)
        return key, value

    def forward(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, D) to (B, T, D); mask (B, 1, 1, S): True where the source is real."""
        return self.output(join_heads(attend(split_heads(self.query(x), self.heads), key, value, mask)))


class FeedForward(nn.Module):
    """``contract(relu(expand(x)))`` with biases; equation 2 of the paper."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[settings.activation]
        self.expand = nn.Linear(settings.width, settings.inner)
        self.contract = nn.Linear(settings.inner, settings.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.contract(self.activation(self.expand(x)))


class EncoderBlock(nn.Module):
    """``x = norm(x + attention(x))``, then ``norm(x + feed_forward(x))``."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        self.attention, self.attention_norm = SelfAttention(settings), LayerNorm(settings.width)
        self.feed_forward, self.feed_forward_norm = FeedForward(settings), LayerNorm(settings.width)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, S, D) to (B, S, D)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class DecoderBlock(nn.Module):
    """Like the encoder's, blind to what comes later, with a look at the source between the two."""

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        self.attention, self.attention_norm = SelfAttention(settings), LayerNorm(settings.width)
        self.cross, self.cross_norm = CrossAttention(settings), LayerNorm(settings.width)
        self.feed_forward, self.feed_forward_norm = FeedForward(settings), LayerNorm(settings.width)
        self.dropout = Dropout(settings.dropout)

    def forward(
        self, x: Tensor, reading: Reading, layer: int, source: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        """(B, T, D) to (B, T, D); the source's key and value, and its mask, as ``CrossAttention`` takes them."""
        x = self.attention_norm(x + self.dropout(self.attention.causal(x, reading, layer)))
        x = self.cross_norm(x + self.dropout(self.cross(x, *source, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Transformer(nn.Module):
    """``encode`` a source, ``decode`` a target; ``head_weight`` turns the latter's hidden states into logits."""

    places: Tensor

    def __init__(self, settings: TransformerSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.scale = settings.width**0.5 if settings.scaled else 1.0
        with torch.device("cpu"):  # so that a model first built without memory has them all the same
            self.register_buffer("places", _halves(settings.context_length + 1, settings.width), persistent=False)
        encoder = nn.ModuleList(EncoderBlock(settings) for _ in range(settings.layers))
        decoder = nn.ModuleList(DecoderBlock(settings) for _ in range(settings.writing_layers))
        self.blocks = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        self.head_bias = nn.Parameter(torch.zeros(settings.vocab_size)) if settings.head_bias else None
        self.dropout = Dropout(settings.dropout)
        self.initialise()

    def initialise(self) -> None:
        """Draw matrices uniformly as Glorot and Bengio (2010), each of a packed one as if alone; biases zero."""
        nn.init.normal_(self.token_embedding.weight, std=self.settings.width**-0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                sections = module.sections if isinstance(module, PackedLinear) else (module.out_features,)
                for part in torch.split(module.weight.data, list(sections)):
                    nn.init.xavier_uniform_(part)
                nn.init.zeros_(module.bias)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding, (V, D + 1) with the head's bias."""
        weight = self.token_embedding.weight
        return weight if self.head_bias is None else torch.cat([weight, self.head_bias[:, None]], dim=1)

    def new_cache(self, batch: int) -> CrossCache:
        """Return the cache of ``batch`` targets of which nothing has been read, their sources not known yet."""
        s = self.settings
        like = self.token_embedding.weight.detach()
        return CrossCache(KeyValueCache.empty(s.writing_layers, batch, s.heads, s.width // s.heads, like))

    def encode(self, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return what the encoder makes of (B, S) sources: (B, S, D).

        Args:
            ids: (B, S).
            lengths: (B,) how many ids of each row are real (right padding), at least one; None: all.
        """
        mask = _real(lengths, ids.shape[1])
        x = self._embed(ids, None)
        for block in self._stack("encoder"):
            x = block(x, mask)
        return x

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
            ids: (B, T), the first of a target being the start id.
            memory: (B, S, D) of ``encode``; not looked at where the cache knows its source.
            memory_lengths: (B,) how many of the S are real, at least one; None: all.
            cache: of the targets so far; brought up to date.
            lengths: (B,) how many of the T ids of each row are real (right padding); None: all.

        Raises:
            ValueError: there is no memory, and no cache that knows the source.
        """
        reading = plan_reading(ids, cache=None if cache is None else cache.own, lengths=lengths)
        stack = self._stack("decoder")
        keys, values, real = source_of([block.cross for block in stack], memory, memory_lengths, cache)
        mask = _real(real, keys[0].shape[2])
        x = self._embed(ids, reading.slots)
        for layer, block in enumerate(stack):
            x = block(x, reading, layer, (keys[layer], values[layer]), mask)
        return x if self.head_bias is None else torch.cat([x, x.new_ones(*ids.shape, 1)], dim=-1)

    def _embed(self, ids: Tensor, slots: Tensor | None) -> Tensor:
        """Return embeddings with positions: 0 .. T - 1, or the (B, T) slots."""
        needed = ids.shape[1] if slots is None else int(slots.max()) + 1
        places = self.places if needed <= len(self.places) else _halves(needed, self.settings.width).to(self.places)
        positions = places[: ids.shape[1]] if slots is None else places[slots]
        return self.dropout(self.token_embedding(ids) * self.scale + positions)

    def _stack(self, name: str) -> list[Any]:
        return list(self.blocks[name].children())


def _halves(positions: int, width: int) -> Tensor:
    """Return the (P, D) sinusoids of the places 0 .. P - 1, sines in the first half, cosines in the second."""
    turns = sinusoidal(positions, width)
    return torch.cat([turns[:, 0::2], turns[:, 1::2]], dim=1)


def _real(lengths: Tensor | None, size: int) -> Tensor | None:
    """Return (B, 1, 1, S), True where a source is real; None: everywhere."""
    if lengths is None:
        return None
    return (torch.arange(size, device=lengths.device) < lengths[:, None])[:, None, None]
