"""Starting a decoder as a bigram model: embeddings and head fitted to counts of pairs before the network is trained.

On a budget of minutes a third of the steps would go into learning which token follows which. Counting knows that at
once, and fitting two matrices to the counts costs seconds, for no text is read. See ``theory/warm_start.py``.

Only text that the run will read, or at least is charged for, is counted: ``TrainResult.facts["windows_seen"]`` is never
less than what was counted here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zhixing.config import Settings, setting
from zhixing.language import tr
from zhixing.models.llama import Llama
from zhixing.pretraining.induction import build_copying_heads, leave_room, plan_copying
from zhixing.progress import progress

_log = logging.getLogger(__name__)
DISCOUNT = 0.75
MOST_CONTEXTS = 2048
"""Rows of the table: the most frequent contexts. A larger table would cost more than it teaches."""


class WarmStartSettings(Settings):
    """Fitting embeddings and head to pair counts first, and heads that copy (llama family, untied)."""

    steps: int = setting(0, "steps of the fit; 0: no warm start", "拟合步数；0 表示不作预热初始化", unit="steps", ge=0)
    share: float = setting(
        0.5,
        "counted text, as a share of what the budget is estimated to reach",
        "计数所用文本，占预算估计可读文本的比例",
        gt=0,
        le=1,
    )
    copying_heads: bool = setting(
        False,
        "start with heads that find what followed the same tokens before (needs two layers)",
        "以会查找“相同词元此前之后是什么”的注意力头起步（需两层）",
    )
    learning_rate: float = setting(0.03, "peak rate of the fit (Adam)", "拟合的峰值学习率（Adam）", gt=0)


def warm_start(model: Llama, counts: Tensor, settings: WarmStartSettings, seconds: float | None = None) -> None:
    """Do what the settings ask for, in at most ``seconds`` for the fit."""
    plan = plan_copying(model.settings) if settings.copying_heads else None
    if plan is not None:
        leave_room(model, plan)
    if settings.steps:
        start_as_bigram(model, counts, settings, seconds)
    if plan is not None:
        share = counts.sum(1) + 1
        build_copying_heads(model, plan, (share / share.sum()).to(model.head_weight))


def count_pairs(windows: Iterable[NDArray[np.int64]], vocab_size: int) -> Tensor:
    """Return the (V, V) counts of neighbouring ids within windows."""
    counts = torch.zeros(vocab_size * vocab_size)
    for ids in windows:
        pairs = torch.from_numpy(ids[:-1] * vocab_size + ids[1:])
        counts.index_add_(0, pairs, torch.ones(len(pairs)))
    return counts.view(vocab_size, vocab_size)


def bigram_table(counts: Tensor, discount: float = DISCOUNT) -> Tensor:
    """Return the (V, V) interpolated Kneser–Ney distribution of the counts; a row without counts: the lower order's."""
    seen = counts > 0
    continuation = (seen.sum(0) + 1).to(counts) / (seen.sum() + len(counts))
    total = counts.sum(1, keepdim=True)
    left = torch.where(total > 0, discount * seen.sum(1, keepdim=True) / total.clamp(min=1), 1.0)
    return (counts - discount).clamp_(min=0).div_(total.clamp(min=1)).addcmul_(left, continuation)


def fit_loss(embedding: Tensor, head: Tensor, table: Tensor, share: Tensor, epsilon: float) -> Tensor:
    """Return the cross-entropy of the table's rows under ``softmax(head · norm(embedding))``, a scalar in nats."""
    hidden = functional.rms_norm(embedding, (embedding.shape[1],), eps=epsilon)
    log_softmax = functional.log_softmax(functional.linear(hidden, head), dim=-1)
    return -(share * (table * log_softmax).sum(dim=1)).sum()


def start_as_bigram(model: Llama, counts: Tensor, settings: WarmStartSettings, seconds: float | None = None) -> float:
    """Fit the model's embedding and head to ``counts``; return the loss reached, in nats per token.

    ``seconds``: the most it may take, judged by its first step; None: no limit.
    """
    total = counts.sum(1)
    contexts = total.topk(min(MOST_CONTEXTS, len(total))).indices
    table = bigram_table(counts)[contexts].to(model.head_weight.device)
    share = (total[contexts] + 1).to(table.device)
    share /= share.sum()
    embedding = model.token_embedding.weight.detach()[contexts].requires_grad_()
    head = model.head_weight
    adam = torch.optim.Adam([embedding, head], lr=settings.learning_rate, betas=(0.9, 0.95), eps=1e-10, fused=True)
    loss = torch.tensor(0.0)
    steps, begin = settings.steps, time.perf_counter()
    with progress(tr("warm start", "预热初始化"), total=steps, unit=tr("steps", "步")) as bar:
        for step in range(settings.steps):
            if step == 1 and seconds is not None:
                steps = min(steps, round(seconds / (time.perf_counter() - begin)))
            if step >= steps:
                break
            adam.param_groups[0]["lr"] = settings.learning_rate * min(1.0, 2 * (1 - step / steps))
            loss = fit_loss(embedding, head, table, share, model.settings.norm_epsilon)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            adam.zero_grad(set_to_none=True)
            bar.advance()
    with torch.no_grad():
        model.token_embedding.weight[contexts] = embedding
    reached = float(loss.detach())
    _log.info(
        tr(
            f"warm start: {reached:.3f} nats per token from pair counts alone",
            f"预热初始化：仅凭词对计数即达每词元 {reached:.3f} 奈特",
        )
    )
    return reached
