"""Training a neural decoder from a recipe: sets up the task and connects the loop with files."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from zhixing.config import brought_up, differences, digest, to_yaml
from zhixing.data.settings import isolates
from zhixing.data.windows import TokenWindows
from zhixing.errors import ConfigError, ResumeError
from zhixing.evaluation.run import versions
from zhixing.language import tr
from zhixing.model_folder import Content
from zhixing.models.decoders import (
    DecoderSettings,
    build_decoder,
    from_config,
    load_tensors,
    parameter_count,
    to_config,
)
from zhixing.models.encoder import EncoderModel
from zhixing.models.llama import Llama
from zhixing.models.load import load
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.save import companion_files, neural_files
from zhixing.models.sentence_embedding import SentenceEncoder, pooling_files, tokenizer_files
from zhixing.nn.compiled import compiled
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.objectives import Questions, choose, fitted, resolve
from zhixing.pretraining.prepare import Ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.span_corruption import SpanSettings
from zhixing.pretraining.warm_start import count_pairs, warm_start
from zhixing.tokenizers.chat_template import ChatTemplate
from zhixing.training.checkpoints import Checkpoint, Checkpoints
from zhixing.training.loop import Hooks, Progress, Task, run
from zhixing.training.machine import EnergyMeter, Machine
from zhixing.training.metrics import MetricsLog
from zhixing.training.optimizers import Optimizer
from zhixing.training.state_trees import flatten_state, random_state, restore_random_state, unflatten_state

_log = logging.getLogger(__name__)
WARM_START_SHARE = 0.1
"""Of a budget of time, at most this much goes into the warm start."""


class NeuralRun:
    """One training run in a folder: build it, optionally restore it, then ``train``."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        ids: Ids,
        machine: Machine,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.recipe, self.folder, self.ids, self.machine = recipe, folder, ids, machine
        self._check_validation()
        self.settings = fitted(sized(recipe, ids.tokenizer.vocab_size), recipe.objective, ids.tokenizer)
        torch.manual_seed(recipe.seed)
        self.decoder = build_decoder(self.settings).to(machine.device)
        self.state = Progress()
        self._initialised = False
        keep = recipe.training.keep_checkpoints
        self.checkpoints = checkpoints or Checkpoints(folder / "training_state", keep=keep)
        self.pretraining = choose(
            recipe.objective, self.settings, ids.tokenizer, machine.device, recipe.seed, recipe.pairs_together
        )
        self.windows = training_windows(recipe, ids, self.settings)
        self.task = self._task()
        if self._can_validate:
            self.pretraining.questions(self._held_out_windows())  # what nothing can be asked about is refused now

    def initialise_from(self, path: Path) -> None:
        """Take the weights of another model; everything else starts anew.

        Raises:
            ConfigError: it has another shape or another tokenizer.
        """
        other = load(path)
        if not isinstance(other.model, NeuralLanguageModel | EncoderModel):
            raise ConfigError(
                tr(
                    f"--init-from {path}: a {other.model.family} model has no weights to start from",
                    f"--init-from {path}：{other.model.family} 模型没有可用作起点的权重",
                )
            )
        theirs: DecoderSettings = other.model.module.settings  # type: ignore[assignment]
        changed = differences(_shape(theirs), _shape(self.settings))
        if changed or other.tokenizer.fingerprint != self.ids.tokenizer.fingerprint:
            what = ", ".join(changed) or tr("the tokenizer", "分词器")
            raise ConfigError(
                tr(
                    f"--init-from {path}: it differs from the recipe in {what}; make the recipe equal",
                    f"--init-from {path}：与配方不同之处：{what}；请使二者一致",
                )
            )
        self.decoder.load_state_dict(other.model.module.state_dict())
        self._initialised = True

    def restore(self, checkpoint: Checkpoint, allow_changes: bool) -> None:
        """Put back everything a checkpoint holds.

        Raises:
            ResumeError: recipe, data or machine are not those of the run, and are named.
        """
        saved = checkpoint.state()
        contract = saved["contract"] | {"recipe": brought_up(Recipe, saved["contract"]["recipe"])}
        if listed := accepted_changes(contract, self.contract(), allow_changes):
            _log.warning(
                tr(
                    f"continued with changed settings, no longer the same run: {listed}",
                    f"以更改后的设置继续，已非同一次训练：{listed}",
                )
            )
        tree = unflatten_state(checkpoint.tensors("training"), saved["tree"])
        load_tensors(self.decoder, self.settings, checkpoint.tensors("model"), str(checkpoint.path))
        self.task.optimizer.load_state(tree["optimizer"])
        restore_random_state(tree["random"])
        self.state = Progress(**saved["progress"])
        self._initialised = saved["initialised"]
        first = self.state.position
        _log.info(
            tr(
                f"resumed at step {self.state.step}, window {first:,} of the global order",
                f"从第 {self.state.step} 步、全局顺序中的第 {first:,} 个窗口续训",
            )
        )

    def train(self) -> None:
        """Run the loop to its end, then validate."""
        settings = self.recipe.training
        cores = self.machine.threads
        meter = EnergyMeter(cores, settings.watts_per_core)
        metrics = MetricsLog(self.folder, tensorboard=settings.tensorboard, after_step=self.state.step)
        hooks = Hooks(metrics.write, self.save, self.validate, meter.joules)
        try:
            self._warm_up_compilation()
            self._warm_start()
            run(self.task, settings, self.machine, self.state, hooks)
            self.state.finished = True
            if self._can_validate:
                self.decoder.eval()
                done = {"step": self.state.step, "tokens": self.state.tokens, "seconds": self.state.seconds}
                metrics.write(done | self.validate())
        finally:
            metrics.close()

    def save(self) -> None:
        """Save a checkpoint: a whole model folder, and the state of everything else."""
        tree = {"optimizer": self.task.optimizer.state(), "random": random_state()}
        tensors, skeleton = flatten_state(tree)
        state = {"tree": skeleton, "progress": asdict(self.state), "contract": self.contract()}
        state["initialised"] = self._initialised
        self.checkpoints.save(self.state.step, {"training": tensors}, state, self.files())

    def files(self) -> dict[str, Content]:
        """Return the files of the model folder as the model stands now."""
        return {
            **neural_files(self.decoder, self.settings, self.ids.tokenizer.separator_id),
            **self._companions(),
            "recipe.yaml": to_yaml(self.recipe),
        }

    def _companions(self) -> dict[str, Content]:
        """Return what stands beside the model: the tokenizer, and how sentences are pooled."""
        tokenizer, pooling = self.ids.tokenizer, self.pretraining.pooling
        if pooling is None:
            return companion_files(tokenizer, ChatTemplate(tokenizer))
        # A sentence encoder holds no conversation.
        return companion_files(tokenizer) | tokenizer_files(tokenizer) | pooling_files(pooling, self.settings.width)

    def contract(self) -> dict[str, Any]:
        """Return what has to be equal for a resumed run to be the same run."""
        return {
            "recipe": self.recipe.model_dump(mode="json"),
            "data": self.ids.prepared.train.digest,
            "tokenizer": self.ids.tokenizer.fingerprint,
            "machine": self.machine.contract(),
        }

    def facts(self) -> dict[str, Any]:
        """Return what produced the model, for the manifest and the model card."""
        settings = self.recipe.training
        return {
            "family": self.settings.family,
            "parameters": parameter_count(self.settings),
            "recipe": digest(self.recipe),
            "data": self.ids.prepared.train.digest,
            "tokenizer": self.ids.tokenizer.fingerprint,
            "seed": self.recipe.seed,
            "tokens_seen": self.state.tokens,
            "windows_seen": max(self.state.position, self.state.counted),
            "steps": self.state.step,
            "training_seconds": round(self.state.seconds, 1),
            "machine": self.machine.describe(),
            "kilojoules": round(self.state.joules / 1000, 1),
            "energy_measured": EnergyMeter(self.machine.threads, settings.watts_per_core).measured,
            "versions": versions(),
            **({"pairs": self.recipe.text.pair_fields} if self.recipe.text.pair_fields else {}),
        }

    def validate(self) -> dict[str, float]:
        """Return mean loss (nats per token) and the objective's metrics on a fixed set of held-out windows."""
        windows = self._held_out_windows()
        questions, forward = self.pretraining.questions(windows), self.pretraining.with_loss(self.decoder)
        count = min(self.recipe.training.validation_windows, items_per_epoch(questions, windows))
        size = self.recipe.training.batch_windows
        total = weight = 0.0
        metrics: dict[str, float] = {}
        with torch.no_grad(), self.machine.autocast():
            for start in range(0, count, size):
                batch = questions.batch(start, min(size, count - start))
                found, counted = self.task.objective.loss(forward, batch), self.task.objective.weight(batch)
                total += float(found.total)
                weight += counted
                for name, value in found.metrics.items():
                    metrics[name] = metrics.get(name, 0.0) + value * counted
        means = {f"validation_{name}": value / weight for name, value in metrics.items()}
        return {"validation_loss": total / weight, **means}

    def _held_out_windows(self) -> TokenWindows:
        length, isolate = self.settings.context_length, self.windows.isolate_documents
        return TokenWindows(self.ids.prepared.validation, length, seed=0, isolate_documents=isolate)

    def sentences(self, most: int) -> tuple[SentenceEncoder, list[str]]:
        """Return a model of sentences as it stands, and at most so many held-out sentences for it."""
        encoder = SentenceEncoder(EncoderModel(self.decoder), self.ids.tokenizer, self.pretraining.pooling)
        if not self._can_validate:
            return encoder, []
        windows = TokenWindows(self.ids.prepared.validation, self.settings.context_length, seed=0)
        source = self.pretraining.questions(windows)
        batch = source.batch(0, min(most, items_per_epoch(source, windows)))
        tokenizer = self.ids.tokenizer
        rows = zip(batch.inputs, batch.lengths, strict=True)
        return encoder, [tokenizer.decode(int(token) for token in ids[:length]) for ids, length in rows]

    def _task(self) -> Task:
        source = self.pretraining.questions(self.windows)
        forward = self.pretraining.with_loss(self.decoder)
        if self.machine.compiled:
            forward = compiled(forward)
        return Task(
            model=self.decoder,
            forward=forward,
            objective=self.pretraining.objective,
            source=source,
            optimizer=Optimizer(self.decoder, self.recipe.training.optimizer),
            windows_per_epoch=items_per_epoch(source, self.windows),
            flops_per_token=flops_per_token(self.settings, self.recipe.objective),
            tokens=self.pretraining.tokens,
        )

    def _warm_start(self) -> None:
        """Fit embeddings and head to pair counts and build copying heads, once, on the clock of the run."""
        settings, decoder = self.recipe.warm_start, self.decoder
        wanted = settings.steps or settings.copying_heads
        if not wanted or self.state.step or self._initialised or not isinstance(decoder, Llama):
            return
        begin = time.perf_counter()
        self.state.counted = max(1, round(settings.share * self._windows_in_budget()))
        counts = count_pairs(self.windows.seen_ids(0, self.state.counted), decoder.settings.vocab_size or 0)
        minutes = self.recipe.training.minutes
        limit = None if minutes is None else WARM_START_SHARE * 60 * minutes
        warm_start(decoder, counts, settings, limit)
        self.state.seconds += time.perf_counter() - begin

    def _windows_in_budget(self) -> float:
        """Return how many windows the run will read; for a budget of time, at half the machine's ceiling."""
        t, context = self.recipe.training, self.settings.context_length
        estimates = [float(self.task.windows_per_epoch)]
        if t.minutes is not None:
            tokens_per_second = 0.5 * self.machine.matmul_rate / self.task.flops_per_token
            estimates.append(60 * t.minutes * tokens_per_second / context)
        if t.steps is not None:
            estimates.append(t.steps * t.batch_windows * t.accumulation)
        if t.tokens is not None:
            estimates.append(t.tokens / context)
        if t.epochs is not None:
            estimates.append(t.epochs * self.task.windows_per_epoch)
        return min(estimates)

    def _warm_up_compilation(self) -> None:
        """Compile before the clock starts, without touching weights or random state."""
        if not self.machine.compiled:
            return
        before = random_state()
        batch = self.task.source.batch(0, self.recipe.training.batch_windows)
        with self.machine.autocast():
            self.task.objective.loss(self.task.forward, batch).total.backward()  # type: ignore[no-untyped-call]
        self.decoder.zero_grad(set_to_none=True)
        restore_random_state(before)

    @property
    def _can_validate(self) -> bool:
        return self.ids.prepared.validation.token_count > 1

    def _check_validation(self) -> None:
        if self.recipe.training.validate_every and not self._can_validate:
            raise ConfigError(
                tr(
                    "training.validate_every: no text is held out to validate on; "
                    "give more text, raise text.validation_fraction, or set it to 0",
                    "training.validate_every：没有可供验证的留出文本；"
                    "请增加文本、提高 text.validation_fraction，或将其设为 0",
                )
            )


def _shape(settings: DecoderSettings) -> dict[str, Any]:
    """Return what decides the weights' shapes and meaning, with what the settings leave open filled in."""
    whole = from_config(settings.family, to_config(settings, separator_id=0))
    return whole.model_dump(exclude={"dropout", "target_length", "gap_ids"})


def accepted_changes(saved: Mapping[str, Any], now: Mapping[str, Any], allow_changes: bool) -> str:
    """Return how the contract of a run has changed, in words; empty: not at all.

    Changes of ``training`` (but for the kind of optimizer: another has another state) and of the machine may
    be allowed.

    Raises:
        ResumeError: there are changes, and they are not allowed.
    """
    changed = differences(saved, now)
    listed = "; ".join(f"{name}: {old!r} → {new!r}" for name, (old, new) in changed.items())
    soft = all(
        name.startswith(("recipe.training.", "machine.")) and name != "recipe.training.optimizer.kind"
        for name in changed
    )
    if soft and (allow_changes or not changed):
        return listed
    advice = tr(
        "restore them, or start a new run from these weights: zhixing train --init-from",
        "请恢复原设置，或用这些权重开始新的训练：zhixing train --init-from",
    )
    if soft:
        advice += tr(", or accept them with --allow-changes", "，或用 --allow-changes 接受更改")
    raise ResumeError(
        tr(f"the run cannot be resumed, changed: {listed}; {advice}", f"无法续训，已更改：{listed}；{advice}")
    )


def training_windows(recipe: Recipe, ids: Ids, settings: DecoderSettings) -> TokenWindows:
    """Return the windows of the training text, in the order in which a run reads them."""
    shards, data, context = ids.prepared.train, recipe.data, settings.context_length
    isolate = isolates(data.isolate_documents, shards.document_count, shards.token_count, context)
    of_gaps = isinstance(resolve(recipe.objective, settings.family), SpanSettings)
    if isolate and of_gaps and data.isolate_documents == "auto":
        isolate = False
        _log.info(
            tr(
                "a window with gaps is one text: the documents in it are not hidden from each other "
                "(data.isolate_documents: yes would show one of them and leave out the others)",
                "带空缺的窗口视为一段文本：其中的文档不互相隐藏（data.isolate_documents: yes 则每个窗口只取其中一篇）",
            )
        )
    return TokenWindows(shards, context, recipe.seed, data.shuffle, isolate)


def items_per_epoch(source: Questions, windows: TokenWindows) -> int:
    """Return how many positions one pass over the text has: windows, unless a source counts other things."""
    return int(getattr(source, "items_per_epoch", windows.windows_per_epoch))


def sized(recipe: Recipe, vocab_size: int) -> DecoderSettings:
    """Return the recipe's model with its vocabulary filled in.

    Raises:
        ConfigError: the recipe names a smaller one than the tokenizer has.
    """
    settings = recipe.model
    assert isinstance(settings, DecoderSettings)
    if settings.vocab_size is None:
        return settings.replace(vocab_size=vocab_size)
    if settings.vocab_size < vocab_size:
        raise ConfigError(
            tr(
                f"model.vocab_size = {settings.vocab_size} is smaller than the tokenizer's {vocab_size}; "
                "leave it empty",
                f"model.vocab_size = {settings.vocab_size} 小于分词器的 {vocab_size}；请留空",
            )
        )
    return settings
