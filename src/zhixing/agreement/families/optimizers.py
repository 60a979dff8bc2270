"""Update rules against ``zhixing.training.optimizers`` and ``muon``: six steps, equal gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from zhixing.agreement.row import Row, draw, normal
from zhixing.theory import optimizers as theory
from zhixing.theory import regularisation
from zhixing.training import muon
from zhixing.training import optimizers as practice

STEPS, OUTPUTS, INPUTS = 6, 8, 3
RATE, MOMENTUM, BETAS, EPSILON, DECAY = 0.05, 0.9, (0.9, 0.95), 1e-8, 0.3
L1, L2 = 0.1, 0.2
SECTIONS = (2, 6)
SHARED: dict[str, Any] = {
    "learning_rate": RATE, "matrix_learning_rate": RATE, "momentum": MOMENTUM,
    "beta1": BETAS[0], "beta2": BETAS[1], "epsilon": EPSILON,
}  # fmt: skip
REASON = "a few roundings per step, added up over six steps"

State = Any
Step = Callable[[Any, Any, State, int], tuple[Any, State]]


class _OneMatrix(nn.Module):
    """A model of one matrix inside one block, which muon takes for its own, and something that is not one."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        layer = nn.Linear(start.shape[1], start.shape[0], bias=False)
        layer.weight = nn.Parameter(start.clone())
        self.blocks = nn.ModuleList([layer])
        self.shift = nn.Parameter(start.new_zeros(1))


def _formula(step: Step, state: State) -> Callable[..., Any]:
    def run(start: Any, gradients: Any) -> Any:
        parameter, memory = start, state
        for number, gradient in enumerate(gradients, start=1):
            parameter, memory = step(parameter, gradient, memory, number)
        return parameter

    return run


def _production(**settings: Any) -> Callable[..., Any]:
    def run(start: Any, gradients: Any) -> Any:
        model = _OneMatrix(start)
        optimizer = practice.Optimizer(model, practice.OptimizerSettings(**SHARED, **settings))
        weight = model.blocks[0].weight
        for gradient in gradients:
            weight.grad = gradient.clone()
            optimizer.step()
        return weight

    return run


def _row(
    name: str,
    states: tuple[Any, ...],
    step: Step,
    state: State,
    production: Callable[..., Any],
    tolerance: float = 8.0,
    takes: Literal["tensors", "float32"] = "tensors",
) -> Row:
    return Row(
        name=f"optimizers.{name}",
        family="optimizers",
        states=states,
        theory=_formula(step, state),
        practice=production,
        inputs=draw(start=normal(OUTPUTS, INPUTS), gradients=normal(STEPS, OUTPUTS, INPUTS)),
        tolerance=tolerance,
        reason=REASON,
        takes=takes,
    )


def _sgd(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.sgd(parameter, gradient, RATE), state


def _penalised_sgd(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    penalties = regularisation.l1_gradient(parameter, L1) + regularisation.l2_gradient(parameter, L2)
    return theory.sgd(parameter, gradient + penalties, RATE), state


def _decayed_sgd(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.sgd(theory.decoupled_decay(parameter, RATE, DECAY), gradient, RATE), state


def _momentum(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.momentum(parameter, gradient, state, RATE, MOMENTUM)


def _rmsprop(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.rmsprop(parameter, gradient, state, RATE, BETAS[1], EPSILON)


def _adam(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.adam(parameter, gradient, state, step, RATE, BETAS, EPSILON)


def _adamw(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.adamw(parameter, gradient, state, step, RATE, BETAS, EPSILON, DECAY)


MARGIN = 1.02
"""Production divides by a little more than the norm, so that rounding lifts no singular value above 1."""
ITERATIONS = 3
SCHEDULE = theory.polar_express_schedule(ITERATIONS, safety=1.0)


def _muon(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    return theory.muon(parameter, gradient, state, RATE, MOMENTUM, DECAY, SCHEDULE, MARGIN)


def _packed_muon(parameter: Any, gradient: Any, state: State, step: int) -> tuple[Any, State]:
    """Maps packed into one weight are orthogonalised one by one."""
    cuts = np.cumsum(SECTIONS)[:-1]
    pieces = zip(np.split(parameter, cuts), np.split(gradient, cuts), np.split(state, cuts), strict=True)
    updated = [_muon(*piece, step) for piece in pieces]
    return np.concatenate([new for new, _ in updated]), np.concatenate([memory for _, memory in updated])


def _packed_muon_practice(start: Any, gradients: Any) -> Any:
    weight = nn.Parameter(start.clone())
    groups = [{"params": [weight], "sections": SECTIONS}]
    optimizer = muon.Muon(groups, RATE, MOMENTUM, ITERATIONS, weight_decay=DECAY)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight


def _matrices(rng: np.random.Generator) -> Any:
    """Singular values between 0.5 and 1: near 0, rounding is magnified most."""
    left = np.linalg.qr(rng.normal(size=(3, OUTPUTS, INPUTS)))[0]
    right = np.linalg.qr(rng.normal(size=(3, INPUTS, INPUTS)))[0]
    return left * rng.uniform(0.5, 1.0, size=(3, 1, INPUTS)) @ right


ZEROS = np.zeros((OUTPUTS, INPUTS))

ROWS: tuple[Row, ...] = (
    _row("sgd", (theory.sgd,), _sgd, None, _production(kind="sgd")),
    _row(
        "l1_and_l2",
        (regularisation.l1_gradient, regularisation.l2_gradient),
        _penalised_sgd,
        None,
        _production(kind="sgd", l1=L1, l2=L2),
    ),
    _row(
        "decoupled_decay",
        (theory.decoupled_decay,),
        _decayed_sgd,
        None,
        _production(kind="sgd", weight_decay=DECAY),
    ),
    _row("momentum", (theory.momentum,), _momentum, ZEROS, _production(kind="momentum")),
    _row("rmsprop", (theory.rmsprop,), _rmsprop, ZEROS, _production(kind="rmsprop")),
    _row("adam", (theory.adam,), _adam, (ZEROS, ZEROS), _production(kind="adam")),
    _row("adamw", (theory.adamw,), _adamw, (ZEROS, ZEROS), _production(kind="adamw", weight_decay=DECAY)),
    Row(
        name="optimizers.newton_schulz",
        family="optimizers",
        states=(theory.newton_schulz, theory.polar_express_schedule),
        theory=lambda matrices: np.stack([theory.newton_schulz(m, SCHEDULE, MARGIN) for m in matrices]),
        practice=lambda matrices: muon.orthogonalise(matrices, ITERATIONS),
        inputs=draw(matrices=_matrices),
        tolerance=1024.0,
        reason="three polynomials, each with slopes of up to 8: they magnify rounding up to 500 times",
        takes="float32",
    ),
    Row(
        name="optimizers.polar_express",
        family="optimizers",
        states=(theory.polar_express_schedule,),
        theory=lambda: np.array(theory.polar_express_schedule(len(muon.COEFFICIENTS), safety=1.0)),
        practice=lambda: np.array(muon.COEFFICIENTS),
        inputs=draw(),
        tolerance=0.0,
        reason="published constants",
        takes="arrays",
    ),
    _row(
        "muon",
        (theory.muon, theory.newton_schulz, theory.polar_express_schedule),
        _muon,
        ZEROS,
        _production(kind="muon", newton_schulz_steps=ITERATIONS, weight_decay=DECAY),
        tolerance=128.0,
        takes="float32",
    ),
    _row("muon_packed", (theory.muon,), _packed_muon, ZEROS, _packed_muon_practice, 128.0, "float32"),
)
