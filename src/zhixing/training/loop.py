"""The training loop: task-blind, one function's worth of procedure, all state in one object.

It is handed an objective (batch → loss), a source of batches (position → batch) and a few callables; it knows neither
models by name nor files. A step is: micro-batches → one gradient, normalised by the global weight → clip → update.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from zhixing.errors import CheckpointError, DataError, Stopped, ZhixingError
from zhixing.language import tr
from zhixing.progress import Bar, progress
from zhixing.training.machine import Machine, resident_bytes
from zhixing.training.objective import BatchSource, Objective
from zhixing.training.optimizers import Optimizer
from zhixing.training.schedules import factor
from zhixing.training.settings import TrainingSettings

_log = logging.getLogger(__name__)
MOST_SKIPPED_IN_A_ROW = 3


@dataclass
class Progress:
    """How far a run has come: everything the loop must remember besides weights, optimizer and random generators.

    ``position`` counts windows of the global order, ``counted`` those that were counted
    before the first step; ``seconds`` counts training time only (no validation, no saving).
    """

    step: int = 0
    position: int = 0
    counted: int = 0
    tokens: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    best: float = math.inf
    validations_without_gain: int = 0
    joules: float = 0.0
    finished: bool = False


@dataclass
class Task:
    """What is trained and on what.

    Attributes:
        model: the module whose parameters move.
        forward: what the objective calls: ``model``, or its compiled form.
        objective: batch to loss.
        source: position to batch.
        optimizer: moves the parameters.
        windows_per_epoch: positions in one pass over the text.
        flops_per_token: floating-point operations of forward and backward, for the fraction of the ceiling.
        tokens: how many tokens of text a batch holds; None: as many as it predicts.
    """

    model: nn.Module
    forward: nn.Module
    objective: Objective
    source: BatchSource
    optimizer: Optimizer
    windows_per_epoch: int
    flops_per_token: float
    tokens: Callable[[Any], float] | None = None


@dataclass(frozen=True)
class Hooks:
    """What the loop calls out to.

    Attributes:
        record: takes one metrics record.
        save: saves a checkpoint of the current state.
        validate: returns held-out metrics, ``validation_loss`` among them.
        joules: returns the energy used since the process started training.
    """

    record: Callable[[dict[str, Any]], None]
    save: Callable[[], None]
    validate: Callable[[], dict[str, float]]
    joules: Callable[[], float]


class Diverged(ZhixingError):
    """The loss was not finite several times in a row."""


def run(task: Task, settings: TrainingSettings, machine: Machine, state: Progress, hooks: Hooks) -> None:
    """Train until a budget is spent, validation stops improving, or a signal asks to stop.

    Raises:
        Stopped: SIGINT or SIGTERM came; the state has been saved.
        Diverged: the loss was not finite three steps in a row; the last good state stays saved.
        DataError: three steps in a row had nothing to predict.
        CheckpointError: the state could not be saved when a signal came (at other times a warning says so).
    """
    task.model.train()
    last_save = time.monotonic()
    joules_before = state.joules
    window = _Window(task, settings, machine, state)
    shown = 100 * min(1.0, spent_fraction(task, settings, state))
    with _signals() as pending, progress(tr("training", "训练"), 100, "%", done=shown) as bar:
        while (spent := spent_fraction(task, settings, state)) < 1 and not state.finished:
            begin = time.perf_counter()
            loss, norm, metrics = _step(task, settings, machine, state, spent)
            state.seconds += time.perf_counter() - begin
            state.joules = joules_before + hooks.joules()
            if not state.skipped_in_a_row:
                window.add(loss, norm, metrics)
            shown = _show(bar, shown, 100 * min(1.0, spent_fraction(task, settings, state)), window)
            if state.step % settings.log_every == 0:
                hooks.record(window.close())
            if settings.validate_every and state.step % settings.validate_every == 0:
                _validate(task, settings, state, hooks)
            if pending:
                hooks.save()
                raise Stopped(pending[0], tr("stopped; the state is saved", "已停止；状态已保存"))
            if _save_is_due(settings, state, last_save):
                _try_to_save(hooks)
                last_save = time.monotonic()
    if window.steps:
        hooks.record(window.close())


def spent_fraction(task: Task, settings: TrainingSettings, state: Progress) -> float:
    """Return the share of the budget that is spent: the largest over all budgets given; 1 or more: all of it."""
    epochs = state.position / task.windows_per_epoch
    budgets = (
        (state.seconds / 60, settings.minutes),
        (state.step, settings.steps),
        (state.tokens, settings.tokens),
        (epochs, settings.epochs),
    )
    return max(done / budget for done, budget in budgets if budget is not None)


def _step(
    task: Task, settings: TrainingSettings, machine: Machine, state: Progress, spent: float
) -> tuple[float, float, dict[str, float]]:
    """Do one optimizer step; return (mean loss in nats, gradient norm before clipping, the objective's metrics)."""
    size = settings.batch_windows
    batches = [task.source.batch(state.position + i * size, size) for i in range(settings.accumulation)]
    weight = sum(task.objective.weight(batch) for batch in batches)
    loss = 0.0
    metrics: dict[str, float] = {}
    if weight > 0:
        for batch in batches:
            with machine.autocast():
                found = task.objective.loss(task.forward, batch)
                total = found.total / weight
            total.backward()  # type: ignore[no-untyped-call]
            loss += float(total.detach())
            _add(metrics, found.metrics, 1 / len(batches))
    norm = float(nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip_norm or math.inf))
    state.position += size * settings.accumulation
    state.step += 1
    state.tokens += round(weight if task.tokens is None else sum(task.tokens(batch) for batch in batches))
    if weight > 0 and math.isfinite(loss) and math.isfinite(norm):
        task.optimizer.set_rate(factor(settings.schedule, spent))
        task.optimizer.step()
        state.skipped_in_a_row = 0
    else:
        _skip(state, weight, loss, norm)
    task.model.zero_grad(set_to_none=True)
    return loss, norm, metrics


def _skip(state: Progress, weight: float, loss: float, norm: float) -> None:
    state.skipped += 1
    state.skipped_in_a_row += 1
    if weight > 0:
        why = tr(
            f"loss {loss:g}, gradient norm {norm:g}: not finite",
            f"损失 {loss:g}，梯度范数 {norm:g}：非有限值",
        )
    else:
        why = tr("nothing to predict, every weight is 0", "没有可预测的内容，权重全为 0")
    _log.warning(tr(f"step {state.step}: {why}; step skipped", f"第 {state.step} 步：{why}；跳过该步"))
    if state.skipped_in_a_row < MOST_SKIPPED_IN_A_ROW:
        return
    often = tr(
        f"{MOST_SKIPPED_IN_A_ROW} steps in a row (the last was step {state.step})",
        f"连续 {MOST_SKIPPED_IN_A_ROW} 步（至第 {state.step} 步）",
    )
    if weight > 0:
        raise Diverged(
            tr(
                f"the loss was not finite {often}; lower training.optimizer.learning_rate or matrix_learning_rate",
                f"损失{often}非有限；请降低 training.optimizer.learning_rate 或 matrix_learning_rate",
            )
        )
    raise DataError(
        tr(
            f"there was nothing to predict {often}; look at the mask of the data",
            f"{often}没有可预测的内容；请检查数据的掩码",
        )
    )


def _validate(task: Task, settings: TrainingSettings, state: Progress, hooks: Hooks) -> None:
    task.model.eval()
    metrics = hooks.validate()
    task.model.train()
    hooks.record({"step": state.step, "tokens": state.tokens, "seconds": state.seconds, **metrics})
    loss = metrics["validation_loss"]
    if loss < state.best:
        state.best, state.validations_without_gain = loss, 0
        return
    state.validations_without_gain += 1
    if settings.patience and state.validations_without_gain >= settings.patience:
        _log.info(
            tr(
                f"validation loss has not improved for {settings.patience} validations: stopping early",
                f"验证损失连续 {settings.patience} 次未改善：提前停止",
            )
        )
        state.finished = True


def _save_is_due(settings: TrainingSettings, state: Progress, last_save: float) -> bool:
    if state.skipped_in_a_row:  # the weights may be what is wrong: do not let them push out the last good state
        return False
    by_steps = settings.checkpoint_steps and state.step % settings.checkpoint_steps == 0
    return bool(by_steps) or time.monotonic() - last_save >= settings.checkpoint_minutes * 60


def _try_to_save(hooks: Hooks) -> None:
    """Save; a full disk costs a warning, not the training."""
    try:
        hooks.save()
    except CheckpointError as error:
        _log.warning(tr(f"{error}; training goes on", f"{error}；训练继续"))


class _Window:
    """Sums over the steps since the last record, skipped ones left out."""

    def __init__(self, task: Task, settings: TrainingSettings, machine: Machine, state: Progress) -> None:
        self._task, self._settings, self._machine, self._state = task, settings, machine, state
        self._restart()

    def _restart(self) -> None:
        self.steps, self._loss, self._norm = 0, 0.0, 0.0
        self._metrics: dict[str, float] = {}
        self._seconds, self._tokens = self._state.seconds, self._state.tokens

    def add(self, loss: float, norm: float, metrics: dict[str, float]) -> None:
        self.steps += 1
        _add(self._metrics, metrics)
        self._loss += loss
        self._norm += norm

    @property
    def loss(self) -> float:
        return self._loss / self.steps if self.steps else math.nan

    @property
    def tokens_per_second(self) -> float:
        return (self._state.tokens - self._tokens) / max(self._state.seconds - self._seconds, 1e-9)

    def close(self) -> dict[str, Any]:
        state = self._state
        rate = self.tokens_per_second
        record = {
            "step": state.step,
            "tokens": state.tokens,
            "seconds": state.seconds,
            "loss": self.loss,
            **{name: value / self.steps for name, value in self._metrics.items()},
            "gradient_norm": self._norm / self.steps if self.steps else math.nan,
            **{f"learning_rate_{k}": v for k, v in self._task.optimizer.rates().items()},
            "tokens_per_second": rate,
            "matmul_fraction": rate * self._task.flops_per_token / self._machine.matmul_rate,
            "resident_bytes": resident_bytes(),
            "joules": state.joules,
            "skipped": state.skipped,
        }
        self._restart()
        return record


def _add(sums: dict[str, float], values: dict[str, float], factor: float = 1.0) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + factor * value


def _show(bar: Bar, shown: float, now: float, window: _Window) -> float:
    bar.note(f"{tr('loss', '损失')} {window.loss:.3f}  {window.tokens_per_second:,.0f} {tr('tokens/s', '词元/秒')}")
    bar.advance(now - shown)
    return now


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of being interrupted in the middle of a step."""
    pending: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    try:
        before = {number: signal.signal(number, lambda n, _: pending.append(n)) for number in numbers}
    except ValueError:  # not the main thread: signals are someone else's business
        yield pending
        return
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
