"""Starting as a bigram model against ``zhixing.pretraining.warm_start``."""

from __future__ import annotations

from typing import Any

import numpy as np

from zhixing.agreement.row import Row, draw, normal
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
)
