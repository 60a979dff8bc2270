"""The loop: accumulation, clipping, budgets, early stopping, what it calls and when."""

import logging
import math
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from zhixing.data.windows import Batch
from zhixing.errors import CheckpointError, DataError, Stopped
from zhixing.models.decoders import build_decoder
from zhixing.models.llama import LlamaSettings
from zhixing.pretraining.causal import CausalLM, DecoderWithLoss
from zhixing.training.loop import Diverged, Hooks, Progress, Task, run, spent_fraction
from zhixing.training.machine import Machine
from zhixing.training.objective import Loss
from zhixing.training.optimizers import Optimizer, OptimizerSettings
from zhixing.training.schedules import ScheduleSettings
from zhixing.training.settings import TrainingSettings

MACHINE = Machine("cpu", "float32", False, 1, 1e9)
CONSTANT = ScheduleSettings(kind="constant", warmup=0.0)
WINDOWS, LENGTH, VOCABULARY = 16, 12, 19


class Windows:
    """Random windows with uneven numbers of predictions that count."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.ids = draw.integers(0, VOCABULARY, (WINDOWS, LENGTH + 1))
        counts = draw.integers(1, LENGTH + 1, WINDOWS)
        self.weights = (np.arange(LENGTH) < counts[:, None]).astype(np.float32)
        self.asked: list[int] = []

    def batch(self, start: int, count: int) -> Batch:
        places = np.arange(start, start + count) % WINDOWS
        self.asked += range(start, start + count)
        ids = self.ids[places]
        return Batch(ids[:, :-1].copy(), ids[:, 1:].copy(), self.weights[places])


class Spoiled:
    """An objective whose loss is spoiled at chosen steps."""

    def __init__(self, spoil: Callable[[int, torch.Tensor], torch.Tensor], weight: float | None = None) -> None:
        self.inner, self.spoil, self.calls, self.fixed = CausalLM("cpu"), spoil, 0, weight

    def weight(self, batch: Batch) -> float:
        return self.inner.weight(batch) if self.fixed is None else self.fixed

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        self.calls += 1
        return Loss(self.spoil(self.calls, self.inner.loss(model, batch).total))


@dataclass
class Trained:
    """A run with everything it called out."""

    task: Task
    settings: TrainingSettings
    state: Progress = field(default_factory=Progress)
    records: list[dict[str, Any]] = field(default_factory=list)
    saves: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    save: Callable[[int], None] = lambda step: None
    validate: Callable[[], dict[str, float]] = lambda: {"validation_loss": 1.0}

    def run(self) -> "Trained":
        def save() -> None:
            self.save(self.state.step)
            self.saves.append(self.state.step)

        hooks = Hooks(self.records.append, save, self.validate, lambda: 1.0)
        run(self.task, self.settings, MACHINE, self.state, hooks)
        return self

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.task.model.parameters()]


def prepare(objective: Any = None, optimizer: OptimizerSettings | None = None, **changes: Any) -> Trained:
    torch.manual_seed(0)
    shape = LlamaSettings(vocab_size=VOCABULARY, context_length=LENGTH, layers=2, width=8, heads=2, inner_width=12)
    model = build_decoder(shape)
    for parameter in model.parameters():  # residual branches start at zero: let gradients reach everything
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    optimizer = optimizer or OptimizerSettings(kind="sgd", learning_rate=0.5)
    defaults = {"steps": 4, "batch_windows": 4, "schedule": CONSTANT, "optimizer": optimizer, "log_every": 1}
    budgets = {"tokens", "minutes", "epochs"} & set(changes)
    settings = TrainingSettings(**{**defaults, **({"steps": None} if budgets else {}), **changes})
    task = Task(
        model=model,
        forward=DecoderWithLoss(model),
        objective=objective or CausalLM("cpu"),
        source=Windows(),
        optimizer=Optimizer(model, optimizer),
        windows_per_epoch=WINDOWS,
        flops_per_token=100.0,
    )
    return Trained(task, settings)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon"])
def test_batch_times_accumulation_gives_the_same_step(kind: str) -> None:
    optimizer = OptimizerSettings(kind=kind, learning_rate=0.01, epsilon=1e-4)
    runs = [
        prepare(optimizer=optimizer, steps=1, batch_windows=size, accumulation=8 // size).run() for size in (8, 4, 2, 1)
    ]
    first = runs[0]
    for other in runs[1:]:
        assert other.records[0]["loss"] == pytest.approx(first.records[0]["loss"], abs=1e-6)
        assert other.records[0]["gradient_norm"] == pytest.approx(first.records[0]["gradient_norm"], abs=1e-6)
        assert other.state.tokens == first.state.tokens
        for a, b in zip(first.weights(), other.weights(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_the_loss_is_the_mean_over_what_counts() -> None:
    trained = prepare(steps=1, batch_windows=4, accumulation=2)
    model, source = trained.task.model, Windows()
    batch = source.batch(0, 8)
    logits = model(torch.as_tensor(batch.inputs)) @ model.head_weight.T
    each = nn.functional.cross_entropy(logits.flatten(0, 1), torch.as_tensor(batch.targets).flatten(), reduction="none")
    weights = torch.as_tensor(batch.weights).flatten()
    expected = (each * weights).sum() / weights.sum()
    trained.run()
    assert trained.records[0]["loss"] == pytest.approx(expected.item(), abs=1e-6)
    assert trained.state.tokens == weights.sum().item()


def test_clipping_is_torchs() -> None:
    limit, rate = 0.05, 0.5
    trained = prepare(steps=1, batch_windows=8, clip_norm=limit)
    model = trained.task.model
    before = trained.weights()
    objective, batch = CausalLM("cpu"), Windows().batch(0, 8)
    (objective.loss(trained.task.forward, batch).total / objective.weight(batch)).backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    expected = [w - rate * p.grad for w, p in zip(before, model.parameters(), strict=True)]
    model.zero_grad()
    trained.run()
    assert norm > limit
    assert trained.records[0]["gradient_norm"] == pytest.approx(norm.item(), rel=1e-6)
    for a, b in zip(expected, trained.weights(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


def test_no_clipping_where_the_limit_is_zero() -> None:
    free, loose = prepare(steps=1, clip_norm=0.0).run(), prepare(steps=1, clip_norm=1e9).run()
    assert all(torch.equal(a, b) for a, b in zip(free.weights(), loose.weights(), strict=True))


@pytest.mark.parametrize("kind", ["sgd", "momentum", "rmsprop", "adam", "adamw", "muon"])
def test_every_optimizer_learns_the_windows(kind: str) -> None:
    rate = 0.3 if kind in ("sgd", "momentum") else 0.01
    optimizer = OptimizerSettings(kind=kind, learning_rate=rate)
    trained = prepare(optimizer=optimizer, steps=30, batch_windows=WINDOWS).run()
    assert trained.records[-1]["loss"] < trained.records[0]["loss"] - 0.05


def test_the_rate_follows_the_schedule() -> None:
    schedule = ScheduleSettings(kind="linear", warmup=0.2)
    trained = prepare(steps=10, schedule=schedule).run()
    rates = [record["learning_rate_sgd"] for record in trained.records]
    assert rates == pytest.approx([0.5 * f for f in (0, 0.5, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8)])


@pytest.mark.parametrize(
    ("budget", "steps", "position"),
    [({"steps": 3}, 3, 12), ({"epochs": 1.0}, 4, 16), ({"epochs": 0.5}, 2, 8), ({"epochs": 1.1}, 5, 20)],
)
def test_budgets(budget: dict[str, Any], steps: int, position: int) -> None:
    trained = prepare(**budget).run()
    assert (trained.state.step, trained.state.position) == (steps, position)
    assert trained.task.source.asked == list(range(position))


def test_the_token_budget_counts_what_counts() -> None:
    trained = prepare(tokens=50).run()
    before = trained.records[-2]["tokens"]
    assert before < 50 <= trained.state.tokens
    assert trained.state.tokens == Windows().weights[: trained.state.position].sum()


def test_the_wall_clock_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(
        "zhixing.training.loop.time.perf_counter", lambda: clock.__setitem__(0, clock[0] + 3) or clock[0]
    )
    trained = prepare(minutes=0.5).run()  # each step takes three seconds of this clock
    assert (trained.state.step, trained.state.seconds) == (10, 30)
    assert spent_fraction(trained.task, trained.settings, trained.state) == 1


def test_the_first_budget_that_is_spent_ends_the_run() -> None:
    assert prepare(steps=2, tokens=10**9, epochs=50.0).run().state.step == 2
    assert prepare(steps=200, tokens=10**9, epochs=1.0).run().state.step == 4


def test_records_come_at_their_interval_and_at_the_end() -> None:
    trained = prepare(steps=7, log_every=3).run()
    assert [record["step"] for record in trained.records] == [3, 6, 7]
    single = prepare(steps=7).run()
    mean = np.mean([record["loss"] for record in single.records[:3]])
    assert trained.records[0]["loss"] == pytest.approx(mean)
    for name in ("tokens_per_second", "matmul_fraction", "resident_bytes", "joules", "seconds"):
        assert trained.records[0][name] > 0


def test_checkpoints_by_steps_and_by_time() -> None:
    assert prepare(steps=7, checkpoint_steps=3).run().saves == [3, 6]
    assert prepare(steps=3, checkpoint_minutes=1e-9).run().saves == [1, 2, 3]
    assert prepare(steps=3).run().saves == []


def test_early_stopping_counts_validations_without_gain() -> None:
    trained = prepare(steps=50, validate_every=2, patience=2)
    values = iter([3.0, 2.0, 2.5, 1.9, math.nan, 2.0, 1.0])
    modes = []

    def validate() -> dict[str, float]:
        modes.append(trained.task.model.training)
        return {"validation_loss": next(values)}

    trained.validate = validate
    trained.run()
    assert trained.state.step == 12
    assert (trained.state.best, trained.state.validations_without_gain) == (1.9, 2)
    assert trained.state.finished
    assert not any(modes)
    assert trained.task.model.training
    said = [record["step"] for record in trained.records if "validation_loss" in record]
    assert said == [2, 4, 6, 8, 10, 12]
    trained.run()  # a finished run does nothing more
    assert trained.state.step == 12


def test_no_patience_is_no_early_stopping() -> None:
    trained = prepare(steps=6, validate_every=1)
    assert trained.run().state.step == 6
    assert trained.state.validations_without_gain == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("checkpoint_steps", [0, 3])  # also where the step has a checkpoint of its own
def test_a_signal_stops_after_the_step_with_one_save(number: int, checkpoint_steps: int) -> None:
    def ring(call: int, total: torch.Tensor) -> torch.Tensor:
        if call == 5:  # the first of two micro-batches of step 3
            signal.raise_signal(number)
        return total

    before = signal.getsignal(number)
    trained = prepare(Spoiled(ring), steps=9, accumulation=2, checkpoint_steps=checkpoint_steps)
    with pytest.raises(Stopped) as stopped:
        trained.run()
    assert stopped.value.exit_code == 128 + number
    assert (trained.saves, trained.state.step, trained.state.position) == ([3], 3, 24)
    assert signal.getsignal(number) is before


def test_a_save_that_fails_costs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    trained = prepare(steps=3, checkpoint_steps=1)

    def full(step: int) -> None:
        if step == 2:
            raise CheckpointError("the disk is full")

    trained.save = full
    trained.run()
    assert (trained.saves, trained.state.step) == ([1, 3], 3)
    assert caplog.text.count("the disk is full; training goes on") == 1


def test_a_save_that_fails_when_a_signal_came_is_an_error() -> None:
    def ring(call: int, total: torch.Tensor) -> torch.Tensor:
        signal.raise_signal(signal.SIGTERM)
        return total

    trained = prepare(Spoiled(ring))

    def full(step: int) -> None:
        raise CheckpointError("the disk is full")

    trained.save = full
    with pytest.raises(CheckpointError):
        trained.run()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_skipped_and_counted(bad: float, caplog: pytest.LogCaptureFixture) -> None:
    def spoil(call: int, total: torch.Tensor) -> torch.Tensor:
        return total * bad if call in (2, 3, 5) else total

    trained = prepare(Spoiled(spoil), steps=6).run()
    assert (trained.state.step, trained.state.skipped, trained.state.skipped_in_a_row) == (6, 3, 0)
    assert trained.state.position == 24  # a skipped batch is not come back to
    assert all(p.isfinite().all() for p in trained.task.model.parameters())
    assert caplog.text.count("not finite; step skipped") == 3
    assert math.isnan(trained.records[1]["loss"])
    # The steps that count are those of a run without the spoiled batches.
    assert math.isfinite(trained.records[-1]["loss"])


def test_a_skipped_step_changes_nothing() -> None:
    one = prepare(Spoiled(lambda call, total: total * math.nan if call == 2 else total), steps=2).run()
    assert all(torch.equal(a, b) for a, b in zip(one.weights(), prepare(steps=1).run().weights(), strict=True))


def test_skipped_steps_do_not_spoil_the_mean_that_is_logged() -> None:
    def spoil(call: int, total: torch.Tensor) -> torch.Tensor:
        return total * math.nan if call == 2 else total

    trained = prepare(Spoiled(spoil), steps=3, log_every=3).run()
    assert math.isfinite(trained.records[0]["loss"])
    assert trained.records[0]["skipped"] == 1


def test_three_in_a_row_stop_the_run_and_the_last_good_state_stays_the_last() -> None:
    trained = prepare(
        Spoiled(lambda call, total: total * math.nan if call > 4 else total), steps=50, checkpoint_steps=1
    )
    with pytest.raises(Diverged, match=r"not finite 3 steps in a row \(the last was step 7\); lower .*rate"):
        trained.run()
    assert trained.saves == [1, 2, 3, 4]


def test_a_gradient_spike_is_clipped() -> None:
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, total: torch.Tensor) -> torch.Tensor:
            return total.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * 1e6

    trained = prepare(Spoiled(lambda _, total: Spike.apply(total)), steps=1)
    before = trained.weights()
    trained.run()
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, trained.weights(), strict=True)]).norm()
    assert trained.records[0]["gradient_norm"] > 1e5
    assert moved.item() == pytest.approx(0.5, rel=1e-3)  # rate x clip_norm
    assert trained.state.skipped == 0


def test_a_gradient_spike_beyond_all_numbers_is_skipped() -> None:
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, total: torch.Tensor) -> torch.Tensor:
            return total.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * 1e38 * 1e38

    trained = prepare(Spoiled(lambda call, total: Spike.apply(total) if call == 1 else total), steps=2).run()
    assert (trained.state.skipped, trained.state.step) == (1, 2)
    assert all(p.isfinite().all() for p in trained.task.model.parameters())


def test_a_batch_of_weight_zero_is_skipped_and_three_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    trained = prepare(Spoiled(lambda _, total: total, weight=0.0), steps=2).run()
    assert (trained.state.skipped, trained.state.tokens) == (2, 0)
    assert "nothing to predict, every weight is 0; step skipped" in caplog.text
    trained = prepare(Spoiled(lambda _, total: total, weight=0.0), steps=9)
    with pytest.raises(DataError, match="nothing to predict 3 steps in a row"):
        trained.run()


def test_what_a_source_raises_comes_through_and_the_signals_are_given_back() -> None:
    trained = prepare(steps=9)
    before = signal.getsignal(signal.SIGTERM)

    def broken(start: int, count: int) -> Batch:
        raise DataError(f"window {start} is damaged")

    trained.task.source.batch = broken
    with pytest.raises(DataError, match="window 0 is damaged"):
        trained.run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_clock_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    straight = prepare(steps=5).run()
    hour = iter(range(10**6, 0, -1))
    monkeypatch.setattr("time.time", lambda: 3600.0 * next(hour))
    back = prepare(steps=5, checkpoint_minutes=5.0).run()
    assert all(torch.equal(a, b) for a, b in zip(straight.weights(), back.weights(), strict=True))
    assert back.saves == []
    assert [r["seconds"] for r in back.records] == sorted(r["seconds"] for r in back.records)
    assert all(r["tokens_per_second"] > 0 for r in back.records)


def test_progress_of_a_resumed_run_starts_where_it_was(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zhixing.progress._SECONDS_BETWEEN_LINES", 0.0)
    trained = prepare(steps=10)
    trained.state.step = 8
    with caplog.at_level(logging.INFO, logger="zhixing"):
        trained.run()
    shares = [line.split(" %")[0] for line in caplog.messages if line.startswith("training")]
    assert shares == ["training 90", "training 100"]


def test_in_a_thread_signals_are_left_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(prepare(steps=2).run).result().state.step == 2


class Measured(CausalLM):
    """An objective with a metric of its own: how many predictions of the batch count."""

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        return Loss(super().loss(model, batch).total, {"counted": self.weight(batch)})


def test_an_objectives_metrics_are_averaged_over_micro_batches_and_steps() -> None:
    done = prepare(Measured("cpu"), steps=4, batch_windows=2, accumulation=2, log_every=2).run()
    counts = done.task.source.weights.sum(axis=1).reshape(8, 2).sum(axis=1)  # of each micro-batch, in order
    assert [record["counted"] for record in done.records] == pytest.approx([counts[:4].mean(), counts[4:8].mean()])
    assert "counted" not in prepare(steps=1).run().records[0]


def test_tokens_are_those_of_the_text_where_the_task_says_so() -> None:
    done = prepare(steps=3)
    done.task.tokens = lambda batch: batch.inputs.size
    done.run()
    assert done.state.tokens == 3 * 4 * LENGTH > prepare(steps=3).run().state.tokens
