"""Positions on the scores against ``zhixing.nn.relative_bias``."""

from __future__ import annotations

from typing import Any

import torch

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import relative_bias as practice
from zhixing.theory import positions as theory

BUCKETS, FARTHEST, QUERIES, KEYS = 8, 20, 5, 40


def _bias(table: Any, both_ways: bool) -> Any:
    brick = practice.RelativeBias(table.shape[1], BUCKETS, FARTHEST, both_ways)
    places = torch.arange(KEYS - QUERIES, KEYS, device=table.device)
    return torch.func.functional_call(brick, {"embedding.weight": table}, (places, KEYS))[0]


def _alibi(queries: int, keys: int, heads: int) -> Any:
    return practice.alibi(torch.arange(keys - queries, keys), keys, practice.alibi_slopes(heads))[0]


ROWS: tuple[Row, ...] = (
    *(
        Row(
            name=f"positions.relative_bucket_{way}",
            family="positions",
            states=(theory.relative_bucket,),
            theory=lambda distance, both=both: theory.relative_bucket(distance, 32, 128, both),
            practice=lambda distance, both=both: practice.relative_bucket(torch.as_tensor(distance), 32, 128, both),
            inputs=draw(distance=lambda rng: rng.integers(-400, 401, 60)),
            tolerance=0.0,
            reason="whole numbers: the logarithm's rounding moves no distance into another bucket",
            takes="arrays",
        )
        for way, both in (("both_ways", True), ("back", False))
    ),
    *(
        Row(
            name=f"positions.relative_bias_{way}",
            family="positions",
            states=(theory.relative_bias,),
            theory=lambda table, both=both: theory.relative_bias(QUERIES, KEYS, table, FARTHEST, both),
            practice=lambda table, both=both: _bias(table, both),
            inputs=draw(table=normal(BUCKETS, 3)),
            tolerance=16.0,
            reason="a look-up is exact; the gradient of a bucket sums up to 200 places",
            gradient=True,
        )
        for way, both in (("both_ways", True), ("back", False))
    ),
    Row(
        name="positions.alibi_slopes",
        family="positions",
        states=(theory.alibi_slopes,),
        theory=theory.alibi_slopes,
        practice=lambda heads: practice.alibi_slopes(heads),
        inputs=draw(heads=lambda rng: int(rng.integers(1, 33))),
        tolerance=2.0,
        reason="computed in float64 and rounded once",
        takes="arrays",
        coarsest="float32",
    ),
    Row(
        name="positions.alibi",
        family="positions",
        states=(theory.alibi,),
        theory=lambda heads: theory.alibi(QUERIES, KEYS, heads),
        practice=lambda heads: _alibi(QUERIES, KEYS, heads),
        inputs=draw(heads=lambda rng: int(rng.integers(1, 33))),
        tolerance=4.0,
        reason="a slope rounded once, and its product with a whole number",
        takes="arrays",
        coarsest="float32",
    ),
)
