"""Norms against ``zhixing.nn.norms``."""

from __future__ import annotations

from typing import Any

from torch.func import functional_call

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import norms as practice
from zhixing.theory import normalisation as theory

WIDTH, EPSILON = 24, 1e-5


def _layer_norm(x: Any, gain: Any, shift: Any) -> Any:
    layer = practice.LayerNorm(WIDTH, eps=EPSILON)
    return functional_call(layer, {"weight": gain, "bias": shift}, (x,))


def _rms_norm(x: Any, gain: Any) -> Any:
    return functional_call(practice.RMSNorm(WIDTH, EPSILON), {"weight": gain}, (x,))


def _layer_norm_derivative(x: Any, gain: Any, shift: Any, upstream: Any) -> dict[str, Any]:
    gradients = theory.layer_norm_gradient(x, gain, upstream, EPSILON)
    return dict(zip(("x", "gain", "shift"), gradients, strict=True))


def _rms_norm_derivative(x: Any, gain: Any, upstream: Any) -> dict[str, Any]:
    return dict(zip(("x", "gain"), theory.rms_norm_gradient(x, gain, upstream, EPSILON), strict=True))


ROWS: tuple[Row, ...] = (
    Row(
        name="normalisation.layer_norm",
        family="normalisation",
        states=(theory.layer_norm, theory.layer_norm_gradient, theory.standardise),
        theory=lambda x, gain, shift: theory.layer_norm(x, gain, shift, EPSILON),
        practice=_layer_norm,
        inputs=draw(x=normal(2, 5, WIDTH), gain=normal(WIDTH), shift=normal(WIDTH)),
        tolerance=6.0,
        reason="a mean and a variance of 24 numbers",
        gradient=True,
        derivative=_layer_norm_derivative,
    ),
    Row(
        name="normalisation.rms_norm",
        family="normalisation",
        states=(theory.rms_norm, theory.rms_norm_gradient, theory.root_mean_square),
        theory=lambda x, gain: theory.rms_norm(x, gain, EPSILON),
        practice=_rms_norm,
        inputs=draw(x=normal(2, 5, WIDTH), gain=normal(WIDTH)),
        tolerance=6.0,
        reason="a mean of 24 squares",
        gradient=True,
        derivative=_rms_norm_derivative,
    ),
)
