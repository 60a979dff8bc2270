"""Neurons and networks. Production takes the activations from torch, so their rows test the installation
itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.func import functional_call
from torch.nn import functional

from zhixing.agreement.row import Row, draw, normal
from zhixing.nn import feedforward as practice
from zhixing.theory import networks as theory

FEW = 4.0
FEW_REASON = "a handful of roundings per element"


def _activation(function: Callable[..., Any], derivative: Callable[..., Any], practice: Callable[..., Any]) -> Row:
    return Row(
        name=f"networks.{function.__name__}",
        family="networks",
        states=(function, derivative),
        theory=function,
        practice=practice,
        inputs=draw(x=normal(64, scale=2.0)),
        tolerance=FEW,
        reason=FEW_REASON,
        gradient=True,
        derivative=lambda x, upstream: {"x": upstream * derivative(x)},
    )


def _along_rows(function: Callable[..., Any], gradient: Callable[..., Any], practice: Callable[..., Any]) -> Row:
    return Row(
        name=f"networks.{function.__name__}",
        family="networks",
        states=(function, gradient),
        theory=function,
        practice=practice,
        inputs=draw(x=normal(5, 33, scale=3.0)),
        tolerance=4.0,
        reason="a sum of 33 exponentials, and the difference of two such sums in the gradient",
        gradient=True,
        derivative=lambda x, upstream: {"x": gradient(x, upstream)},
    )


def _affine_derivative(x: Any, weight: Any, bias: Any, upstream: Any) -> dict[str, Any]:
    return dict(zip(("x", "weight", "bias"), theory.affine_gradient(x, weight, upstream), strict=True))


def _network(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return theory.network_forward(x, [(w1, b1), (w2, b2)], theory.gelu)[-1]


def _network_derivative(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, upstream: Any) -> dict[str, Any]:
    layers = [(w1, b1), (w2, b2)]
    d_x, gradients = theory.network_backward(x, layers, theory.gelu, theory.gelu_derivative, upstream)
    return {
        "x": d_x,
        "w1": gradients[0][0],
        "b1": gradients[0][1],
        "w2": gradients[1][0],
        "b2": gradients[1][1],
    }


def _network_practice(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return functional.linear(functional.gelu(functional.linear(x, w1.T, b1)), w2.T, b2)


def _swiglu_derivative(x: Any, gate: Any, up: Any, down: Any, upstream: Any) -> dict[str, Any]:
    gradients = theory.swiglu_gradient(x, gate, up, down, upstream)
    return dict(zip(("x", "gate", "up", "down"), gradients, strict=True))


def _swiglu(x: Any, gate: Any, up: Any, down: Any) -> Any:
    weights = {"gate_up.weight": torch.cat([gate.T, up.T]), "down.weight": down.T}
    return functional_call(practice.SwiGLU(*gate.shape), weights, (x,))


def _gelu_feed_forward(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    weights = {"expand.weight": w1.T, "expand.bias": b1, "contract.weight": w2.T, "contract.bias": b2}
    return functional_call(practice.GeluFeedForward(*w1.shape), weights, (x,))


def _gelu_tanh_network(x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    return theory.network_forward(x, [(w1, b1), (w2, b2)], theory.gelu_tanh)[-1]


ROWS: tuple[Row, ...] = (
    Row(
        name="networks.affine",
        family="networks",
        states=(theory.affine, theory.affine_gradient),
        theory=theory.affine,
        practice=lambda x, weight, bias: functional.linear(x, weight.T, bias),
        inputs=draw(x=normal(6, 16), weight=normal(16, 8), bias=normal(8)),
        tolerance=4.0,
        reason="sums of 16 products",
        gradient=True,
        derivative=_affine_derivative,
    ),
    _activation(theory.sigmoid, theory.sigmoid_derivative, lambda x: torch.sigmoid(x)),
    _activation(theory.tanh, theory.tanh_derivative, lambda x: torch.tanh(x)),
    _activation(theory.relu, theory.relu_derivative, lambda x: functional.relu(x)),
    _activation(theory.silu, theory.silu_derivative, lambda x: functional.silu(x)),
    _activation(theory.gelu, theory.gelu_derivative, lambda x: functional.gelu(x)),
    _activation(theory.gelu_tanh, theory.gelu_tanh_derivative, lambda x: functional.gelu(x, approximate="tanh")),
    Row(
        name="networks.swiglu",
        family="networks",
        states=(theory.swiglu, theory.swiglu_gradient),
        theory=theory.swiglu,
        practice=_swiglu,
        inputs=draw(x=normal(6, 8), gate=normal(8, 12), up=normal(8, 12), down=normal(12, 8)),
        tolerance=16.0,
        reason="two layers of sums of at most 12 products",
        gradient=True,
        derivative=_swiglu_derivative,
    ),
    Row(
        name="networks.gelu_feed_forward",
        family="networks",
        states=(theory.network_forward, theory.gelu_tanh),
        theory=_gelu_tanh_network,
        practice=_gelu_feed_forward,
        inputs=draw(x=normal(6, 8), w1=normal(8, 12), b1=normal(12), w2=normal(12, 8), b2=normal(8)),
        tolerance=16.0,
        reason="two layers of sums of at most 12 products",
        gradient=True,
    ),
    Row(
        name="networks.normal_cdf",
        family="networks",
        states=(theory.normal_cdf,),
        theory=theory.normal_cdf,
        practice=lambda x: torch.special.ndtr(x),
        inputs=draw(x=normal(64)),
        tolerance=FEW,
        reason=FEW_REASON,
        gradient=True,
        derivative=lambda x, upstream: {"x": upstream * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)},
    ),
    _along_rows(theory.softmax, theory.softmax_gradient, lambda x: functional.softmax(x, dim=-1)),
    _along_rows(theory.log_softmax, theory.log_softmax_gradient, lambda x: functional.log_softmax(x, dim=-1)),
    Row(
        name="networks.network",
        family="networks",
        states=(theory.network_forward, theory.network_backward),
        theory=_network,
        practice=_network_practice,
        inputs=draw(x=normal(6, 8), w1=normal(8, 12), b1=normal(12), w2=normal(12, 3), b2=normal(3)),
        tolerance=16.0,
        reason="two layers of sums of at most 12 products",
        gradient=True,
        derivative=_network_derivative,
    ),
)
