"""One contender of ``benchmarks/train.py``, run as a process of its own: ``ours``, ``trainer`` or ``litgpt``.

All train a decoder of the same shape on the same windows of the same ids. Two tasks:

- ``speed``: a fixed number of steps with AdamW, clipping, float32; prints tokens/s over the steps after the first few.
- ``learn``: a wall-clock budget, each with the settings its authors recommend; prints the validation loss.

Prints one JSON object. Not imported by the driver, so that no contender's imports burden another.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

COUNTED_WINDOWS = 200
WARM_UP = 3


class Windows:
    """Ids cut into windows, in a fixed random order; the same for every contender."""

    def __init__(self, ids: np.ndarray, context: int) -> None:
        self.ids, self.context = ids.astype(np.int64), context
        self.order = np.random.default_rng(0).permutation((len(ids) - 1) // context)

    def row(self, position: int) -> np.ndarray:
        start = int(self.order[position % len(self.order)]) * self.context
        return self.ids[start : start + self.context + 1]

    def rows(self, start: int, count: int) -> np.ndarray:
        return np.stack([self.row(start + i) for i in range(count)])


def timed(clock: list[float], job: SimpleNamespace) -> dict[str, float]:
    """Return tokens/s over the steps after the warm-up, from the times at which steps ended."""
    steps = len(clock) - 1 - WARM_UP
    return {"tokens_per_second": steps * job.batch * job.context / (clock[-1] - clock[WARM_UP])}


def ours(job: SimpleNamespace, train: Windows, held_out: Windows) -> dict[str, float]:
    """This project: its loop, its GPT-2 (speed), its default recipe (learn)."""
    from zhixing.data.windows import Batch
    from zhixing.models.decoders import build_decoder
    from zhixing.models.gpt2 import GPT2Settings
    from zhixing.models.llama import LlamaSettings
    from zhixing.pretraining.causal import CausalLM, DecoderWithLoss
    from zhixing.pretraining.cost import flops_per_token
    from zhixing.training.loop import Hooks, Progress, Task, run
    from zhixing.training.machine import probe
    from zhixing.training.optimizers import Optimizer, OptimizerSettings
    from zhixing.training.settings import TrainingSettings

    shape = {"vocab_size": job.vocab, "context_length": job.context, "layers": 6, "width": 384, "heads": 6}
    learning = job.task == "learn"
    if learning:
        model_settings = LlamaSettings(**shape, inner_width=1024, dropout=job.dropout, rotary_theta=1e6)
        rates = OptimizerSettings(matrix_learning_rate=0.006, learning_rate=0.03)
        settings = TrainingSettings(minutes=job.seconds / 60, batch_windows=job.batch, optimizer=rates, log_every=1)
    else:
        model_settings = GPT2Settings(**shape, dropout=job.dropout)
        adamw = OptimizerSettings(kind="adamw", learning_rate=5e-4, weight_decay=0.1)
        settings = TrainingSettings(
            steps=job.steps + WARM_UP, batch_windows=job.batch, optimizer=adamw, log_every=1, compile=job.compile
        )
    machine = probe(settings)
    torch.manual_seed(0)
    model = build_decoder(model_settings)
    if learning:
        settings = settings.replace(minutes=(job.seconds - start_warm(model, train)) / 60)
    forward = torch.compile(DecoderWithLoss(model)) if machine.compiled else DecoderWithLoss(model)

    class Source:
        def batch(self, start: int, count: int) -> Batch:
            rows = train.rows(start, count)
            weights = np.ones((count, job.context), np.float32)
            return Batch(rows[:, :-1].copy(), rows[:, 1:].copy(), weights)

    objective = CausalLM("cpu")
    task = Task(
        model, forward, objective, Source(), Optimizer(model, settings.optimizer), len(train.order),
        flops_per_token(model_settings),
    )  # fmt: skip
    clock = [time.perf_counter()]
    hooks = Hooks(lambda _: clock.append(time.perf_counter()), lambda: None, lambda: {}, lambda: 0.0)
    if machine.compiled:
        objective.loss(forward, task.source.batch(0, job.batch)).total.backward()
        model.zero_grad()
        clock = [time.perf_counter()]
    run(task, settings, machine, Progress(), hooks)
    model.eval()
    wrapped = DecoderWithLoss(model)
    result = {"parameters": sum(p.numel() for p in model.parameters()), "flops_per_token": task.flops_per_token}
    if learning:

        def loss_of(x: torch.Tensor, y: torch.Tensor) -> float:
            return float(wrapped(x, y.flatten(), None, None, None)) / y.numel()

        return result | {"validation_loss": validate(job, held_out, loss_of), "steps": len(clock) - 1}
    return result | timed(clock, job)


def start_warm(model: torch.nn.Module, train: Windows) -> float:
    """Start as ``recipes/gpt.yaml`` does, on the first windows that will be read; return the seconds it took."""
    from zhixing.pretraining.warm_start import WarmStartSettings, count_pairs, warm_start

    began = time.perf_counter()
    counts = count_pairs(train.rows(0, COUNTED_WINDOWS), model.settings.vocab_size)
    warm_start(model, counts, WarmStartSettings(steps=40, copying_heads=True))
    return time.perf_counter() - began


def trainer(job: SimpleNamespace, train: Windows, held_out: Windows) -> dict[str, float]:
    """Hugging Face Trainer and its GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=job.vocab, n_positions=job.context, n_embd=384, n_layer=6, n_head=6,
            embd_pdrop=job.dropout, resid_pdrop=job.dropout, attn_pdrop=job.dropout, use_cache=False,
            bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            ids = torch.from_numpy(train.row(index)[:-1].copy())
            return {"input_ids": ids, "labels": ids}

    clock = [time.perf_counter()]
    deadline = time.perf_counter() + job.seconds

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            clock.append(time.perf_counter())
            if job.task == "learn" and clock[-1] > deadline:
                control.should_training_stop = True

    steps = job.planned if job.task == "learn" else job.steps + WARM_UP
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=job.batch, max_steps=steps, learning_rate=5e-4, weight_decay=0.1,
            lr_scheduler_type="cosine", warmup_steps=max(1, steps // 50), adam_beta2=0.95, max_grad_norm=1.0,
            save_strategy="no", report_to=[], logging_strategy="no", disable_tqdm=True, use_cpu=True, seed=0,
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=Rows(), callbacks=[Clock()]).train()
    model.eval()
    result = {"parameters": sum(p.numel() for p in model.parameters())}
    if job.task == "learn":

        def loss_of(x: torch.Tensor, y: torch.Tensor) -> float:
            return float(torch.nn.functional.cross_entropy(model(x).logits.flatten(0, 1), y.flatten()))

        return result | {"validation_loss": validate(job, held_out, loss_of), "steps": len(clock) - 1}
    return result | timed(clock, job)


def litgpt(job: SimpleNamespace, train: Windows, held_out: Windows) -> dict[str, float]:
    """LitGPT's model and loss in the Fabric loop of its ``pretrain`` command. It has no dropout."""
    from lightning.fabric import Fabric
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    torch.set_num_threads(job.threads)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.seed_everything(0, verbose=False)
    config = Config(
        name="same-shape", block_size=job.context, vocab_size=job.vocab, padded_vocab_size=job.vocab, n_layer=6,
        n_head=6, n_embd=384, rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=1024,
    )  # fmt: skip
    model = fabric.setup(GPT(config))
    optimizer = fabric.setup_optimizers(
        torch.optim.AdamW(model.parameters(), lr=4e-4, weight_decay=0.1, betas=(0.9, 0.95), fused=True)
    )
    steps = job.planned if job.task == "learn" else job.steps + WARM_UP
    warm = max(1, steps // 50)
    deadline = time.perf_counter() + job.seconds
    clock = [time.perf_counter()]
    for step in range(steps):
        cosine = 0.5 * (1 + np.cos(np.pi * max(0, step - warm) / max(1, steps - warm)))
        for group in optimizer.param_groups:
            group["lr"] = 4e-5 + (4e-4 - 4e-5) * cosine if step >= warm else 4e-4 * (step + 1) / warm
        rows = torch.from_numpy(train.rows(step * job.batch, job.batch))
        loss = chunked_cross_entropy(model(rows[:, :-1].contiguous()), rows[:, 1:].contiguous())
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.append(time.perf_counter())
        if job.task == "learn" and clock[-1] > deadline:
            break
    model.eval()
    result = {"parameters": sum(p.numel() for p in model.parameters())}
    if job.task == "learn":

        def loss_of(x: torch.Tensor, y: torch.Tensor) -> float:
            return float(chunked_cross_entropy(model(x), y, chunk_size=0))

        return result | {"validation_loss": validate(job, held_out, loss_of), "steps": len(clock) - 1}
    return result | timed(clock, job)


def validate(job: SimpleNamespace, held_out: Windows, loss_of) -> float:
    """Return the mean loss, nats per token, on the first held-out windows."""
    losses = []
    with torch.no_grad():
        for start in range(0, min(48, len(held_out.order)), 8):
            rows = torch.from_numpy(held_out.rows(start, 8))
            losses.append(loss_of(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()))
    return float(np.mean(losses))


def main() -> None:
    job = SimpleNamespace(**json.loads(sys.argv[1]))
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(job.threads)
    ids = Path(job.ids)
    train = Windows(np.load(ids / "train.npy", mmap_mode="r"), job.context)
    held_out = Windows(np.load(ids / "validation.npy", mmap_mode="r"), job.context)
    result = {"ours": ours, "trainer": trainer, "litgpt": litgpt}[job.contender](job, train, held_out)
    result["peak_resident_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
