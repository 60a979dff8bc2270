"""Losses against ``zhixing.nn.losses``, and against torch's where production takes them from there."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import losses as practice
from zhixing.theory import losses as theory

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
)
