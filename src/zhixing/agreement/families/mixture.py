"""Interpolation of models against ``zhixing.models.mixture`` and ``zhixing.evaluation.fit_mixture`` (NumPy,
float64)."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw
from zhixing.evaluation import fit_mixture
from zhixing.models import mixture as practice
from zhixing.theory import mixture as theory

TOKENS, MEMBERS, CELLS = 30, 3, 4
STRENGTH = 2.0


def _probabilities(rng: np.random.Generator) -> Any:
    return rng.uniform(0.01, 1.0, size=(TOKENS, MEMBERS))


def _weights(*rows: int) -> Any:
    return lambda rng: rng.dirichlet(np.ones(MEMBERS), size=rows or None)


def _membership(cells: Any, share: Any) -> Any:
    phi = np.zeros((TOKENS, CELLS))
    for number, (left, part) in enumerate(zip(cells, share, strict=True)):
        phi[number, left] += 1.0 - part
        phi[number, left + 1] += part
    return phi


def _static(probabilities: Any, weights: Any, prior: Any) -> Any:
    none = np.zeros(TOKENS, np.int64)
    table, _ = fit_mixture.em_step(probabilities.T, (none, none), np.zeros(TOKENS), weights[None], prior, STRENGTH)
    return table[0]


ROWS: tuple[Row, ...] = (
    Row(
        name="mixture.interpolate",
        family="mixture",
        states=(theory.interpolate,),
        theory=theory.interpolate,
        practice=lambda probabilities, weights: np.exp(practice.mix(np.log(probabilities).T, weights[:, None])),
        inputs=draw(probabilities=_probabilities, weights=_weights()),
        tolerance=32.0,
        reason="a logarithm and its exponential",
        takes="arrays",
    ),
    Row(
        name="mixture.em_step",
        family="mixture",
        states=(theory.em_step,),
        theory=lambda probabilities, weights, prior: theory.em_step(probabilities, weights, prior, STRENGTH),
        practice=_static,
        inputs=draw(probabilities=_probabilities, weights=_weights(), prior=_weights()),
        tolerance=64.0,
        reason="sums of 30 responsibilities",
        takes="arrays",
    ),
    Row(
        name="mixture.table_em_step",
        family="mixture",
        states=(theory.table_em_step,),
        theory=lambda probabilities, cells, share, table, prior: theory.table_em_step(
            probabilities, _membership(cells, share), table, prior, STRENGTH
        ),
        practice=lambda probabilities, cells, share, table, prior: fit_mixture.em_step(
            probabilities.T, (cells, cells + 1), share, table, prior, STRENGTH
        )[0],
        inputs=draw(
            probabilities=_probabilities,
            cells=lambda rng: rng.integers(CELLS - 1, size=TOKENS),
            share=lambda rng: rng.random(TOKENS),
            table=_weights(CELLS),
            prior=_weights(),
        ),
        tolerance=64.0,
        reason="sums of 30 responsibilities",
        takes="arrays",
    ),
)
