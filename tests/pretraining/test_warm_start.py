"""The warm start: a decoder that knows the pairs before it has read a text, and that owns up to what was counted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zhixing.config import load_settings
from zhixing.errors import ConfigError, Stopped
from zhixing.models.decoders import build_decoder
from zhixing.models.llama import Llama, LlamaSettings
from zhixing.pretraining import warm_start
from zhixing.pretraining.neural import NeuralRun
from zhixing.pretraining.prepare import Ids, prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train
from zhixing.pretraining.warm_start import WarmStartSettings, bigram_table, count_pairs, fit_loss, start_as_bigram
from zhixing.training.machine import Machine
from zhixing.training.objective import Loss

VOCABULARY = 20


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path, ["training.steps=6", "warm_start.steps=5"])


@pytest.fixture(scope="module")
def ids_folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ids")
    prepare_ids(recipe, folder)
    return folder


@pytest.fixture(scope="module")
def ids(recipe: Recipe, ids_folder: Path) -> Ids:
    return prepare_ids(recipe, ids_folder)


def model() -> Llama:
    torch.manual_seed(0)
    built = build_decoder(LlamaSettings(vocab_size=VOCABULARY, width=32, layers=1, heads=2, inner_width=32))
    assert isinstance(built, Llama)
    return built.eval()


def chain(seen: int = VOCABULARY, length: int = 4000) -> torch.Tensor:
    """Counts of a Markov chain over the first ``seen`` ids."""
    rng = np.random.default_rng(0)
    steps = rng.dirichlet(np.full(seen, 0.2), seen)
    ids = [0]
    for _ in range(length):
        ids.append(int(rng.choice(seen, p=steps[ids[-1]])))
    return count_pairs([np.array(ids)], VOCABULARY)


def log_probs_after_one_id(decoder: Llama) -> torch.Tensor:
    """(V, V): what the whole model expects after each id alone."""
    with torch.no_grad():
        hidden = decoder(torch.arange(VOCABULARY)[:, None])[:, 0]
        return (hidden @ decoder.head_weight.T).log_softmax(-1)


def loss_on(decoder: Llama, counts: torch.Tensor) -> tuple[float, float]:
    """Return (loss of the whole model on single ids, the table's own cross-entropy), in nats per token."""
    table, share = bigram_table(counts), counts.sum(1) / counts.sum()
    losses = [-(share * (table * scores).sum(1)).sum() for scores in (log_probs_after_one_id(decoder), table.log())]
    return float(losses[0]), float(losses[1])


def test_pairs_are_counted_within_windows_only() -> None:
    counts = count_pairs([np.array([0, 1, 1, 2]), np.array([2, 0, 1])], 4)
    assert counts.tolist() == [[0, 2, 0, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_the_model_itself_becomes_the_bigram_table() -> None:
    """Not only the two matrices: the blocks of a new model write nothing, so that it predicts as they do."""
    decoder, counts = model(), chain()
    before, floor = loss_on(decoder, counts)
    reached = start_as_bigram(decoder, counts, WarmStartSettings(steps=100))
    after, _ = loss_on(decoder, counts)
    assert before > floor + 1
    assert floor < after < floor + 0.02
    assert reached == pytest.approx(after, abs=0.05)


def test_ids_that_were_never_seen_stay_possible() -> None:
    decoder, counts = model(), chain(seen=10)
    assert (bigram_table(counts) > 0).all()
    start_as_bigram(decoder, counts, WarmStartSettings(steps=100))
    probabilities = log_probs_after_one_id(decoder).exp()
    assert probabilities.min() > 1e-6
    # and rare: what is never seen at all gets no more than the lower order leaves
    assert probabilities[:10, 10:].sum(1).max() < 0.1


def test_a_cap_of_time_reduces_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []

    def counted(*arguments: Any) -> Any:
        calls.append(None)
        return fit_loss(*arguments)

    monkeypatch.setattr(warm_start, "fit_loss", counted)
    done = []
    for seconds in (None, 1e9, 0.0):
        start_as_bigram(model(), chain(), WarmStartSettings(steps=12), seconds)
        done.append(len(calls))
        calls.clear()
    assert done == [12, 12, 1]


@pytest.mark.parametrize(
    "model_settings",
    [
        "{family: gpt2, context_length: 32, layers: 1, width: 16, heads: 2}",
        "{family: ngram, order: 3}",
        "{family: mixture, members: [a, b]}",
        "{family: llama, tied: true}",
    ],
)
def test_only_an_untied_llama_can_start_so(tmp_path: Path, model_settings: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(f"name: r\nmodel: {model_settings}\nwarm_start: {{steps: 5}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"warm_start\.steps' = 5: needs model\.family llama with tied: false"):
        load_settings(Recipe, path)
    load_settings(Recipe, path, ["warm_start.steps=0"])


def neural(recipe: Recipe, folder: Path, ids: Ids) -> NeuralRun:
    machine = Machine(device="cpu", precision="float32", compiled=False, threads=1, matmul_rate=1e15)
    return NeuralRun(recipe, folder, ids, machine)


def test_what_was_counted_is_owned_up_to(recipe: Recipe, ids: Ids, tmp_path: Path) -> None:
    """A machine that was thought to be fast counts much, and then reads little."""
    hasty = recipe.replace(
        training=recipe.training.replace(steps=None, minutes=1e-6),
        warm_start=recipe.warm_start.replace(share=1.0),
    )
    run = neural(hasty, tmp_path, ids)
    run.train()
    assert run.state.position < run.state.counted == run.task.windows_per_epoch
    assert run.facts()["windows_seen"] == run.state.counted
    reads_more = neural(recipe, tmp_path, ids)
    reads_more.train()
    assert 0 < reads_more.state.counted < reads_more.state.position
    assert reads_more.facts()["windows_seen"] == reads_more.state.position == 24


def test_a_warm_started_run_resumes_bit_for_bit(recipe: Recipe, ids_folder: Path, tmp_path: Path) -> None:
    long = recipe.replace(warm_start=recipe.warm_start.replace(share=1.0))
    whole = train(long, tmp_path / "whole", ids_folder=ids_folder, announce=False)
    cold = long.replace(warm_start=long.warm_start.replace(steps=0))
    train(cold, tmp_path / "cold", ids_folder=ids_folder, announce=False)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Stopped):
        stop_in_batch(monkeypatch, 5)
        train(long, tmp_path / "run", ids_folder=ids_folder, announce=False)
    resumed = resume(tmp_path / "run")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole", "cold")]
    assert weights[0] == weights[1] != weights[2]
    assert resumed.facts["windows_seen"] == whole.facts["windows_seen"]


def stop_in_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    import signal

    from zhixing.pretraining.causal import CausalLM

    plain, calls = CausalLM.loss, [0]

    def loss(self: CausalLM, module: Any, batch: Any) -> Loss:
        calls[0] += 1
        if calls[0] == number:
            signal.raise_signal(signal.SIGTERM)
        return plain(self, module, batch)

    monkeypatch.setattr(CausalLM, "loss", loss)
