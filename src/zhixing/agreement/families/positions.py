"""Positions against ``zhixing.nn.positions``."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import positions as practice
from zhixing.theory import positions as theory

CONTEXT, WIDTH, BASE = 64, 8, 10000.0


def _rotate(x: Any, positions: Any) -> Any:
    tables = practice.Rotary(WIDTH, CONTEXT, BASE).to(x.device)
    cosine, sine = tables(positions[None], positions.shape[0])
    return practice.rotate(x, cosine.to(x.dtype), sine.to(x.dtype))


ROWS: tuple[Row, ...] = (
    Row(
        name="positions.looking_back",
        family="positions",
        states=(theory.looking_back,),
        theory=lambda offset: list(theory.looking_back(offset, WIDTH, BASE)),
        practice=lambda offset: list(practice.looking_back(offset, WIDTH, BASE)),
        inputs=draw(offset=lambda rng: int(rng.integers(1, 5))),
        tolerance=16.0,
        reason="cosines of angles up to 5, each rounded before",
        takes="float32",
    ),
    Row(
        name="positions.rotary_angles",
        family="positions",
        states=(theory.rotary_angles,),
        theory=lambda positions: [
            np.cos(np.tile(theory.rotary_angles(positions, WIDTH, BASE), 2)),
            np.sin(np.tile(theory.rotary_angles(positions, WIDTH, BASE), 2)),
        ],
        practice=lambda positions: list(practice.rotary_tables(WIDTH, CONTEXT, BASE)),
        inputs=draw(positions=np.arange(CONTEXT)),
        tolerance=8.0,
        reason="an angle of 6.3 radians (the fastest are whole numbers, and exact) rounded in float32",
        takes="arrays",
        coarsest="float32",
    ),
    Row(
        name="positions.rotary",
        family="positions",
        states=(theory.rotary,),
        theory=lambda x, positions: theory.rotary(x, positions, BASE),
        practice=_rotate,
        inputs=draw(
            x=normal(2, 3, 9, WIDTH),
            positions=lambda rng: np.sort(rng.choice(CONTEXT, size=9, replace=False)),
        ),
        tolerance=8.0,
        reason="the angles' rounding (see rotary_angles), then two products and their sum",
        gradient=True,
        coarsest="float32",
    ),
    Row(
        name="positions.sinusoidal",
        family="positions",
        states=(theory.sinusoidal,),
        theory=lambda positions: theory.sinusoidal(positions, WIDTH, BASE),
        practice=lambda positions: practice.sinusoidal(len(positions), WIDTH, BASE),
        inputs=draw(positions=np.arange(CONTEXT)),
        tolerance=2.0,
        reason="computed in float64 and rounded once",
        takes="arrays",
        coarsest="float32",
    ),
    Row(
        name="positions.learned",
        family="positions",
        states=(theory.learned,),
        theory=theory.learned,
        practice=lambda positions, table: functional.embedding(positions, table),
        inputs=draw(positions=np.array([3, 0, 3, 7]), table=normal(8, 5)),
        tolerance=2.0,
        reason="a look-up is exact; the gradient of a row used twice is a sum of two",
        gradient=True,
    ),
)
