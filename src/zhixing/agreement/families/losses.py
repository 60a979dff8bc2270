"""Losses against ``zhixing.nn.losses``, and against torch's where production takes them from there."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import contrastive_losses as contrastive_practice
from zhixing.nn import losses as practice
from zhixing.nn import preference_losses as preference_practice
from zhixing.theory import contrastive_losses as contrastive
from zhixing.theory import losses as theory
from zhixing.theory import preference_losses as preference

ROWS_OF_TEXT, LENGTH, CLASSES, WIDTH = 2, 6, 11, 8
TOLERANCE = 4.0
REASON = "a logarithm of a sum of 11 exponentials, then a mean over the tokens"


def _ids(rng: np.random.Generator) -> Any:
    return rng.integers(CLASSES, size=(ROWS_OF_TEXT, LENGTH))


def _counted(rng: np.random.Generator) -> Any:
    counted = rng.random((ROWS_OF_TEXT, LENGTH)) < 0.7
    counted[:, -1] = True
    return counted


def _targets(rng: np.random.Generator) -> Any:
    return rng.integers(CLASSES, size=12)


def _causal(logits: Any, ids: Any, counted: Any) -> Any:
    weights = counted[:, 1:].flatten().to(logits.dtype)
    total = practice.cross_entropy_sum(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), weights)
    return total / weights.sum()


def _chunked(hidden: Any, weight: Any, targets: Any, weights: Any) -> Any:
    """Five rows at a time: the twelve rows fall into three chunks, the last one short."""
    return practice.linear_cross_entropy_sum(hidden, weight, targets, weights, rows=5)


def _chunked_theory(hidden: Any, weight: Any, targets: Any, weights: Any) -> Any:
    parts = [
        w * theory.cross_entropy((h @ weight.T)[None], targets[i : i + 1])
        for i, (h, w) in enumerate(zip(hidden, weights, strict=True))
    ]
    return np.sum(parts)


def _chunked_derivative(hidden: Any, weight: Any, targets: Any, weights: Any, upstream: Any) -> dict[str, Any]:
    mean = theory.cross_entropy_gradient(hidden @ weight.T, targets)  # of the mean; the sum's is 12 times that
    error = upstream * len(targets) * mean * weights[:, None]
    return {"hidden": error @ weight, "weight": error.T @ hidden}


def _order(rng: np.random.Generator) -> Any:
    return np.stack([rng.permutation(LENGTH) for _ in range(ROWS_OF_TEXT)])


def _masked(logits: Any, ids: Any, masked: Any) -> Any:
    return practice.masked_lm_sum(logits, ids, masked) / masked.sum()


def _permutation(logits: Any, ids: Any, order: Any) -> Any:
    return practice.permutation_lm_sum(logits, ids, order, predicted=2) / (2 * ROWS_OF_TEXT)


def _seen(order: Any) -> Any:
    return [practice.factorisation_mask(order, content=content)[:, 0] for content in (False, True)]


def _info_nce_derivative(query: Any, key: Any, upstream: Any) -> dict[str, Any]:
    of_query, of_key = contrastive.info_nce_gradient(query, key, 0.2)
    return {"query": upstream * of_query, "key": upstream * of_key}


def _pairs(rng: np.random.Generator) -> Any:
    """Keys near their queries, most of them nearest."""
    query = rng.normal(size=(8, WIDTH))
    return {"query": query, "key": query + rng.normal(size=(8, WIDTH))}


def _triplet_derivative(anchor: Any, positive: Any, negative: Any, upstream: Any) -> dict[str, Any]:
    parts = contrastive.triplet_loss_gradient(anchor, positive, negative, 1.0)
    return {name: upstream * part for name, part in zip(("anchor", "positive", "negative"), parts, strict=True)}


def _dpo_derivative(chosen: Any, rejected: Any, ref_chosen: Any, ref_rejected: Any, upstream: Any) -> dict[str, Any]:
    better, worse = preference.dpo_loss_gradient(chosen, rejected, ref_chosen, ref_rejected, 0.3)
    # The margin is a difference of differences: the frozen reference has the opposite slopes.
    return {
        "chosen": upstream * better,
        "rejected": upstream * worse,
        "ref_chosen": -upstream * better,
        "ref_rejected": -upstream * worse,
    }


def _answers(rng: np.random.Generator) -> dict[str, Any]:
    """Four answers of up to six tokens; the best one's first token has moved beyond the clip, whatever was drawn."""
    old = -rng.exponential(size=(4, LENGTH))
    log_probs = old + 0.4 * rng.normal(size=old.shape)
    log_probs[0, 0] = old[0, 0] + 0.5
    return {
        "log_probs": log_probs,
        "old": old,
        "reference": old + 0.4 * rng.normal(size=old.shape),
        "rewards": -np.sort(-rng.normal(size=(1, 4))),
        "counted": np.arange(LENGTH) < np.array([[6], [3], [5], [1]]),
    }


def _grpo(log_probs: Any, old: Any, reference: Any, rewards: Any, counted: Any) -> Any:
    advantages = preference_practice.group_advantages(rewards)[0]
    loss = preference_practice.grpo_sum(log_probs, old, reference, advantages, counted, clip=0.2, beta=0.1)
    return loss / len(log_probs)


def _grpo_theory(log_probs: Any, old: Any, reference: Any, rewards: Any, counted: Any) -> Any:
    advantages = preference.group_advantages(rewards)[0]
    return preference.grpo_loss(log_probs, old, reference, advantages, counted, 0.2, 0.1)


def _grpo_derivative(
    log_probs: Any, old: Any, reference: Any, rewards: Any, counted: Any, upstream: Any
) -> dict[str, Any]:
    advantages = preference.group_advantages(rewards)[0]
    slope = preference.grpo_loss_gradient(log_probs, old, reference, advantages, counted, 0.2, 0.1)
    return {"log_probs": upstream * slope}


def _classes(name: str, states: tuple[Any, Any], practice_function: Any, second: Any, **settings: float) -> Row:
    function, gradient = states
    return Row(
        name=f"losses.{name}",
        family="losses",
        states=states,
        theory=lambda logits, targets: function(logits, targets, **settings),
        practice=practice_function,
        inputs=draw(logits=normal(12, CLASSES, scale=2.0), targets=second),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
        derivative=lambda logits, targets, upstream: {"logits": upstream * gradient(logits, targets, **settings)},
    )


ROWS: tuple[Row, ...] = (
    Row(
        name="losses.causal_lm",
        family="losses",
        states=(theory.causal_lm_loss, theory.causal_lm_loss_gradient),
        theory=theory.causal_lm_loss,
        practice=_causal,
        inputs=draw(logits=normal(ROWS_OF_TEXT, LENGTH, CLASSES, scale=2.0), ids=_ids, counted=_counted),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
        derivative=lambda logits, ids, counted, upstream: {
            "logits": upstream * theory.causal_lm_loss_gradient(logits, ids, counted)
        },
    ),
    Row(
        name="losses.linear_cross_entropy",
        family="losses",
        states=(theory.cross_entropy, theory.cross_entropy_gradient),
        theory=_chunked_theory,
        practice=_chunked,
        inputs=draw(
            hidden=normal(12, WIDTH),
            weight=normal(CLASSES, WIDTH),
            targets=_targets,
            weights=np.array([1.0, 0.0, 1.0, 1.0, 0.5, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 2.0]),
        ),
        tolerance=8.0,
        reason="logits are sums of 8 products; the weight's gradient is a sum over 12 rows in three parts",
        gradient=True,
        derivative=_chunked_derivative,
        coarsest="float32",
    ),
    _classes(
        "cross_entropy",
        (theory.cross_entropy, theory.cross_entropy_gradient),
        lambda logits, targets: practice.cross_entropy_sum(logits, targets) / len(targets),
        _targets,
    ),
    _classes(
        "label_smoothed_cross_entropy",
        (theory.label_smoothed_cross_entropy, theory.label_smoothed_cross_entropy_gradient),
        lambda logits, targets: functional.cross_entropy(logits, targets, label_smoothing=0.1),
        _targets,
        smoothing=0.1,
    ),
    Row(
        name="losses.one_hot",
        family="losses",
        states=(theory.one_hot,),
        theory=lambda targets: theory.one_hot(targets, CLASSES),
        practice=lambda targets: functional.one_hot(targets, CLASSES),
        inputs=draw(targets=_targets),
        tolerance=0.0,
        reason="zeros and ones",
    ),
    Row(
        name="losses.binary_cross_entropy",
        family="losses",
        states=(theory.binary_cross_entropy, theory.binary_cross_entropy_gradient),
        theory=theory.binary_cross_entropy,
        practice=lambda logits, targets: functional.binary_cross_entropy_with_logits(logits, targets),
        inputs=draw(logits=normal(20, scale=3.0), targets=lambda rng: rng.integers(2, size=20).astype(np.float64)),
        tolerance=TOLERANCE,
        reason="a logarithm of a sum of two exponentials, then a mean over 20",
        gradient=True,
        derivative=lambda logits, targets, upstream: {
            "logits": upstream * theory.binary_cross_entropy_gradient(logits, targets)
        },
    ),
    Row(
        name="losses.squared_error",
        family="losses",
        states=(theory.squared_error, theory.squared_error_gradient),
        theory=theory.squared_error,
        practice=lambda prediction, target: functional.mse_loss(prediction, target),
        inputs=draw(prediction=normal(20), target=normal(20)),
        tolerance=TOLERANCE,
        reason="a mean of 20 squares",
        gradient=True,
        derivative=lambda prediction, target, upstream: {
            "prediction": upstream * theory.squared_error_gradient(prediction, target)
        },
    ),
    Row(
        name="losses.masked_lm",
        family="losses",
        states=(theory.masked_lm_loss, theory.masked_lm_loss_gradient),
        theory=theory.masked_lm_loss,
        practice=_masked,
        inputs=draw(logits=normal(ROWS_OF_TEXT, LENGTH, CLASSES, scale=2.0), ids=_ids, masked=_counted),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
        derivative=lambda logits, ids, masked, upstream: {
            "logits": upstream * theory.masked_lm_loss_gradient(logits, ids, masked)
        },
    ),
    Row(
        name="losses.permutation_lm",
        family="losses",
        states=(theory.permutation_lm_loss, theory.permutation_lm_loss_gradient),
        theory=lambda logits, ids, order: theory.permutation_lm_loss(logits, ids, order, predicted=2),
        practice=_permutation,
        inputs=draw(logits=normal(ROWS_OF_TEXT, LENGTH, CLASSES, scale=2.0), ids=_ids, order=_order),
        tolerance=TOLERANCE,
        reason=REASON,
        gradient=True,
        derivative=lambda logits, ids, order, upstream: {
            "logits": upstream * theory.permutation_lm_loss_gradient(logits, ids, order, predicted=2)
        },
    ),
    Row(
        name="losses.factorisation_mask",
        family="losses",
        states=(theory.factorisation_mask, theory.factorisation_rank),
        theory=lambda order: [theory.factorisation_mask(order, content) for content in (False, True)],
        practice=_seen,
        inputs=draw(order=_order),
        tolerance=0.0,
        reason="yes or no",
    ),
    Row(
        name="losses.info_nce",
        family="losses",
        states=(
            contrastive.info_nce,
            contrastive.info_nce_gradient,
            contrastive.similarities,
            contrastive.unit,
            contrastive.unit_gradient,
        ),
        theory=lambda query, key: contrastive.info_nce(query, key, 0.2),
        practice=lambda query, key: contrastive_practice.info_nce_sum(query, key, 0.2) / len(query),
        inputs=draw(query=normal(6, WIDTH), key=normal(6, WIDTH)),
        tolerance=32.0,
        reason="a cosine is a sum of 8 products, and the temperature makes its rounding five times larger",
        gradient=True,
        derivative=_info_nce_derivative,
    ),
    Row(
        name="losses.triplet",
        family="losses",
        states=(contrastive.triplet_loss, contrastive.triplet_loss_gradient),
        theory=lambda anchor, positive, negative: contrastive.triplet_loss(anchor, positive, negative, 1.0),
        practice=lambda anchor, positive, negative: (
            contrastive_practice.triplet_sum(anchor, positive, negative, 1.0) / len(anchor)
        ),
        inputs=draw(anchor=normal(12, WIDTH), positive=normal(12, WIDTH), negative=normal(12, WIDTH)),
        tolerance=32.0,
        reason="a difference of two sums of 8 squares; float32, as coarser numbers would flip a bracket at 0",
        gradient=True,
        derivative=_triplet_derivative,
        takes="float32",
    ),
    Row(
        name="losses.alignment",
        family="losses",
        states=(contrastive.alignment,),
        theory=contrastive.alignment,
        practice=lambda query, key: contrastive_practice.alignment_sum(query, key) / len(query),
        inputs=draw(query=normal(6, WIDTH), key=normal(6, WIDTH)),
        tolerance=32.0,
        reason="a sum of 48 squares of differences of units",
        gradient=True,
    ),
    Row(
        name="losses.uniformity",
        family="losses",
        states=(contrastive.uniformity,),
        theory=contrastive.uniformity,
        practice=lambda x: contrastive_practice.uniformity(x),
        inputs=draw(x=normal(6, WIDTH)),
        tolerance=64.0,
        reason="the exponential of twice a sum of 8 squares makes its rounding several times larger",
        gradient=True,
    ),
    Row(
        name="losses.retrieval_accuracy",
        family="losses",
        states=(contrastive.retrieval_accuracy,),
        theory=contrastive.retrieval_accuracy,
        practice=lambda query, key: contrastive_practice.retrieved_sum(query, key) / len(query),
        inputs=_pairs,
        tolerance=1.0,
        reason="a count, divided once; float32, as coarser numbers would make two keys equally near",
        takes="float32",
    ),
    Row(
        name="losses.dpo",
        family="losses",
        states=(
            preference.dpo_loss,
            preference.dpo_loss_gradient,
            preference.dpo_margin,
            preference.implicit_reward,
        ),
        theory=lambda chosen, rejected, ref_chosen, ref_rejected: preference.dpo_loss(
            chosen, rejected, ref_chosen, ref_rejected, 0.3
        ),
        practice=lambda chosen, rejected, ref_chosen, ref_rejected: (
            preference_practice.dpo_sum(chosen, rejected, ref_chosen, ref_rejected, 0.3) / len(chosen)
        ),
        inputs=draw(
            chosen=normal(10, scale=5.0),
            rejected=normal(10, scale=5.0),
            ref_chosen=normal(10, scale=5.0),
            ref_rejected=normal(10, scale=5.0),
        ),
        tolerance=32.0,
        reason="a difference of log-probabilities of order 10; they are asked for in float32",
        gradient=True,
        derivative=_dpo_derivative,
        takes="float32",
    ),
    Row(
        name="losses.grpo",
        family="losses",
        states=(
            preference.grpo_loss,
            preference.grpo_loss_gradient,
            preference.group_advantages,
            preference.clipped_gain,
            preference.kl_estimate,
        ),
        theory=_grpo_theory,
        practice=_grpo,
        inputs=_answers,
        tolerance=32.0,
        reason="an exponential of a difference, a mean of six, a quotient by a deviation; asked for in float32",
        gradient=True,
        derivative=_grpo_derivative,
        takes="float32",
    ),
)
