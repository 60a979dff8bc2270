"""Starting as a bigram model against ``zhixing.pretraining.warm_start``."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw, normal
from zhixing.pretraining import induction
from zhixing.pretraining import warm_start as practice
from zhixing.theory import warm_start as theory

VOCABULARY, CONTEXTS, WIDTH = 9, 5, 8


def _counts(rng: np.random.Generator) -> Any:
    counts = rng.poisson(0.8, size=(VOCABULARY, VOCABULARY)).astype(np.float64)
    counts[2] = 0.0  # an id that nothing follows
    return counts


def _table(rng: np.random.Generator) -> Any:
    return rng.dirichlet(np.ones(VOCABULARY), size=CONTEXTS)


def _share(rng: np.random.Generator) -> Any:
    return rng.dirichlet(np.ones(CONTEXTS))


def _shares(rng: np.random.Generator) -> Any:
    return rng.dirichlet(np.full(4 * WIDTH, 4.0))


ROWS: tuple[Row, ...] = (
    Row(
        name="warm_start.bigram_table",
        family="warm_start",
        states=(theory.bigram_table,),
        theory=theory.bigram_table,
        practice=lambda counts, discount: practice.bigram_table(counts, discount),
        inputs=draw(counts=_counts, discount=0.75),
        tolerance=4.0,
        reason="a quotient, a product and a sum of numbers at most 1",
    ),
    Row(
        name="warm_start.bigram_fit_loss",
        family="warm_start",
        states=(theory.bigram_fit_loss,),
        theory=theory.bigram_fit_loss,
        practice=lambda **arguments: practice.fit_loss(**arguments),
        inputs=draw(
            embedding=normal(CONTEXTS, WIDTH), head=normal(VOCABULARY, WIDTH), table=_table, share=_share, epsilon=1e-6
        ),
        tolerance=16.0,
        reason="a norm, sums of 8 products, and a logarithm of a sum of 9 exponentials",
        gradient=True,
    ),
    Row(
        name="warm_start.whitening",
        family="warm_start",
        states=(theory.whitening,),
        theory=lambda **arguments: list(theory.whitening(**arguments)),
        practice=lambda **arguments: list(induction.whitening(**arguments)),
        inputs=draw(x=normal(4 * WIDTH, WIDTH), share=_shares, ridge=0.01),
        tolerance=64.0,
        reason="eigenvalues of a covariance of 32 rows, and their inverse roots",
        coarsest="float32",
    ),
    Row(
        name="warm_start.copy_map",
        family="warm_start",
        states=(theory.copy_map,),
        theory=theory.copy_map,
        practice=lambda **arguments: induction.copy_map(**arguments),
        inputs=draw(read=normal(4 * WIDTH, WIDTH), wanted=normal(4 * WIDTH, 3), share=_shares, ridge=0.01),
        tolerance=64.0,
        reason="the solution of eight linear equations whose condition is about ten",
        coarsest="float32",
    ),
)
