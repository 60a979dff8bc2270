"""Convolution and the models of a window agree with the formulas, and code that is broken on purpose does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from zhixing.agreement.families.convolution import ROWS
from zhixing.agreement.run import check
from zhixing.models import convolutional, feedforward
from zhixing.nn import convolution

CPU = torch.device("cpu")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_practice_computes_what_the_theory_says(row, dtype) -> None:
    result = check(row, CPU, dtype, seed=0)
    assert result.ok, result


RIGHT_WINDOWS, RIGHT_MEMORY = convolution.windows, convolution.memory


def _looking_ahead(x, before, documents=None):
    return RIGHT_WINDOWS(torch.cat([x[:, 1:], x[:, :1]], dim=1), before, documents)


def _newest_first(x, before, documents=None):
    blocks = RIGHT_WINDOWS(x, before, documents).unflatten(-1, (-1, x.shape[2]))
    return blocks.flip(-2).flatten(-2)


class _Scaled(torch.autograd.Function):
    """Right forward, half the gradient backward."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, upstream):
        return 0.5 * upstream


BROKEN = {
    "causal: a place sees what follows": (
        "causal",
        lambda patch: patch.setattr(convolution, "windows", _looking_ahead),
    ),
    "causal: the kernel is turned round": (
        "causal",
        lambda patch: patch.setattr(convolution, "windows", _newest_first),
    ),
    "causal: half of the input's gradient": (
        "causal",
        lambda patch: patch.setattr(convolution, "windows", lambda x, *more: RIGHT_WINDOWS(_Scaled.apply(x), *more)),
    ),
    "causal_in_pieces: the memory is one place too old": (
        "causal_in_pieces",
        lambda patch: patch.setattr(
            convolution, "memory", lambda x, before, lengths=None: RIGHT_MEMORY(x, before).roll(1, dims=1)
        ),
    ),
    "gated: value and gate exchanged": (
        "gated",
        lambda patch: patch.setattr(functional, "glu", lambda x, dim: torch.sigmoid(x[..., :4]) * x[..., 4:]),
    ),
    "gated: a tanh on the value": (
        "gated",
        lambda patch: patch.setattr(functional, "glu", lambda x, dim: x[..., :4].tanh() * x[..., 4:].sigmoid()),
    ),
    "window: documents run together": (
        "window",
        lambda patch: patch.setattr(convolution, "windows", lambda x, before, _: RIGHT_WINDOWS(x, before)),
    ),
    "receptive_field: a layer is blind": (
        "receptive_field",
        lambda patch: patch.setattr(
            convolution,
            "windows",
            lambda x, before, documents=None: RIGHT_WINDOWS(x, before, torch.arange(x.shape[1])[None]),
        ),
    ),
    "maximum_over_time: padding takes part": (
        "maximum_over_time",
        lambda patch: patch.setattr(convolution, "maximum_over_time", lambda x, _: x.amax(dim=1)),
    ),
    "feed_forward_model: no tanh": (
        "feed_forward_model",
        lambda patch: patch.setattr(feedforward.torch, "tanh", lambda x: x),
    ),
    "feed_forward_model: the newest token first": (
        "feed_forward_model",
        lambda patch: patch.setattr(feedforward, "windows", _newest_first),
    ),
    "gated_model: no residual connection": (
        "gated_model",
        lambda patch: patch.setattr(
            convolutional.Block,
            "forward",
            lambda self, x, before, documents, lengths: (self.convolution(self.norm(x)), before),
        ),
    ),
    "gated_model: the embedding is not scaled": (
        "gated_model",
        lambda patch: patch.setattr(
            convolutional.Convolutional, "embedding_scale", property(lambda _: 1.0, lambda *_: None), raising=False
        ),
    ),
    "gated_model_with_state: the state is forgotten": (
        "gated_model_with_state",
        lambda patch: patch.setattr(convolutional, "memory", lambda x, before, lengths=None: before),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_caught(what, monkeypatch) -> None:
    name, breaks = BROKEN[what]
    (row,) = (row for row in ROWS if row.name == f"convolution.{name}")
    assert check(row, CPU, torch.float32, seed=0).ok
    breaks(monkeypatch)
    result = check(row, CPU, torch.float32, seed=0)
    assert not result.ok
    assert result.error > 10 * result.bound
    assert math.isfinite(result.error), result.worst
