"""The weights of a mixture, fitted on held-out text by expectation–maximisation (``zhixing.theory.mixture``).

The text must be neither the members' training text (an n-gram would look perfect there) nor the text whose
figures are published: take the ``"fit"`` half of ``documents.split_fit_report``. Which dependence on the
context is worth having is not decreed but measured: each candidate is fitted on one part of the documents
and judged on the other, both ways round, and the best is fitted again on everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zhixing.errors import DataError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.windows import window_batches
from zhixing.language import tr
from zhixing.models.mixture import (
    Gate,
    MixtureModel,
    check_members,
    mix,
    ordered_member,
    running_advantage,
    score_members,
)
from zhixing.models.protocol import Ids, LanguageModel
from zhixing.progress import progress

Floats = NDArray[np.float64]
SPANS = (8, 32)
"""Numbers of preceding tokens that are tried for the running advantage."""
_KNOTS = 7
_STRENGTH = 20.0  # a cell of the table counts this many tokens at the static weights beside its own
_MOST_STEPS = 60
_MOST_TOKENS_TO_CHOOSE = 60_000
_WORTH_A_CHANGE = 5e-4  # nats per token: of candidates closer than this the simplest is taken
_TOLERANCE = 1e-6  # nats per token gained by one step of EM
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evidence:
    """What the members said about N held-out tokens.

    ``log_probs`` (M, N); ``order`` (N,) matched orders; ``advantage``: running advantages (N,) for each
    span; ``document`` (N,).
    """

    log_probs: Floats
    order: Ids
    advantage: dict[int, Floats]
    document: Ids

    def only(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Return the evidence of the chosen tokens (N,)."""
        gains = {span: values[chosen] for span, values in self.advantage.items()}
        return Evidence(self.log_probs[:, chosen], self.order[chosen], gains, self.document[chosen])


def fit_mixture(
    members: Sequence[LanguageModel],
    documents: Iterable[HeldOutDocument],
    weights: Literal["static", "context"] = "context",
    *,
    stride: float = 0.5,
    batch_tokens: int | None = None,
) -> MixtureModel:
    """Return the mixture of ``members`` whose weights make ``documents`` most probable.

    Args:
        members: two or more models of one tokenizer; differences in the last tokens are those of the first
            against the
            best of the others, so put the strongest neural model first.
        documents: held-out, and apart from the text that is reported on (``split_fit_report``).
        weights: ``"static"``: one weight per member; ``"context"``: what cross-validation finds best,
            static included.
        stride: of the windows, as in ``score_documents``.
        batch_tokens: padded ids in one batch, as in ``score_documents``.

    Raises:
        ConfigError: fewer than two members, or unequal vocabularies.
        DataError: no documents.
    """
    check_members(members)
    evidence = gather(members, documents, stride, batch_tokens)
    makers = _candidates(evidence) if weights == "context" else {"static": static_gate}
    sample = _sample(evidence)
    losses = {name: _cross_validated_loss(maker, sample) for name, maker in makers.items()}
    best = next(name for name in losses if losses[name] <= min(losses.values()) + _WORTH_A_CHANGE)
    gate = makers[best](evidence)
    fitted = {
        "weights": best,
        "tokens": evidence.log_probs.shape[1],
        "documents": len(np.unique(evidence.document)),
        "nats_per_token": losses,
        "members_nats_per_token": (-evidence.log_probs.mean(axis=1)).tolist(),
    }
    _log.info(
        tr(
            f"mixture: weights by {best}, {losses[best]:.4f} nats per token on the text it was fitted on",
            f"混合模型：权重依据 {best}，拟合文本上每词元 {losses[best]:.4f} 奈特",
        )
    )
    return MixtureModel(members, gate, fitted)


def gather(
    members: Sequence[LanguageModel],
    documents: Iterable[HeldOutDocument],
    stride: float = 0.5,
    batch_tokens: int | None = None,
) -> Evidence:
    """Score the documents with every member, in the windows in which the mixture will score.

    Raises:
        DataError: no documents.
    """
    # Any gate will do: only the mixture's context length and order are asked for.
    shape = MixtureModel(members, Gate(np.full((1, 1, len(members)), 1 / len(members)), np.zeros(1), 1))
    ordered = ordered_member(members)
    columns: list[tuple[NDArray[Any], ...]] = []
    with progress(tr("fitting the mixture", "拟合混合模型"), unit=tr("tokens", "词元")) as bar:
        for batch in window_batches(documents, shape, stride, batch_tokens):
            scores, order = score_members(members, batch.ids, batch.lengths, ordered)
            counted = batch.counted()
            number = np.broadcast_to(batch.document[:, None], counted.shape)
            gains = [running_advantage(scores, span)[counted] for span in SPANS]
            columns.append((*(s[counted] for s in scores), order[counted], *gains, number[counted]))
            bar.advance(int(counted.sum()))
    if not columns:
        raise DataError(
            tr(
                "there is no held-out text to fit the mixture on: give at least one document",
                "没有可用于拟合混合模型的留出文本：请至少提供一篇文档",
            )
        )
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)]
    count = len(members)
    gains_by_span = dict(zip(SPANS, joined[count + 1 : -1], strict=True))
    return Evidence(
        np.stack(joined[:count]), joined[count].astype(np.int64), gains_by_span, joined[-1].astype(np.int64)
    )


def static_gate(evidence: Evidence) -> Gate:
    """Fit one weight per member."""
    start = np.full((1, len(evidence.log_probs)), 1 / len(evidence.log_probs))
    none = np.zeros(evidence.log_probs.shape[1], np.int64)
    table = expectation_maximisation(evidence.log_probs, (none, none), none.astype(float), start, start[0], 0.0)
    return Gate(table[None], np.zeros(1), 1)


def context_gate(evidence: Evidence, use_order: bool, span: int | None) -> Gate:
    """Fit weights that depend on the matched order and/or on the running advantage over ``span`` tokens."""
    prior = static_gate(evidence).weights[0, 0]
    levels = int(evidence.order.max()) + 1 if use_order else 1
    knots = np.zeros(1)
    if span is not None:
        knots = np.unique(np.quantile(evidence.advantage[span], np.linspace(0.02, 0.98, _KNOTS)))
    empty = Gate(np.tile(prior, (levels, len(knots), 1)), knots, span or 1)
    advantage = evidence.advantage[span] if span is not None else np.zeros(len(evidence.order))
    cells, share = empty.cells(evidence.order, advantage)
    start = empty.weights.reshape(-1, len(prior))
    table = expectation_maximisation(evidence.log_probs, cells, share, start, prior, _STRENGTH)
    return Gate(table.reshape(empty.weights.shape), knots, empty.span)


def gate_loss(gate: Gate, evidence: Evidence) -> float:
    """Return the mixture's mean loss on the evidence, in nats per token."""
    advantage = evidence.advantage.get(gate.span, np.zeros(len(evidence.order)))
    weights = gate.weigh(evidence.order, advantage)
    return float(-mix(evidence.log_probs, weights.T).mean())


def expectation_maximisation(
    log_probs: Floats, cells: tuple[Ids, Ids], share: Floats, table: Floats, prior: Floats, strength: float
) -> Floats:
    """Iterate ``em_step`` to convergence, at most 60 times.

    Args:
        log_probs: (M, N) of the members.
        cells: two (N,) arrays: the rows of ``table`` between which each token's weights lie.
        share: (N,) of the second row; the first has the rest.
        table: (K, M) to start from.
        prior: (M,) towards which each row is drawn.
        strength: as by how many tokens.

    Returns:
        (K, M); every row a distribution.
    """
    scaled = np.exp(log_probs - np.maximum(log_probs.max(axis=0), -1e30))
    scaled[:, scaled.max(axis=0) == 0] = 1.0  # a token that no member thinks possible says nothing
    before = -np.inf
    for _ in range(_MOST_STEPS):
        table, likelihood = em_step(scaled, cells, share, table, prior, strength)
        if likelihood - before < _TOLERANCE:
            break
        before = likelihood
    return table


def em_step(
    probabilities: Floats,
    cells: tuple[Ids, Ids],
    share: Floats,
    table: Floats,
    prior: Floats,
    strength: float,
) -> tuple[Floats, float]:
    """Return the table after one step, and the mean log posterior before it (a constant apart).

    ``probabilities`` (M, N) may be scaled by any factor per token; it cancels in the responsibilities.
    """
    sides = [
        table.T.take(cell, axis=1) * probabilities * part for cell, part in zip(cells, (1 - share, share), strict=True)
    ]
    total = sides[0].sum(axis=0) + sides[1].sum(axis=0)  # (N,)
    counts = np.empty_like(table)
    for member in range(table.shape[1]):
        counts[:, member] = strength * prior[member]
        for cell, side in zip(cells, sides, strict=True):
            counts[:, member] += np.bincount(cell, side[member] / total, minlength=len(table))
    posterior = np.log(total).sum() + strength * (prior * np.log(np.maximum(table, 1e-300))).sum()
    sums = counts.sum(axis=1, keepdims=True)
    renewed = np.where(sums > 0, counts / np.maximum(sums, 1e-300), prior)
    return renewed, float(posterior / len(share))


def _candidates(evidence: Evidence) -> dict[str, Callable[[Evidence], Gate]]:
    """Return the ways to weigh that are tried, by name, the simplest first."""

    def by(use_order: bool, span: int | None) -> Callable[[Evidence], Gate]:
        return lambda some: context_gate(some, use_order, span)

    found: dict[str, Callable[[Evidence], Gate]] = {"static": static_gate}
    with_order = evidence.order.max() > 0
    if with_order:
        found["order"] = by(True, None)
    for span in SPANS:
        found[f"advantage-{span}"] = by(False, span)
        if with_order:
            found[f"order+advantage-{span}"] = by(True, span)
    return found


def _sample(evidence: Evidence) -> Evidence:
    """Return tokens enough to choose between candidates by, drawn evenly: a choice needs fewer than a fit."""
    step = -(-len(evidence.order) // _MOST_TOKENS_TO_CHOOSE)
    return evidence.only(np.arange(len(evidence.order)) % step == 0)


def _cross_validated_loss(maker: Callable[[Evidence], Gate], evidence: Evidence) -> float:
    """Return nats per token, each half of the documents judged by a gate fitted on the other half."""
    even = evidence.document % 2 == 0
    if even.all() or not even.any():  # a single document: halve its tokens
        even = np.arange(len(even)) < len(even) // 2
    if not even.any():
        return gate_loss(maker(evidence), evidence)
    halves = evidence.only(even), evidence.only(~even)
    losses = [gate_loss(maker(a), b) * len(b.order) for a, b in (halves, halves[::-1])]
    return float(sum(losses) / len(even))
