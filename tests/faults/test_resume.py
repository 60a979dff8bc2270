"""Exact resume (C5, C6, T2): killed or stopped anywhere, a run ends as if it had not been, or is refused."""

import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from zhixing.config import load_settings, to_yaml
from zhixing.data.windows import TokenWindows
from zhixing.errors import CheckpointError, ConfigError, DataError, ResumeError, Stopped
from zhixing.model_folder import verify_folder
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.neural import NeuralRun
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run import resume, train
from zhixing.training.checkpoints import Checkpoint
from zhixing.training.metrics import read_metrics

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork servers are POSIX")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe(tiny_yaml: str, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(tiny_yaml, encoding="utf-8")
    return load_settings(Recipe, path)


@pytest.fixture(scope="module")
def ids(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ids")
    prepare_ids(recipe, folder)
    return folder


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    return recipe.replace(training=recipe.training.replace(**changes))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# --- killed and signalled: real processes -----------------------------------------------------------------


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Children that start in a moment, because the server they are forked from has imported everything."""
    spec = importlib.util.spec_from_file_location("watched_program", Path(__file__).with_name("watched_program.py"))
    assert spec is not None and spec.loader is not None
    sys.modules["watched_program"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["watched_program"])
    sys.path.insert(0, str(Path(__file__).parent))  # children import it by name
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["watched_program", "zhixing.pretraining.neural", "zhixing.cli.train", "torch._dynamo"]
    )
    yield context
    sys.path.remove(str(Path(__file__).parent))


class Runs:
    """One run folder, worked on by one process after another."""

    def __init__(self, context: ForkServerContext, folder: Path, recipe: Recipe, ids: Path) -> None:
        self.context, self.out, self.windows, self.errors = (
            context,
            folder / "run",
            folder / "w",
            folder / "e",
        )
        self.windows.touch()
        path = folder / "recipe.yaml"
        path.write_text(to_yaml(recipe), encoding="utf-8")
        self.train = ["train", str(path), "--out", str(self.out), "--ids", str(ids)]
        self.resume = ["resume", str(self.out)]

    def start(self) -> BaseProcess:
        program = sys.modules["watched_program"].run
        words = self.resume if (self.out / "recipe.yaml").exists() else self.train
        process = self.context.Process(target=program, args=(words, str(self.windows), str(self.errors)))
        process.start()
        return process

    def finish(self) -> int | None:
        process = self.start()
        process.join(60)
        return process.exitcode

    def wait_for(self, process: BaseProcess, lines: int) -> None:
        """Wait until so many lines more were written, or the process ended."""
        goal = len(self.lines()) + lines
        while len(self.lines()) < goal and process.exitcode is None:
            process.join(0.001)

    def lines(self) -> list[str]:
        return self.windows.read_text(encoding="utf-8").splitlines()

    def consumed(self) -> list[str]:
        """Return the batches that made the final weights: a resumed run takes back what was not saved."""
        kept: list[str] = []
        starts: list[int] = []
        for line in self.lines():
            start = int(line.split()[0])
            while starts and starts[-1] >= start:
                starts.pop()
                kept.pop()
            starts.append(start)
            kept.append(line)
        return kept


@pytest.fixture(scope="module")
def long(recipe: Recipe) -> Recipe:
    return changed(recipe, steps=44, checkpoint_steps=4, validate_every=7)


@pytest.fixture(scope="module")
def unbroken(processes: ForkServerContext, long: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    runs = Runs(processes, tmp_path_factory.mktemp("unbroken"), long, ids)
    assert runs.finish() == 0
    assert [int(line.split()[0]) for line in runs.lines()] == list(range(0, 176, 2))
    return runs


def test_killed_at_random_points_it_ends_bit_for_bit_the_same(
    unbroken: Runs, processes: ForkServerContext, long: Recipe, ids: Path, tmp_path: Path
) -> None:
    draw = random.Random(0)
    runs = Runs(processes, tmp_path, long, ids)
    kills = 0
    while kills < 6:
        process = runs.start()
        runs.wait_for(process, draw.randint(1, 20))
        time.sleep(draw.uniform(0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode in (-signal.SIGKILL, 0)
        if process.exitcode == 0:
            break
        kills += 1
    assert kills >= 3
    if not (runs.out / "MANIFEST.json").exists():
        assert runs.finish() == 0
    assert runs.consumed() == unbroken.lines()
    assert weights(runs.out) == weights(unbroken.out)
    assert verify_folder(runs.out) == []
    assert not (runs.out / "training_state").exists()
    losses = [
        [(r["step"], r.get("loss"), r.get("validation_loss")) for r in read_metrics(o)]
        for o in (runs.out, unbroken.out)
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_at_once_and_the_run_goes_on(
    unbroken: Runs,
    processes: ForkServerContext,
    long: Recipe,
    ids: Path,
    tmp_path: Path,
    number: int,
    code: int,
) -> None:
    runs = Runs(processes, tmp_path, changed(long, checkpoint_steps=0), ids)
    process = runs.start()
    runs.wait_for(process, 21)
    begin = time.monotonic()
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == code
    assert time.monotonic() - begin < 10
    assert "stopped; the state is saved" in runs.errors.read_text(encoding="utf-8")
    count = len(runs.lines())
    assert runs.finish() == 0
    assert runs.lines()[:count] + runs.lines()[count:] == unbroken.lines()  # nothing was done twice
    assert weights(runs.out) == weights(unbroken.out)


def test_a_second_process_is_refused_and_disturbs_nothing(
    processes: ForkServerContext, long: Recipe, ids: Path, tmp_path: Path
) -> None:
    runs = Runs(processes, tmp_path, changed(long, steps=400), ids)
    process = runs.start()
    try:
        runs.wait_for(process, 20)
        before = read_metrics(runs.out)
        with pytest.raises(CheckpointError, match=rf"process {process.pid} is saving into .*training_state"):
            resume(runs.out)
        with pytest.raises(ConfigError, match="holds a run already"):
            train(long, runs.out, ids_folder=ids)
        assert read_metrics(runs.out)[: len(before)] == before
        runs.wait_for(process, 6)
        assert process.exitcode is None
    finally:
        process.kill()
        process.join()


# --- stopped at chosen places: in this process ------------------------------------------------------------


@pytest.fixture(scope="module")
def straight(recipe: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unbroken run of 24 steps of 2 x 2 windows, validated at every eighth step."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("straight") / "run"
    train(changed(recipe, validate_every=8), out, ids_folder=ids, announce=False)
    return out


Ring = Callable[[pytest.MonkeyPatch], None]


def at_window(start: int) -> Ring:
    """Ask to stop when the batch that begins at ``start`` is fetched."""

    def ring(monkeypatch: pytest.MonkeyPatch) -> None:
        plain = TokenWindows.batch

        def batch(self: TokenWindows, first: int, count: int) -> Any:
            if first == start and self.shards.folder.name == "train":
                signal.raise_signal(signal.SIGTERM)
            return plain(self, first, count)

        monkeypatch.setattr(TokenWindows, "batch", batch)

    return ring


def in_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = NeuralRun.validate

    def validate(self: NeuralRun) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        return plain(self)

    monkeypatch.setattr(NeuralRun, "validate", validate)


def stop(recipe: Recipe, out: Path, ids: Path, ring: Ring) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Stopped):
        ring(monkeypatch)
        train(recipe, out, ids_folder=ids, announce=False)


@pytest.fixture(scope="module")
def epoch(recipe: Recipe, ids: Path) -> int:
    """Windows in an epoch."""
    return TokenWindows(prepare_ids(recipe, ids).prepared.train, 32, 0).windows_per_epoch


@pytest.mark.parametrize(
    "place",
    [
        "step 1",
        "second micro-batch",
        "last of the epoch",
        "first of the next",
        "after validation",
        "last step",
    ],
)
def test_stopped_at_awkward_places(
    straight: Path, recipe: Recipe, ids: Path, tmp_path: Path, epoch: int, place: str
) -> None:
    last = (epoch - 1) // 4 * 4  # the first window of the step that holds the epoch's last window
    assert 16 < epoch < 90
    rings = {
        "step 1": at_window(0),
        "second micro-batch": at_window(14),
        "last of the epoch": at_window(last),
        "first of the next": at_window(last + 4),
        "after validation": in_validation,
        "last step": at_window(92),
    }
    stop(changed(recipe, validate_every=8), tmp_path / "run", ids, rings[place])
    random.seed(99)
    torch.manual_seed(99)  # what this process did meanwhile does not matter
    resume(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(straight)


def test_stopped_around_the_warm_start(recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    warm = recipe.replace(warm_start=recipe.warm_start.replace(steps=3))
    train(warm, tmp_path / "whole", ids_folder=ids, announce=False)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        # a death in the warm start: only the untrained state is saved
        monkeypatch.setattr(
            "zhixing.pretraining.neural.warm_start", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        train(warm, tmp_path / "before", ids_folder=ids, announce=False)
    stop(warm, tmp_path / "after", ids, at_window(0))
    for name in ("before", "after"):
        resume(tmp_path / name)
        assert weights(tmp_path / name) == weights(tmp_path / "whole")


def test_stopped_and_resumed_again_and_again(straight: Path, recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stop(changed(recipe, validate_every=8), out, ids, at_window(8))
    for start in (16, 20, 60):
        with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Stopped):
            at_window(start)(monkeypatch)
            resume(out)
    resume(out)
    assert weights(out) == weights(straight)


def test_a_damaged_newest_checkpoint_costs_a_few_steps_and_no_bit(
    straight: Path, recipe: Recipe, ids: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    stop(changed(recipe, validate_every=8, checkpoint_steps=4), out, ids, at_window(40))
    newest = sorted((out / "training_state").glob("step-*"))[-1]
    assert newest.name == "step-00000011"
    file = newest / "training.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    resume(out, overrides=())
    assert "checkpoint step 11 is damaged and passed over" in caplog.text
    assert str(file) in caplog.text
    assert weights(out) == weights(straight)


def test_no_whole_checkpoint_is_an_error(stopped: Path, tmp_path: Path) -> None:
    for file in (stopped / "training_state").rglob("state.json"):
        file.write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints is whole"):
        resume(stopped)


# --- refused ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_once(recipe: Recipe, ids: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("stopped") / "run"
    stop(recipe, out, ids, at_window(20))
    return out


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of a run that was stopped at step 6 of 24."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


@pytest.mark.parametrize(
    ("override", "named", "soft"),
    [
        ("training.batch_windows=4", "recipe.training.batch_windows: 2 → 4", True),
        ("training.threads=2", "recipe.training.threads: 1 → 2", True),
        ("training.optimizer.kind=adamw", "recipe.training.optimizer.kind: 'muon' → 'adamw'", False),
        ("seed=1", "recipe.seed: 0 → 1", False),
        ("model.layers=3", "recipe.model.layers: 2 → 3", False),
        ("model={family: gpt2}", "recipe.model.family: 'llama' → 'gpt2'", False),
        ("data.shuffle=false", "recipe.data.shuffle: True → False", False),
        ("tokenizer.kind=character", "recipe.tokenizer.kind: 'byte' → 'character'", False),
        ("text.paths=[elsewhere]", "recipe.text.paths: ", False),
    ],
)
def test_changes_are_refused_by_name_before_anything_is_touched(
    stopped: Path, ids: Path, override: str, named: str, soft: bool
) -> None:
    before = {
        path: path.stat().st_mtime_ns for folder in (stopped, ids) for path in folder.rglob("*") if path.is_file()
    }
    with pytest.raises(ResumeError) as refused:
        resume(stopped, overrides=[override])
    assert refused.value.exit_code == 2
    assert named in str(refused.value)
    assert ("--allow-changes" in str(refused.value)) == soft
    assert "--init-from" in str(refused.value)
    if not soft:
        with pytest.raises(ResumeError):
            resume(stopped, overrides=[override], allow_changes=True)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {p for p in before if before[p] != after[p]} <= {stopped / "training_state" / ".lock"}


def test_a_recipe_that_was_edited_is_refused(stopped: Path) -> None:
    path = stopped / "recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("seed: 0", "seed: 5"), encoding="utf-8")
    with pytest.raises(ResumeError, match="seed: 0 → 5"):
        resume(stopped)


def test_a_run_begun_by_an_earlier_version_goes_on(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that the version which began the run did not know has the default that the run has followed."""

    def earlier(self: Checkpoint, own=Checkpoint.state) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        state = own(self)
        del state["contract"]["recipe"]["text"]["encoding"]
        return state

    monkeypatch.setattr(Checkpoint, "state", earlier)
    assert resume(stopped).folder == stopped


def test_another_machine_is_refused_by_name(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhixing.training.machine.torch.__version__", "9.9")
    with pytest.raises(ResumeError, match=r"machine.torch: .* → '9.9'.*--allow-changes"):
        resume(stopped)


def test_allowed_changes_are_logged_and_kept(stopped: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Stopped):
        at_window(32)(monkeypatch)
        resume(stopped, overrides=["training.batch_windows=4", "training.steps=10"], allow_changes=True)
    said = next(line for line in caplog.messages if "no longer the same run" in line)
    assert "recipe.training.batch_windows: 2 → 4; " in said or said.endswith("recipe.training.batch_windows: 2 → 4")
    assert "recipe.training.steps: 24 → 10" in said
    resume(stopped)  # from now on this is the run: nothing to allow
    facts = json.loads((stopped / "MANIFEST.json").read_text(encoding="utf-8"))["facts"]
    assert (facts["steps"], facts["windows_seen"]) == (10, 24 + 4 * 8)
    assert load_settings(Recipe, stopped / "recipe.yaml").training.batch_windows == 4


def test_other_text_is_refused_and_the_old_text_is_welcome_again(
    recipe: Recipe, tiny_text: Path, tmp_path: Path
) -> None:
    text = Path(shutil.copytree(tiny_text, tmp_path / "text"))
    mine = recipe.replace(text=recipe.text.replace(paths=(str(text),)))
    for out in ("straight", "run"):
        if out == "straight":
            train(mine, tmp_path / out, announce=False)
            continue
        with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Stopped):
            at_window(20)(monkeypatch)
            train(mine, tmp_path / out, announce=False)
    first = text / "00.txt"
    before = first.read_text(encoding="utf-8")
    first.write_text(before + "one more line\n", encoding="utf-8")
    files = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(DataError, match=r"run: .*other text \(30 documents, .*; now 30 documents, .*put the text back"):
        resume(tmp_path / "run")
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == files
    first.write_text(before, encoding="utf-8")  # another time stamp, the same text
    resume(tmp_path / "run")
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")


def test_nothing_to_resume(straight: Path, tmp_path: Path) -> None:
    with pytest.raises(ResumeError, match=r"the run is finished; .*--init-from"):
        resume(straight)
    with pytest.raises(ResumeError, match="holds no run"):
        resume(tmp_path)
    with pytest.raises(ConfigError, match="holds a run already; choose another --out, or continue it"):
        train(load_settings(Recipe, straight / "recipe.yaml"), straight)


# --- new runs from old weights ----------------------------------------------------------------------------


def test_init_from_takes_the_weights_and_nothing_else(
    straight: Path, recipe: Recipe, ids: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    short = changed(recipe, steps=4, schedule=recipe.training.schedule.replace(kind="constant", warmup=0.0))
    train(short, out, ids_folder=ids, init_from=straight, announce=False)
    first, last = read_metrics(out)[0], [r for r in read_metrics(straight) if "loss" in r][-1]
    assert first["step"] == 1
    assert first["loss"] < read_metrics(straight)[0]["loss"] - 1
    assert first["loss"] == pytest.approx(last["loss"], abs=0.5)


@pytest.mark.parametrize("warm_steps", [0, 3])  # weights that were given are not fitted to pair counts
def test_init_from_survives_a_stop(straight: Path, recipe: Recipe, ids: Path, tmp_path: Path, warm_steps: int) -> None:
    recipe = recipe.replace(warm_start=recipe.warm_start.replace(steps=warm_steps))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe, whole, ids_folder=ids, init_from=straight, announce=False)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        # a death before the first step is done, the state not saved by it
        monkeypatch.setattr("zhixing.pretraining.neural.run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, broken, ids_folder=ids, init_from=straight, announce=False)
    resume(broken)
    assert weights(broken) == weights(whole) != weights(straight)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"layers": 3}}, "layers"),
        ({"model": {"width": 48, "heads": 4}}, "width, heads"),
        ({"model": {"query_key_norm": False}}, "query_key_norm"),
        ({"tokenizer": {"kind": "character"}}, "vocab_size"),
    ],
)
def test_init_from_another_shape_is_refused_by_name_and_leaves_no_run(
    straight: Path, recipe: Recipe, tmp_path: Path, changes: dict[str, dict[str, Any]], named: str
) -> None:
    other = recipe.replace(**{room: getattr(recipe, room).replace(**values) for room, values in changes.items()})
    with pytest.raises(ConfigError) as refused:
        train(other, tmp_path / "run", init_from=straight, announce=False)
    assert f"differs from the recipe in {named}" in str(refused.value)
    assert not (tmp_path / "run" / "recipe.yaml").exists()  # mended, the same command works


def test_init_from_another_tokenizer_is_refused(straight: Path, recipe: Recipe, tmp_path: Path) -> None:
    bpe = recipe.replace(
        tokenizer=recipe.tokenizer.replace(kind="bpe", vocab_size=300),
        model=recipe.model.replace(vocab_size=320),
    )
    train(changed(bpe, steps=1), tmp_path / "bpe", announce=False)
    character = bpe.replace(tokenizer=recipe.tokenizer.replace(kind="character", vocab_size=310))
    with pytest.raises(ConfigError, match="differs from the recipe in the tokenizer"):
        train(character, tmp_path / "run", init_from=tmp_path / "bpe", announce=False)


def test_init_from_means_nothing_for_an_ngram(straight: Path, recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    ngram = recipe.replace(model=NgramSettings(order=3))
    with pytest.raises(ConfigError, match="--init-from: a model of the family ngram starts from no weights"):
        train(ngram, tmp_path / "a", ids_folder=ids, init_from=straight, announce=False)
    train(ngram, tmp_path / "b", ids_folder=ids, announce=False)
    with pytest.raises(ConfigError, match="a ngram model has no weights to start from"):
        train(recipe, tmp_path / "c", ids_folder=ids, init_from=tmp_path / "b", announce=False)


def test_what_is_found_wrong_at_the_start_leaves_no_run(recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"training\.device"):
        train(changed(recipe, device="quantum"), out, ids_folder=ids, announce=False)
    with pytest.raises(ConfigError, match=r"model\.vocab_size"):
        train(recipe.replace(model=recipe.model.replace(vocab_size=5)), out, ids_folder=ids, announce=False)
    with pytest.raises(ConfigError, match="a mixture needs at least two model folders"):
        train(recipe.replace(model=MixtureSettings(members=("a",))), out, ids_folder=ids, announce=False)
    with pytest.raises(DataError):
        train(recipe.replace(text=recipe.text.replace(paths=(str(tmp_path / "none"),))), out, announce=False)
    train(changed(recipe, steps=1), out, ids_folder=ids, announce=False)


def test_a_start_killed_before_it_was_claimed_is_no_run(recipe: Recipe, ids: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr("zhixing.pretraining.run.claim", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train(recipe, out, ids_folder=ids, announce=False)
    assert (out / "training_state" / "step-00000000").exists()
    train(changed(recipe, steps=1), out, ids_folder=ids, announce=False)
