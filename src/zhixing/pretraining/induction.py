"""Starting a decoder with heads that copy: what followed the last time that these tokens stood here?

Text repeats itself, and programs most of all. Two layers of attention can make use of it (Elhage et al. 2021,
"Induction heads"; Olsson et al. 2022): a head of the first block writes down which token stood before, a head of the
second looks for the positions before which the present token stood, and predicts the tokens found there. Training
discovers this only after a great deal of text. Here it is built from embeddings that were fitted to counts of pairs,
and training starts from there, as Trockman & Kolter (2023) start attention from the patterns it is known to end in.

The heads that look 1, 2, 3 tokens back exist in a new ``Llama``. What they see is written, as whitened projections of
the token's embedding, into features of the residual stream which embeddings leave free; three heads of the second
block compare one, two and three such projections with those of the present tokens. Statement: ``theory/warm_start.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from zhixing.models.llama import Block, Llama, LlamaSettings

WRITING, COPYING, REST, RIDGE = 2.0, 2.0, 0.1, 0.01
"""Gain of what is written down; norm of what is copied; scale of what a head's drawn weights keep; ridge of the
whitening, as a share of the mean eigenvalue."""
SLOWEST_TURN = 0.7
"""Radians that a feature may turn over the whole context and still count as blind to distance."""
FEWEST_DIRECTIONS = 4


@dataclass(frozen=True)
class CopyingPlan:
    """Where the copying heads keep things.

    Attributes:
        slow: features of a head which rotary positions hardly turn within the context.
        sizes: of head ``h``: how many directions of every one of its ``h + 1`` tokens it compares.
        starts: first feature of the residual stream that holds what stood 1, 2, 3 tokens back.
    """

    slow: tuple[int, ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]


def plan_copying(settings: LlamaSettings) -> CopyingPlan | None:
    """Return the plan for a shape; None where it has no room for one (or no heads that look back)."""
    heads = min(3, settings.heads - 1)
    suits = settings.layers >= 2 and not settings.tied and settings.query_key_norm
    suits = suits and settings.attention_window is None and settings.rotary_scaling.kind == "none"
    if not suits or heads < 1 or settings.groups != settings.heads:
        return None
    half = settings.per_head // 2
    first = math.ceil(half * math.log(settings.context_length / SLOWEST_TURN) / math.log(settings.rotary_theta))
    slow = [*range(first, half), *range(half + first, 2 * half)]
    widest = min(len(slow), settings.width // 6)
    if widest < FEWEST_DIRECTIONS:
        return None
    sizes = tuple(widest // (head + 1) for head in range(heads))
    ends = [settings.width - sum(sizes[:head]) for head in range(heads)]
    starts = tuple(end - size for end, size in zip(ends, sizes, strict=True))
    if settings.per_head >= min(starts):  # a head reads as many directions as it is wide
        return None
    return CopyingPlan(tuple(slow), sizes, starts)


@torch.no_grad()
def leave_room(model: Llama, plan: CopyingPlan) -> None:
    """Empty the features of the embeddings that the plan needs; fitting to counts leaves them empty."""
    model.token_embedding.weight[:, min(plan.starts) :] = 0


@torch.no_grad()
def build_copying_heads(model: Llama, plan: CopyingPlan, share: Tensor) -> None:
    """Set the first two blocks' heads so that they copy, given each id's ``share`` (V,) of the text."""
    first, second = model.blocks[0], model.blocks[1]
    assert isinstance(first, Block) and isinstance(second, Block)
    settings = model.settings
    hidden = functional.rms_norm(model.token_embedding.weight, (settings.width,), eps=settings.norm_epsilon)
    contents = slice(1, min(plan.starts))  # feature 0 is common to all tokens
    weights = share.sqrt() / share.sqrt().sum()  # between frequent and rare: copying names matters most
    mean, whitener = whitening(hidden[:, contents], weights, RIDGE)

    def reading(directions: int) -> Tensor:
        """(directions, D): a random whitened projection; the common feature takes the mean away."""
        drawn = torch.randn(len(whitener), directions, device=hidden.device)
        rows = hidden.new_zeros(directions, settings.width)
        rows[:, contents] = torch.linalg.qr(drawn)[0].T @ whitener
        rows[:, 0] = -(rows[:, contents] @ mean) / hidden[:, 0].mean()
        return rows

    names = reading(plan.sizes[0])
    _write_down(first, plan, names)
    for head in range(len(plan.sizes)):
        _compare(second, plan, head, names)
        _copy(second, head, reading(settings.per_head), hidden, model.head_weight, weights)


def whitening(x: Tensor, share: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Return mean (D,) and inverse square root (D, D) of the covariance of rows ``x`` (N, D), weighted by ``share``."""
    x, share = _exact(x), _exact(share)
    mean = share @ x
    centred = x - mean
    values, vectors = torch.linalg.eigh(centred.T @ (share[:, None] * centred))
    scales = (values.clamp(min=0) + ridge * values.mean()).rsqrt()
    return mean, (vectors * scales) @ vectors.T


def copy_map(read: Tensor, wanted: Tensor, share: Tensor, ridge: float) -> Tensor:
    """Return M (E, D), the weighted ridge regression of rows ``wanted`` (N, D) on rows ``read`` (N, E)."""
    read, wanted, share = _exact(read), _exact(wanted), _exact(share)
    weighted = share[:, None] * read
    return torch.linalg.solve(weighted.T @ read + ridge * torch.eye(read.shape[1]).to(read), weighted.T @ wanted)


def _exact(x: Tensor) -> Tensor:
    """Half precision has no linear algebra."""
    return x if x.dtype == torch.float64 else x.float()


def _parts(block: Block, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return one head's query, key, value rows (E, D) and output columns (D, E), as views."""
    attention = block.attention
    width, heads = attention.head_width, attention.sections[0]
    packed = attention.query_key_value.weight
    rows = [slice((part * heads + head) * width, (part * heads + head + 1) * width) for part in range(3)]
    query, key, value = (packed[r] for r in rows)
    return query, key, value, attention.output.weight[:, rows[0]]


def _write_down(block: Block, plan: CopyingPlan, names: Tensor) -> None:
    """Let the head that looks ``h + 1`` back write the name of what it sees into the features kept for it."""
    for head, (size, start) in enumerate(zip(plan.sizes, plan.starts, strict=True)):
        _, _, value, output = _parts(block, head)
        value[:size] = names[:size]
        output[start : start + size, :size] = WRITING * torch.eye(size).to(output)


def _compare(block: Block, plan: CopyingPlan, head: int, names: Tensor) -> None:
    """Let a head score a position by how well what stood before it matches the present ``head + 1`` tokens."""
    query, key, _, _ = _parts(block, head)
    query *= REST
    key *= REST
    size = plan.sizes[head]
    for back in range(head + 1):
        features = torch.tensor(plan.slow[back * size : (back + 1) * size])
        query[features] = 0
        key[features] = 0
        key[features, plan.starts[back] + torch.arange(size)] = 1 / WRITING
        if back == 0:
            query[features] = names[:size]
        else:
            query[features, plan.starts[back - 1] + torch.arange(size)] = 1 / WRITING


def _copy(block: Block, head: int, reading: Tensor, hidden: Tensor, targets: Tensor, share: Tensor) -> None:
    """Let a head turn the token it attends to into a push towards that token's row of the output head."""
    _, _, value, output = _parts(block, head)
    value.copy_(reading)
    wanted = functional.normalize(targets - share @ targets, dim=1)
    read = hidden @ reading.T
    mapped = copy_map(read, wanted, share, RIDGE)
    size = (read @ mapped).norm(dim=1).mean().clamp(min=1e-6)
    output.copy_(COPYING * mapped.T / size)
