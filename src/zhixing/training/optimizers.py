"""Optimizers by name, set up for a model's parameters, and their state under the parameters' names.

SGD, momentum, RMSprop, Adam and AdamW are torch's (fused where it offers that); Muon is ours, joined by AdamW
for whatever is not a matrix inside the network (embeddings, output head, norms, biases).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zhixing.config import Settings, setting
from zhixing.nn.linear import PackedLinear
from zhixing.training.muon import Muon

Kind = Literal["sgd", "momentum", "rmsprop", "adam", "adamw", "muon"]


class OptimizerSettings(Settings):
    """Which optimizer, and its constants."""

    kind: Kind = setting("muon", "the algorithm", "算法")
    learning_rate: float = setting(
        0.004,
        "peak rate (muon: of embeddings, head, norms, biases)",
        "峰值学习率（muon：用于嵌入、输出层、归一与偏置）",
        gt=0,
    )
    matrix_learning_rate: float = setting(0.02, "muon's peak rate for matrices", "muon 用于矩阵的峰值学习率", gt=0)
    momentum: float = setting(0.95, "of momentum and muon", "momentum 与 muon 的动量", ge=0, lt=1)
    beta1: float = setting(0.9, "Adam's average of gradients", "Adam 的一阶平均系数", ge=0, lt=1)
    beta2: float = setting(0.95, "Adam's (RMSprop's) average of squares", "Adam（RMSprop）的二阶平均系数", ge=0, lt=1)
    epsilon: float = setting(1e-8, "added to the root of the squares", "加在二阶平方根上的小量", gt=0)
    newton_schulz_steps: int = setting(3, "muon's iterations", "muon 的迭代次数", ge=1, le=5)
    weight_decay: float = setting(0.0, "decoupled, on matrices", "解耦权重衰减，作用于矩阵", ge=0)
    l2: float = setting(0.0, "l2 * weight is added to a matrix's gradient", "把 l2 * 权重 加到矩阵梯度上", ge=0)
    l1: float = setting(
        0.0, "l1 * sign(weight) is added to a matrix's gradient", "把 l1 * sign(权重) 加到矩阵梯度上", ge=0
    )


class Optimizer:
    """One or two torch optimizers driven as one, with the rates' peak values remembered."""

    def __init__(self, model: nn.Module, settings: OptimizerSettings) -> None:
        self.settings = settings
        self._names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
        self._matrices = [p for p in self._names if p.ndim >= 2]
        self.parts = _build(model, settings)
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to its peak times ``factor``."""
        for part, peaks in zip(self.parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def rates(self) -> dict[str, float]:
        """Return the current learning rates by optimizer."""
        return {type(part).__name__.lower(): part.param_groups[0]["lr"] for part in self.parts}

    @torch.no_grad()
    def step(self) -> None:
        """Add the penalties' gradients, decay, update."""
        s = self.settings
        for weight in self._matrices:
            if weight.grad is not None and (s.l1 or s.l2):
                weight.grad.add_(weight, alpha=s.l2).add_(weight.sign(), alpha=s.l1)
        for part in self.parts:
            if s.weight_decay and not isinstance(part, torch.optim.AdamW | Muon):
                for weight in self._matrices:
                    weight.mul_(1 - part.param_groups[0]["lr"] * s.weight_decay)
            part.step()

    def state(self) -> dict[str, dict[str, Any]]:
        """Return what the optimizers remember: parameter name → {what → tensor}."""
        return {self._names[parameter]: dict(values) for part in self.parts for parameter, values in part.state.items()}

    def load_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Put back what ``state`` returned."""
        parameters = {name: parameter for parameter, name in self._names.items()}
        for name, values in state.items():
            parameter = parameters[name]
            part = next(p for p in self.parts if any(parameter is w for g in p.param_groups for w in g["params"]))
            part.state[parameter] = {what: _beside(parameter, value, part) for what, value in values.items()}


def _beside(parameter: Tensor, value: Any, part: torch.optim.Optimizer) -> Any:
    """Move a tensor to the parameter's device; torch keeps the step count on the CPU unless it is fused."""
    stays = not isinstance(value, Tensor) or (value.ndim == 0 and not part.defaults.get("fused"))
    return value if stays else value.to(parameter.device)


def _build(model: nn.Module, s: OptimizerSettings) -> list[torch.optim.Optimizer]:
    parameters = list(model.parameters())
    match s.kind:
        case "sgd":
            return [torch.optim.SGD(parameters, lr=s.learning_rate)]
        case "momentum":
            return [torch.optim.SGD(parameters, lr=s.learning_rate, momentum=s.momentum)]
        case "rmsprop":
            return [torch.optim.RMSprop(parameters, lr=s.learning_rate, alpha=s.beta2, eps=s.epsilon)]
        case "adam":
            betas = (s.beta1, s.beta2)
            return [torch.optim.Adam(parameters, lr=s.learning_rate, betas=betas, eps=s.epsilon, fused=True)]
        case "adamw":
            return [_adamw(parameters, s)]
        case "muon":
            return _muon_and_adamw(model, s)


def _adamw(parameters: Iterable[Tensor], s: OptimizerSettings) -> torch.optim.AdamW:
    matrices = [p for p in parameters if p.ndim >= 2]
    others = [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": s.weight_decay}, {"params": others, "weight_decay": 0.0}]
    betas = (s.beta1, s.beta2)
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=s.learning_rate, betas=betas, eps=s.epsilon, fused=True
    )


def _muon_and_adamw(model: nn.Module, s: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Muon for the linear maps inside the blocks; AdamW, without decay, for everything else."""
    groups: list[dict[str, Any]] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            sections = module.sections if isinstance(module, PackedLinear) else None
            groups.append({"params": [module.weight], "sections": sections})
    inside = {id(group["params"][0]) for group in groups}
    others = [p for p in model.parameters() if id(p) not in inside]
    muon = Muon(groups, s.matrix_learning_rate, s.momentum, s.newton_schulz_steps, s.weight_decay)
    return [muon, _adamw(others, s.replace(weight_decay=0.0))]
