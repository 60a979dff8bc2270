"""How a family learns from text alone: what it is asked about a window, and what its answer costs.

The loop and the run know only this record; an objective is one file beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from zhixing.data.windows import TokenWindows
from zhixing.pretraining.causal import CausalLM, DecoderWithLoss
from zhixing.training.objective import BatchSource, Objective


@dataclass(frozen=True)
class Pretraining:
    """One objective, ready to run.

    Attributes:
        objective: a batch becomes a summed loss.
        with_loss: wraps a network so that one compiled graph holds network and loss.
        questions: turns windows of ids into the objective's batches, a pure function of the position as they are.
    """

    objective: Objective
    with_loss: Callable[[nn.Module], nn.Module]
    questions: Callable[[TokenWindows], BatchSource]


def causal(device: str) -> Pretraining:
    """Each token from those before it."""
    return Pretraining(CausalLM(device), DecoderWithLoss, lambda windows: windows)
