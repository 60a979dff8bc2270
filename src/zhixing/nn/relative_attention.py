"""Relative attention (Dai et al. 2019, Transformer-XL, section 3.3), for one stream or two (Yang et al. 2019, XLNet,
section 2.3).

A score has a content part, query on key, and a position part, query on what the distance between the two is mapped
to; each adds a learned bias to the query: ``(q + u) · k + (q + v) · r``. Where a token stands is never said, only how
far apart two tokens are.

The brick does not know streams: a content stream and a query stream are two calls with the same weights and the same
keys, from places and under masks of their own (``Sight``). Whoever may look at nothing gets the zero vector.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zhixing.nn.attention import join_heads, split_heads
from zhixing.nn.linear import PackedLinear


@dataclass(frozen=True)
class Sight:
    """From where one stream looks, and what it may see; the same for every layer.

    Attributes:
        mask: boolean, broadcastable to (B, 1, T, S), True where place t may look at key s; None: everywhere.
        starts: (B, T) the column of the distance to key 0, for each place; None: places follow one another, and
            the first column is the distance from one behind the last place to key 0.
        differs: boolean, broadcastable to (B, T, S), True where t and s belong to different segments; None: nothing
            is said of segments.
    """

    mask: Tensor | None = None
    starts: Tensor | None = None
    differs: Tensor | None = None


def distance_waves(highest: int, lowest: int, width: int, like: Tensor, clamp: int | None = None) -> Tensor:
    """Return sines, then cosines, of the distances from ``highest`` down to ``lowest``: (highest - lowest + 1, D).

    Frequency ``i`` is ``10000^(-2i/D)``. Distances beyond ``clamp`` count as ``clamp``. Device and number type are
    those of ``like``; angles are never coarser than float32.
    """
    exact = like.dtype if like.dtype in (torch.float32, torch.float64) else torch.float32
    distances = torch.arange(highest, lowest - 1, -1, device=like.device).to(exact)
    if clamp is not None:
        distances = distances.clamp(-clamp, clamp)
    evens = torch.arange(0, width, 2, device=like.device).to(exact)
    angles = distances[:, None] * (1 / 10000.0 ** (evens / width))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width].to(like.dtype)


def relative_shift(scores: Tensor, keys: int) -> Tensor:
    """Turn columns that stand for distances into columns that stand for keys; (..., T, P) -> (..., T, S).

    Column ``c`` of every row is the distance ``p + T - c``, where ``p`` is the place of row 0 and row ``t`` stands at
    ``p + t``; so key ``s`` of row ``t`` is in column ``T - t + s``: each row is read one further to the left than the
    one above. With one column fewer per row that is a view (Dai et al. 2019, appendix B). P is at least S + 1; keys
    whose distance has no column get another row's score and must be masked.
    """
    rows, columns = scores.shape[-2:]
    return scores.flatten(-2)[..., rows:].view(*scores.shape[:-1], columns - 1)[..., :keys]


def pick_distances(scores: Tensor, starts: Tensor, keys: int) -> Tensor:
    """As ``relative_shift`` for rows that stand anywhere: key 0 of row t is in column ``starts[b, t]``.

    (B, H, T, P), (B, T) -> (B, H, T, S). Keys beyond the last column get its score and must be masked.
    """
    columns = starts[:, :, None] + torch.arange(keys, device=starts.device)
    columns = columns.clamp(max=scores.shape[-1] - 1)[:, None].expand(-1, scores.shape[1], -1, -1)
    return scores.gather(-1, columns)


def attend_relative(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    distance: Tensor,
    content_bias: Tensor,
    position_bias: Tensor,
    sight: Sight,
    segment: Tensor | None = None,
) -> Tensor:
    """Return ``softmax(((q + u) kᵀ + shift((q + v) rᵀ) + segment) / sqrt(E)) v``; zero where nothing may be seen.

    Args:
        query: (B, H, T, E).
        key: (B, H, S, E), and value.
        distance: (H, P, E), what each distance is mapped to, in falling order.
        content_bias: (H, 1, E), and position_bias: u and v.
        sight: where queries stand, and what they see.
        segment: (B, H, T, S), added to the scores before they are scaled; None: 0.

    Returns:
        (B, H, T, E).
    """
    batch, heads, length, width = query.shape
    keys = key.shape[2]
    flat = (query + position_bias).transpose(0, 1).reshape(heads, batch * length, width)
    by_distance = (flat @ distance.transpose(1, 2)).view(heads, batch, length, -1).transpose(0, 1)  # (B, H, T, P)
    if sight.starts is None:
        scores = relative_shift(by_distance, keys)
    else:
        scores = pick_distances(by_distance, sight.starts, keys)
    scores = scores + (query + content_bias) @ key.transpose(2, 3)
    if segment is not None:
        scores = scores + segment
    scores = scores * width**-0.5
    if sight.mask is None:
        return torch.softmax(scores, dim=-1) @ value
    hidden = scores.masked_fill(~sight.mask, torch.finfo(scores.dtype).min)
    # A row that sees nothing has an even softmax over what it must not see.
    return (torch.softmax(hidden, dim=-1) @ value) * sight.mask.any(dim=-1, keepdim=True)


class RelativeAttention(nn.Module):
    """Multi-head relative attention without biases in its maps; keys and values come from the content stream.

    ``segments``: with the weights that tell "same segment" from "another" (Yang et al. 2019, section 2.5).
    """

    def __init__(self, width: int, heads: int, segments: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = PackedLinear(width, (width, width), bias=False)
        self.position = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.content_bias = nn.Parameter(torch.zeros(width))
        self.position_bias = nn.Parameter(torch.zeros(width))
        self.segment_bias = nn.Parameter(torch.zeros(width)) if segments else None
        self.segment_embedding = nn.Parameter(torch.zeros(2, width)) if segments else None

    def keys_values(self, content: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, S, E) of the content stream (B, S, D)."""
        key, value = self.key_value(content).chunk(2, dim=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def distances(self, waves: Tensor) -> Tensor:
        """Map the waves of P distances (P, D) to what queries are compared with: (H, P, E)."""
        return split_heads(self.position(waves)[None], self.heads)[0]

    def forward(self, x: Tensor, key: Tensor, value: Tensor, distance: Tensor, sight: Sight) -> Tensor:
        """Let a stream (B, T, D) look at keys and values (B, H, S, E); returns (B, T, D)."""
        query = split_heads(self.query(x), self.heads)
        segment = None if sight.differs is None else self._segment_scores(query, sight.differs)
        u, v = (each.view(self.heads, 1, -1) for each in (self.content_bias, self.position_bias))
        mixed = attend_relative(query, key, value, distance, u, v, sight, segment)
        return self.output(join_heads(mixed))

    def _segment_scores(self, query: Tensor, differs: Tensor) -> Tensor:
        """Return ``(q + b) · s``, s being the vector of "same" or of "another"; (B, H, T, S)."""
        if self.segment_bias is None or self.segment_embedding is None:
            raise ValueError("this model has no segment weights: it reads texts of one segment")
        kinds = self.segment_embedding.view(2, self.heads, 1, -1)
        same, other = ((query + self.segment_bias.view(self.heads, 1, -1)) * kind for kind in kinds)
        return torch.where(differs[:, None], other.sum(-1, keepdim=True), same.sum(-1, keepdim=True))


def two_stream_masks(
    rank: Tensor,
    query_rank: Tensor,
    documents: Tensor | None = None,
    query_documents: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return who may look at whom when every place becomes visible at its rank: content and query mask.

    Content sees what came before it or with it (itself included), a query only what came before. Places of one rank
    see each other's content: so those that are given, not predicted, share rank 0.

    Args:
        rank: (B, T) of the content.
        query_rank: (B, M) of the places asked for.
        documents: (B, T) and query_documents (B, M): nobody sees another document; None: one document.

    Returns:
        Boolean (B, 1, T, T) and (B, 1, M, T), True where looking is allowed.
    """
    content, query = rank[:, None, :] <= rank[:, :, None], rank[:, None, :] < query_rank[:, :, None]
    if documents is not None and query_documents is not None:
        content = content & (documents[:, None, :] == documents[:, :, None])
        query = query & (documents[:, None, :] == query_documents[:, :, None])
    return content.unsqueeze(1), query.unsqueeze(1)
