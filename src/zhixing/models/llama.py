"""Llama-style decoder (Touvron et al. 2023): the Transformer decoder of Vaswani et al. 2017, with

- RMS norm before each part instead of layer norm after it,
- rotary positions instead of added ones,
- a SwiGLU feed-forward block,
- grouped-query attention (Ainslie et al. 2023),
- no biases.

Its descendants differ from it in single fields, and are this same model here:

- Llama 3.1 and 3.2 (Llama Team 2024): ``rotary_scaling``, slower rotary frequencies for longer texts;
- Mistral 7B v0.1 (Jiang et al. 2023): ``attention_window``, each layer sees the last 4096 tokens only;
- Qwen2 and Qwen2.5 (Qwen Team 2024): ``attention_bias``, biases on queries, keys and values;
- Qwen3 (Qwen Team 2025): ``query_key_norm``, a norm on queries and keys (Henry et al. 2020), and ``head_width``, heads
  that are wider than the width divided by their number.

What differs here from the published models: query, key and value are one matrix product, gate and up
another; the parts that write into the residual stream start at zero, so a new model starts as a bigram model
of its embeddings.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.models.presets import expand
from zhixing.models.rotary_scaling import Llama3Scaling, NoScaling, RotaryScaling, stretch
from zhixing.nn.attention import Reading, attend, plan_reading
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.dropout import Dropout
from zhixing.nn.feedforward import SwiGLU
from zhixing.nn.linear import PackedLinear
from zhixing.nn.norms import RMSNorm
from zhixing.nn.positions import Rotary, looking_back, rotate
from zhixing.nn.sliding_window import narrow, slots_needed


class LlamaSettings(Settings):
    """Shape of a Llama-style decoder."""

    family: Literal["llama"] = "llama"
    preset: str | None = setting(
        None, "a published shape; fields beside it change it", "已发表的形状；与之并列的字段可改动它"
    )
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(256, "longest text the model can see", "可见的最长文本", unit="tokens", ge=2)
    layers: int = setting(4, "number of blocks", "层数", ge=1)
    width: int = setting(256, "D, width of the residual stream", "D，残差流宽度", ge=1)
    heads: int = setting(4, "H, query heads", "H，查询头数", ge=1)
    key_value_heads: int | None = setting(None, "G, divides H; empty: H", "G，须整除 H；留空：等于 H", ge=1)
    head_width: int | None = setting(None, "E, even; empty: D / H", "E，偶数；留空：D / H", ge=2)
    inner_width: int = setting(704, "F, inner width of the feed-forward block", "F，前馈层内宽", ge=1)
    rotary_theta: float = setting(10000.0, "base of the rotary wavelengths", "旋转位置波长的底数", gt=1)
    rotary_scaling: RotaryScaling = NoScaling()
    attention_window: int | None = setting(
        None, "tokens a layer sees, itself included; empty: all", "每层可见的词元数（含自身）；留空：全部", ge=2
    )
    full_layers: int = setting(
        0, "first layers that see everything despite attention_window", "最前若干层不受 attention_window 限制", ge=0
    )
    attention_bias: Literal["none", "query_key_value", "all"] = setting(
        "none", "biases of attention; query_key_value: Qwen2; all: of the output too",
        "注意力的偏置；query_key_value：Qwen2；all：输出也有",
    )  # fmt: skip
    norm_epsilon: float = setting(1e-6, "added to the mean square", "加在均方上的小量", gt=0)
    query_key_norm: bool = setting(
        True, "RMS norm on queries and keys (Qwen3 layout)", "对查询与键作 RMS 归一（Qwen3 布局）"
    )
    tied: bool = setting(False, "output head shares the embedding", "输出头与词嵌入共享权重")
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return expand(data, lambda: PRESETS)

    @model_validator(mode="after")
    def _heads_fit(self) -> LlamaSettings:
        if self.heads % self.groups:
            raise ValueError(f"heads ({self.heads}) must be a multiple of key_value_heads ({self.groups})")
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads}), or give head_width")
        if self.per_head % 2:
            raise ValueError(f"head width ({self.per_head}) must be even for rotary positions")
        return self

    @model_validator(mode="after")
    def _layout_exists(self) -> LlamaSettings:
        """Only combinations that some published layout has, so that every model opens elsewhere."""
        if self.full_layers and self.attention_window is None:
            raise ValueError(tr("full_layers needs attention_window", "full_layers 需要 attention_window"))
        if self.full_layers >= self.layers:
            raise ValueError(
                tr(
                    f"full_layers ({self.full_layers}) must be less than layers ({self.layers})",
                    f"full_layers（{self.full_layers}）须小于 layers（{self.layers}）",
                )
            )
        if self.query_key_norm and self.attention_bias == "query_key_value":
            raise ValueError(
                tr(
                    "query_key_norm goes with attention_bias none or all (Qwen3); for Qwen2 set query_key_norm: false",
                    "query_key_norm 只与 attention_bias 为 none 或 all 相配（Qwen3）；Qwen2 请设 query_key_norm: false",
                )
            )
        if not self.query_key_norm and self.attention_bias != "query_key_value" and self._beyond_mistral:
            raise ValueError(
                tr(
                    "attention_window without query_key_norm goes with attention_bias query_key_value (Qwen2), or with "
                    "none and full_layers: 0 (Mistral)",
                    "不带 query_key_norm 的 attention_window 只与 attention_bias 为 query_key_value（Qwen2）相配，"
                    "或与 none 及 full_layers: 0（Mistral）相配",
                )
            )
        return self

    @property
    def _beyond_mistral(self) -> bool:
        return self.attention_window is not None and (self.full_layers > 0 or self.attention_bias == "all")

    @property
    def groups(self) -> int:
        """``G``."""
        return self.key_value_heads or self.heads

    @property
    def per_head(self) -> int:
        """``E``."""
        return self.head_width or self.width // self.heads


_Fields = dict[str, Any]
_LLAMA: _Fields = {"query_key_norm": False, "norm_epsilon": 1e-5}
_LLAMA_2 = _LLAMA | {"vocab_size": 32000, "context_length": 4096}
_LLAMA_3 = _LLAMA | {
    "vocab_size": 128256, "context_length": 8192, "key_value_heads": 8, "inner_width": 14336, "rotary_theta": 500000.0
}  # fmt: skip
_LLAMA_3_2 = _LLAMA_3 | {
    "context_length": 131072, "inner_width": 8192, "rotary_scaling": Llama3Scaling(factor=32.0), "tied": True
}  # fmt: skip
_MISTRAL = _LLAMA | {
    "context_length": 32768, "layers": 32, "width": 4096, "heads": 32, "key_value_heads": 8, "inner_width": 14336
}  # fmt: skip
_QWEN_2: _Fields = {
    "vocab_size": 151936, "context_length": 32768, "rotary_theta": 1e6, "query_key_norm": False,
    "attention_bias": "query_key_value",
}  # fmt: skip
_QWEN_3: _Fields = {
    "vocab_size": 151936, "context_length": 40960, "rotary_theta": 1e6, "key_value_heads": 8, "head_width": 128
}  # fmt: skip


def _shape(base: _Fields, **fields: Any) -> LlamaSettings:
    return LlamaSettings(**(base | fields))


PRESETS: dict[str, LlamaSettings] = {
    "tiny": LlamaSettings(context_length=64, layers=2, width=64, heads=2, inner_width=176),
    "small": LlamaSettings(),
    "llama-110m": LlamaSettings(
        context_length=1024, layers=12, width=768, heads=12, inner_width=2048, query_key_norm=False
    ),
    "llama-2-7b": _shape(_LLAMA_2, layers=32, width=4096, heads=32, inner_width=11008),
    "llama-2-13b": _shape(_LLAMA_2, layers=40, width=5120, heads=40, inner_width=13824),
    "llama-2-70b": _shape(_LLAMA_2, layers=80, width=8192, heads=64, key_value_heads=8, inner_width=28672),
    "llama-3-8b": _shape(_LLAMA_3, layers=32, width=4096, heads=32),
    "llama-3-70b": _shape(_LLAMA_3, layers=80, width=8192, heads=64, inner_width=28672),
    "llama-3.1-8b": _shape(
        _LLAMA_3, layers=32, width=4096, heads=32, context_length=131072, rotary_scaling=Llama3Scaling()
    ),
    "llama-3.2-1b": _shape(_LLAMA_3_2, layers=16, width=2048, heads=32),
    "llama-3.2-3b": _shape(_LLAMA_3_2, layers=28, width=3072, heads=24),
    "mistral-7b-v0.1": _shape(_MISTRAL, vocab_size=32000, attention_window=4096),
    "mistral-7b-v0.3": _shape(_MISTRAL, vocab_size=32768, rotary_theta=1e6),
    "qwen2-0.5b": _shape(
        _QWEN_2, context_length=131072, layers=24, width=896, heads=14, key_value_heads=2, inner_width=4864, tied=True
    ),
    "qwen2.5-0.5b": _shape(_QWEN_2, layers=24, width=896, heads=14, key_value_heads=2, inner_width=4864, tied=True),
    "qwen2.5-1.5b": _shape(
        _QWEN_2, context_length=131072, layers=28, width=1536, heads=12, key_value_heads=2, inner_width=8960, tied=True
    ),
    "qwen2.5-7b": _shape(
        _QWEN_2,
        vocab_size=152064,
        context_length=131072,
        layers=28,
        width=3584,
        heads=28,
        key_value_heads=4,
        inner_width=18944,
    ),
    "qwen3-0.6b": _shape(_QWEN_3, layers=28, width=1024, heads=16, inner_width=3072, tied=True),
    "qwen3-1.7b": _shape(_QWEN_3, layers=28, width=2048, heads=16, inner_width=6144, tied=True),
    "qwen3-4b": _shape(_QWEN_3, layers=36, width=2560, heads=32, inner_width=9728, tied=True),
    "qwen3-8b": _shape(_QWEN_3, layers=36, width=4096, heads=32, inner_width=12288),
    "qwen3-14b": _shape(_QWEN_3, layers=40, width=5120, heads=40, inner_width=17408),
}
"""Shapes of our own, and published ones (of the base models). Contexts are those of the published ``config.json``."""


SHARED_FEATURE = 3.0
"""Value of the feature that all new embeddings have in common."""


class Attention(nn.Module):
    """Causal self-attention with rotary positions and grouped keys and values."""

    def __init__(self, settings: LlamaSettings) -> None:
        super().__init__()
        heads, groups, width = settings.heads, settings.groups, settings.per_head
        self.sections = [heads, groups, groups]
        self.head_width = width
        bias = settings.attention_bias
        self.query_key_value = PackedLinear(settings.width, [n * width for n in self.sections], bias=bias != "none")
        self.output = nn.Linear(heads * width, settings.width, bias=bias == "all")
        norm = settings.query_key_norm
        self.query_norm = RMSNorm(width, settings.norm_epsilon) if norm else nn.Identity()
        self.key_norm = RMSNorm(width, settings.norm_epsilon) if norm else nn.Identity()

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], reading: Reading, layer: int) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        batch, length, _ = x.shape
        packed = self.query_key_value(x).view(batch, length, sum(self.sections), self.head_width)
        query, key, value = packed.transpose(1, 2).split(self.sections, dim=1)  # (B, H or G, T, E)
        query = rotate(self.query_norm(query), *rotation)
        key = rotate(self.key_norm(key), *rotation)
        key, value = reading.remember(layer, key, value)
        mixed = attend(query, key, value, reading.mask, reading.causal)  # (B, H, T, E)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, -1))


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + feed_forward(norm(x))``."""

    def __init__(self, settings: LlamaSettings) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.attention = Attention(settings)
        self.feed_forward_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.feed_forward = SwiGLU(settings.width, settings.inner_width)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], reading: Reading, layer: int) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, reading, layer))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class Llama(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: LlamaSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.dropout = Dropout(settings.dropout)
        # One more position than the context: padding of a full row is written there.
        self.rotary = Rotary(
            settings.per_head, settings.context_length + 1, settings.rotary_theta, stretch(settings.rotary_scaling)
        )
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.final_norm = RMSNorm(settings.width, settings.norm_epsilon)
        self.head = None if settings.tied else nn.Linear(settings.width, settings.vocab_size, bias=False)
        self.initialise()

    def initialise(self) -> None:
        """Draw weights: unit embeddings, ``0.7 / sqrt(D)`` inside, zero for what writes to the residual."""
        width = self.settings.width
        nn.init.normal_(self.token_embedding.weight, std=0.02 if self.settings.tied else 1.0)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            for inner in (block.attention.query_key_value, block.feed_forward.gate_up):
                nn.init.normal_(inner.weight, std=0.7 * width**-0.5)
            for writer in (block.attention.output, block.feed_forward.down):
                nn.init.zeros_(writer.weight)
            for linear in (block.attention.query_key_value, block.attention.output):
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        if self.settings.query_key_norm and self.head is not None and stretch(self.settings.rotary_scaling) is None:
            self._look_back()

    @torch.no_grad()
    def _look_back(self) -> None:
        """Let the first heads of the first block begin by looking 1, 2, 3 tokens back, one head free.

        A small model would spend many of its steps on finding this out. Every embedding shares one constant feature,
        whose projection holds the distance; content may take over from there. The norm on queries and keys bounds
        the scores, so the heads stay soft.
        """
        shape, first = self.settings, self.blocks[0]
        assert isinstance(first, Block)
        self.token_embedding.weight[:, 0] = SHARED_FEATURE
        query, key, _ = torch.split(
            first.attention.query_key_value.weight, list(first.attention.query_key_value.sections)
        )
        for head in range(min(3, shape.heads - 1)):
            rows = slice(head * shape.per_head, (head + 1) * shape.per_head)
            group = head * shape.groups // shape.heads
            shared = slice(group * shape.per_head, (group + 1) * shape.per_head)
            towards, from_there = looking_back(head + 1, shape.per_head, shape.rotary_theta)
            for projection, part, vector in ((query, rows, towards), (key, shared, from_there)):
                projection[part] *= 0.3
                projection[part, 0] = 2.5 * vector.to(projection.device)

    @property
    def head_weight(self) -> Tensor:
        """(V, D) output embedding."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache for ``batch`` rows."""
        s = self.settings
        like = self.token_embedding.weight.detach()
        limits: tuple[int | None, ...] = ()
        if s.attention_window is not None:
            limits = (None,) * s.full_layers + (slots_needed(s.attention_window),) * (s.layers - s.full_layers)
        return KeyValueCache.empty(s.layers, batch, s.groups, s.per_head, like, limits=limits)

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
        window, full = self.settings.attention_window, self.settings.full_layers
        narrowed = reading if window is None else narrow(reading, window, ids, lengths)
        rotation = self.rotary(reading.positions, ids.shape[1])
        x = self.dropout(self.token_embedding(ids))
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, reading if layer < full else narrowed, layer)
        return self.final_norm(x)
