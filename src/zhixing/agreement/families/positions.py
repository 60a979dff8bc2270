"""Positions against ``zhixing.nn.positions``."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.models.rotary_scaling import LinearScaling, Llama3Scaling, stretch
from zhixing.nn import positions as practice
from zhixing.theory import positions as theory

CONTEXT, WIDTH, BASE = 64, 8, 10000.0
LINEAR, LLAMA3 = LinearScaling(factor=3.0), Llama3Scaling(factor=8.0, original_context=120)


def _stretched(scale: Any) -> Any:
    """Cosines and sines of frequencies that a formula has made slower."""

    def tables(positions: Any) -> Any:
        frequencies = scale(theory.rotary_angles(np.array([1]), WIDTH, BASE)[0])
        angles = np.tile(positions[:, None] * frequencies, 2)
        return [np.cos(angles), np.sin(angles)]

    return tables


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
        name="positions.linear_scaling",
        family="positions",
        states=(theory.linear_scaling,),
        theory=_stretched(lambda frequencies: theory.linear_scaling(frequencies, 3.0)),
        practice=lambda positions: list(practice.rotary_tables(WIDTH, CONTEXT, BASE, stretch(LINEAR))),
        inputs=draw(positions=np.arange(CONTEXT)),
        tolerance=24.0,
        reason="an angle of 21 radians: a third rounded in float32, and its product with the position",
        takes="arrays",
        coarsest="float32",
    ),
    Row(
        name="positions.llama3_scaling",
        family="positions",
        states=(theory.llama3_scaling,),
        theory=_stretched(lambda frequencies: theory.llama3_scaling(frequencies, 8.0, 1.0, 4.0, 120)),
        practice=lambda positions: list(practice.rotary_tables(WIDTH, CONTEXT, BASE, stretch(LLAMA3))),
        inputs=draw(positions=np.arange(CONTEXT)),
        tolerance=8.0,
        reason="as rotary_angles: the second pair turns 1.9 times in 120 tokens, and is mixed of both",
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
        name="positions.turned_waves",
        family="positions",
        states=(theory.turned_waves,),
        theory=lambda distance: theory.turned_waves(distance, WIDTH, 3, BASE),
        practice=lambda distance: practice.turned_waves(distance, WIDTH, 3, BASE),
        inputs=draw(distance=lambda rng: int(rng.integers(-4, 5))),
        tolerance=2.0,
        reason="computed in float64 and rounded once",
        takes="float32",
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
