"""The narrow valley that the update rules are shown on: steep across, nearly level along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Valley
from zhixing.explain.topic import Step
from zhixing.explain.topics.inputs import Vector, require_length
from zhixing.language import tr

Array = NDArray[np.float64]
Update = Callable[[Array, Array, Any, int], tuple[Array, Any]]
"""(parameter, gradient, state, step from 1) → (parameter, state); the state is None before the first step."""

VALLEY = r"L(\theta) = \frac{1}{2} (\theta_1^2 + \kappa \theta_2^2)"
_SHOWN = 5


class ValleyInputs(Settings):
    """Where to start in the valley, how narrow it is, how long to walk."""

    start: Vector = setting((-4.0, 1.5), "where the walk begins (2,)", "起点 (2,)")
    narrowness: float = setting(10.0, "κ: how much steeper across than along", "κ：横向比纵向陡多少倍", ge=1, le=1000)
    rate: float = setting(0.18, "learning rate η", "学习率 η", gt=0)
    steps: int = setting(20, "steps walked", "步数", ge=1, le=200)

    @model_validator(mode="after")
    def _on_the_map(self) -> Self:
        require_length("start", self.start, 2)
        return self

    def gradient(self, parameter: Array) -> Array:
        """The slope: (θ₁, κθ₂)."""
        return np.array([1.0, self.narrowness]) * parameter

    def height(self, parameter: Array) -> float:
        """The loss at a place."""
        return float(0.5 * (parameter * self.gradient(parameter)).sum())


def walk(inputs: ValleyInputs, update: Update) -> Array:
    """Return the places visited, the start among them: (steps + 1, 2)."""
    places, state = [np.array(inputs.start)], None
    for step in range(1, inputs.steps + 1):
        parameter, state = update(places[-1], inputs.gradient(places[-1]), state, step)
        places.append(parameter)
    return np.array(places)


def first_slope(inputs: ValleyInputs) -> Step:
    """The step every example begins with: the gradient at the start."""
    gradient = inputs.gradient(np.array(inputs.start))
    says = tr("the gradient at the start: (θ₁, κθ₂)", "起点处的梯度：(θ₁, κθ₂)")
    return Step(says, gradient, r"g = \nabla L(\theta)", columns=("g₁", "g₂"))


def journey(inputs: ValleyInputs, update: Update) -> Iterator[Step]:
    """The last steps of every example: the first few places, and how high the walk ends."""
    places = walk(inputs, update)
    shown = places[: _SHOWN + 1]
    heights = np.array([inputs.height(place) for place in shown])
    rows = tuple(tr(f"step {n}", f"第 {n} 步") if n else tr("start", "起点") for n in range(len(shown)))
    says = tr("the first steps, again and again the same rule", "前几步：同一规则反复使用")
    yield Step(says, np.column_stack([shown, heights]), "", rows, ("θ₁", "θ₂", "L"))
    count = inputs.steps
    yield Step(tr(f"the loss after {count} steps", f"{count} 步之后的损失"), inputs.height(places[-1]), r"L(\theta)")


def picture(inputs: ValleyInputs, updates: Mapping[str, Update]) -> Valley:
    """Draw the walk of each rule over the valley; a walk that leaves the map goes along its border."""
    paths = {name: walk(inputs, update) for name, update in updates.items()}
    x, y = (_axis(inputs.start[n], np.concatenate([path[:, n] for path in paths.values()])) for n in (0, 1))
    height = 0.5 * (x[None, :] ** 2 + inputs.narrowness * y[:, None] ** 2)
    title = tr("down a narrow valley: contours of the loss, and the path", "沿狭谷下行：损失的等高线与路径")
    return Valley(title, x, y, height, paths, "θ₁", "θ₂")


def _axis(start: float, visited: Array) -> Array:
    """Room for the minimum and the walks, but never more than twice as far as the start."""
    reach = 2 * max(abs(start), 0.5)
    inside = np.clip(np.append(visited[np.isfinite(visited)], 0.0), -reach, reach)
    margin = 0.12 * float(np.ptp(inside)) or 1.0
    return np.linspace(float(inside.min()) - margin, float(inside.max()) + margin, 81)
