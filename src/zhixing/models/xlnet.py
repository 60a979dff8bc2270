"""XLNet (Yang et al. 2019): a Transformer-XL (Dai et al. 2019) that is trained to predict a text in any order.

Two streams share all weights. The content stream says what stands at a place; the query stream knows the place but not
what stands there, begins everywhere as the same learned vector, looks at the content of whatever came earlier in the
order, and predicts. Only distances are known of positions; norms come after each residual sum.

From left to right is one of the orders, so an XLNet is a language model: the query of the place *behind* what has been
read predicts what follows. That is what ``forward`` computes, for all prefixes at once or with a cache of the content's
keys and values. Its hidden states end in a 1, and ``head_weight`` in a column that holds the head's bias.

What differs here from the published code: dropout acts on embeddings and residual branches only, as everywhere in this
project; no memory is carried from window to window; a query that may see nothing attends to nothing (in the published
code it attends evenly to all, itself included); the last block's content, which nobody reads, is not computed. A new
narrow model's weights are drawn wider than 0.02, as for BERT here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.models.presets import expand
from zhixing.nn.attention import Reading, cache_mask, plan_reading
from zhixing.nn.cache import KeyValueCache
from zhixing.nn.dropout import Dropout
from zhixing.nn.feedforward import GeluFeedForward
from zhixing.nn.norms import LayerNorm
from zhixing.nn.relative_attention import RelativeAttention, Sight, distance_waves


class XLNetSettings(Settings):
    """Shape of an XLNet."""

    family: Literal["xlnet"] = "xlnet"
    preset: str | None = setting(
        None, "a published shape; fields beside it change it", "已发表的形状；与之并列的字段可改动它"
    )
    vocab_size: int | None = setting(None, "V; empty: the tokenizer's", "V；留空：取分词器的", unit="ids", ge=2)
    context_length: int = setting(128, "longest text the model can see", "可见的最长文本", unit="tokens", ge=2)
    layers: int = setting(4, "number of blocks", "层数", ge=1)
    width: int = setting(256, "D, width of both streams", "D，两个流的宽度", ge=1)
    heads: int = setting(4, "H, attention heads; divides D", "H，注意力头数，须整除 D", ge=1)
    inner_width: int | None = setting(None, "F, inner width; empty: 4 D", "F，前馈层内宽；留空：4 D", ge=1)
    attention: Literal["bi", "uni"] = setting(
        "bi",
        "bi: any order; uni: never to the right (Transformer-XL)",
        "bi：任意次序；uni：从不向右看（Transformer-XL）",
    )
    clamp: int | None = setting(None, "larger distances count as this", "更大的距离按此值计", unit="tokens", ge=1)
    segments: bool = setting(False, "with segment weights, of imported models", "带分段权重，用于导入的模型")
    norm_epsilon: float = setting(1e-12, "added to the variance", "加在方差上的小量", gt=0)
    dropout: float = setting(0.0, "on embeddings and residual branches", "作用于嵌入与残差支路", ge=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return expand(data, lambda: PRESETS)

    @model_validator(mode="after")
    def _heads_fit(self) -> XLNetSettings:
        if self.width % self.heads:
            raise ValueError(
                tr(
                    f"width ({self.width}) must be a multiple of heads ({self.heads})",
                    f"width（{self.width}）须为 heads（{self.heads}）的倍数",
                )
            )
        return self


_PUBLISHED = XLNetSettings(vocab_size=32000, context_length=512, dropout=0.1, segments=True)
PRESETS: dict[str, XLNetSettings] = {
    "tiny": XLNetSettings(context_length=64, layers=2, width=64, heads=2),
    "small": XLNetSettings(),
    "xlnet-base": _PUBLISHED.replace(layers=12, width=768, heads=12),
    "xlnet-large": _PUBLISHED.replace(layers=24, width=1024, heads=16),
}


class Block(nn.Module):
    """``x = norm(x + attention(x))``, then ``norm(x + feed_forward(x))``; the same for either stream."""

    def __init__(self, settings: XLNetSettings) -> None:
        super().__init__()
        width, epsilon = settings.width, settings.norm_epsilon
        self.attention = RelativeAttention(width, settings.heads, settings.segments)
        self.attention_norm = LayerNorm(width, epsilon)
        self.feed_forward = GeluFeedForward(width, settings.inner_width or 4 * width, approximate="none")
        self.feed_forward_norm = LayerNorm(width, epsilon)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, distance: Tensor, sight: Sight) -> Tensor:
        """(B, T, D) to (B, T, D); arguments as for ``RelativeAttention``."""
        x = self.attention_norm(x + self.dropout(self.attention(x, key, value, distance, sight)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class XLNet(nn.Module):
    """Ids to hidden states; ``head_weight`` turns hidden states into logits."""

    def __init__(self, settings: XLNetSettings) -> None:
        super().__init__()
        if settings.vocab_size is None:
            raise ValueError("vocab_size must be known before a model is built")
        self.settings = settings
        self.token_embedding = nn.Embedding(settings.vocab_size, settings.width)
        self.mask_embedding = nn.Parameter(torch.zeros(settings.width))
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.head_bias = nn.Parameter(torch.zeros(settings.vocab_size))
        self._known_distances: tuple[object, list[Tensor]] | None = None
        self.initialise()

    def initialise(self) -> None:
        """Draw weights as N(0, 0.02) at the published width of 768, wider for narrower models; biases zero."""
        deviation = 0.02 * (768 / self.settings.width) ** 0.5
        nn.init.normal_(self.mask_embedding, std=deviation)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=deviation)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
            if isinstance(module, RelativeAttention) and module.segment_embedding is not None:
                nn.init.normal_(module.segment_embedding, std=deviation)

    @property
    def head_weight(self) -> Tensor:
        """(V, D + 1): the token embedding, and the head's bias as the last column."""
        return torch.cat([self.token_embedding.weight, self.head_bias[:, None]], dim=1)

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache for ``batch`` rows."""
        s = self.settings
        like = self.token_embedding.weight.detach()
        return KeyValueCache.empty(s.layers, batch, s.heads, s.width // s.heads, like)

    # ------------------------------------------------------------ from left to right

    def forward(
        self,
        ids: Tensor,
        *,
        positions: Tensor | None = None,
        documents: Tensor | None = None,
        cache: KeyValueCache | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Return (B, T, D + 1): for each of (B, T) ids, the query stream of the place behind it.

        Arguments as in ``plan_reading``; ``positions`` may be given, but distances within a document are what they are.
        """
        reading = plan_reading(ids, positions=positions, documents=documents, cache=cache, lengths=lengths)
        highest, content_sight, query_sight = _sights(reading, ids)
        query = self.mask_embedding.expand(*ids.shape, -1)
        distances = self._distances_behind(highest)
        if content_sight.starts is None:  # places in sequence: what the content's column is, is the query's next
            pairs = [(each[:, 1:], each[:, :-1]) for each in distances]
        else:
            pairs = [(each, each) for each in distances]
        return self._streams(ids, query, pairs, (content_sight, query_sight), reading)

    def last_hidden(self, ids: Tensor, *, cache: KeyValueCache, lengths: Tensor | None = None) -> Tensor:
        """Return (B, D + 1): the query stream behind the last real id of each row, and none of the others.

        Arguments as for ``forward``, which computes a query for every id: of a prompt, only this one is asked for.
        """
        if ids.shape[1] == 1:
            return self(ids, cache=cache, lengths=lengths)[:, 0]
        reading = plan_reading(ids, cache=cache, lengths=lengths)
        assert reading.slots is not None
        last = ids.new_full((len(ids), 1), ids.shape[1] - 1) if lengths is None else lengths[:, None] - 1
        slot = reading.slots.gather(1, last)
        keys = ids.shape[1] if reading.causal else int(reading.slots.max()) + 1
        highest, content_sight, _ = _sights(reading, ids)
        query_sight = Sight(cache_mask(slot, keys), highest - 1 - slot)
        first = 1 if content_sight.starts is None else 0
        pairs = [(each[:, first:], each) for each in self._distances_behind(highest)]
        query = self.mask_embedding.expand(len(ids), 1, -1)
        return self._streams(ids, query, pairs, (content_sight, query_sight), reading)[:, 0]

    def _distances_behind(self, highest: int) -> list[Tensor]:
        """Return for each block (H, highest + 1, E): the distances from ``highest`` down to 0.

        They depend on weights alone, so without gradients they are kept, as far as the context reaches: a product of
        the whole context in every block would else be the most of generating a token.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._distances(highest, 0)
        weights = [block.attention.position.weight for block in self._blocks()]
        state = tuple((weight.data_ptr(), weight._version, weight.dtype) for weight in weights)
        if self._known_distances is None or self._known_distances[0] != state:
            self._known_distances = (state, self._distances(self.settings.context_length + 1, 0))
        known = self._known_distances[1]
        if highest >= known[0].shape[1]:
            return self._distances(highest, 0)
        return [each[:, each.shape[1] - 1 - highest :] for each in known]

    # ------------------------------------------------------------ in any order

    def predict(
        self,
        ids: Tensor,
        places: Tensor,
        content_mask: Tensor,
        query_mask: Tensor,
        *,
        segments: Tensor | None = None,
    ) -> Tensor:
        """Return (B, M, D + 1): the query stream at (B, M) places of (B, T) ids.

        Args:
            ids: (B, T).
            places: (B, M), from 0 to T; T is the place behind the text.
            content_mask: boolean, broadcastable to (B, 1, T, T), True where content t may look at content s.
            query_mask: boolean, broadcastable to (B, 1, M, T), True where query m may look at content s.
            segments: (B, T) segment of each id; places then lie below T. None: one segment.
        """
        length = ids.shape[1]
        places_of_content = torch.arange(length, device=ids.device)
        if self.settings.attention == "uni":
            content_mask = content_mask & (places_of_content <= places_of_content[:, None])
            query_mask = query_mask & (places_of_content <= places[:, None, :, None])
        differs = query_differs = None
        if segments is not None:
            differs = segments[:, :, None] != segments[:, None, :]
            query_differs = segments.gather(1, places)[:, :, None] != segments[:, None, :]
        sights = Sight(content_mask, None, differs), Sight(query_mask, length - places, query_differs)
        pairs = [(each, each) for each in self._distances(length, 1 - length)]
        return self._streams(ids, self.mask_embedding.expand(*places.shape, -1), pairs, sights)

    def content(self, ids: Tensor, *, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Return the (B, T, D) content stream of (B, T) ids, in which every place knows itself: for labelled tasks.

        ``mask``: boolean, broadcastable to (B, 1, T, T), True where place t may look at place s; None: everywhere.
        """
        length = ids.shape[1]
        if self.settings.attention == "uni":
            causal = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
            mask = causal if mask is None else mask & causal
        differs = None if segments is None else segments[:, :, None] != segments[:, None, :]
        x, sight = self.dropout(self.token_embedding(ids)), Sight(mask, None, differs)
        for block, distance in zip(self._blocks(), self._distances(length, 1 - length), strict=True):
            x = block(x, *block.attention.keys_values(x), distance, sight)
        return x

    # ------------------------------------------------------------ both

    def _streams(
        self,
        ids: Tensor,
        query: Tensor,
        distances: Sequence[tuple[Tensor, Tensor]],
        sights: tuple[Sight, Sight],
        reading: Reading | None = None,
    ) -> Tensor:
        """Run both streams through all blocks and return the query stream, a 1 behind each vector.

        ``distances`` and ``sights`` are those of the content and of the query.
        """
        content, query = self.dropout(self.token_embedding(ids)), self.dropout(query)
        for layer, (block, (near, far)) in enumerate(zip(self._blocks(), distances, strict=True)):
            key, value = block.attention.keys_values(content)
            if reading is not None:
                key, value = reading.remember(layer, key, value)
            query = block(query, key, value, far, sights[1])
            if layer + 1 < len(self.blocks):
                content = block(content, key, value, near, sights[0])
        return torch.cat([query, query.new_ones(*query.shape[:-1], 1)], dim=-1)

    def _distances(self, highest: int, lowest: int) -> list[Tensor]:
        """Return for each block what the distances from ``highest`` down to ``lowest`` are mapped to; (H, P, E)."""
        s = self.settings
        waves = distance_waves(highest, lowest, s.width, self.token_embedding.weight, s.clamp)
        return [block.attention.distances(waves) for block in self._blocks()]

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _sights(reading: Reading, ids: Tensor) -> tuple[int, Sight, Sight]:
    """Return the highest distance, and what content and queries see when a text is read from left to right.

    A query stands one place behind its id and sees exactly what the id's content sees.
    """
    length = ids.shape[1]
    mask = reading.mask
    if reading.causal:
        mask = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
    if reading.slots is None or reading.causal or mask is None:  # the rows stand side by side
        first = 0 if reading.slots is None or reading.causal else int(reading.slots[0, 0])
        return first + length + 1, Sight(mask), Sight(mask)
    highest = int(reading.slots.max()) + 1
    starts = highest - reading.slots
    return highest, Sight(mask, starts), Sight(mask, starts - 1)
