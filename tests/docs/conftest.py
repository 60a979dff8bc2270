"""What the pages' examples start from: a folder of text, a model of it, a server for it."""

import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = "bisect calendar cmd copy csv fnmatch glob heapq json.decoder json.encoder queue shlex string"
Run = Callable[..., int]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python's own library in some 200 small documents: a class or function with its documentation each."""
    folder = tmp_path_factory.mktemp("corpus") / "text"
    folder.mkdir()
    for name in MODULES.split():
        source = inspect.getsource(import_module(name))
        parts = re.split(r"\n(?=(?:    )?(?:class|def|@) ?\w)", source)
        for index, part in enumerate(parts):
            if len(part) > 120:
                (folder / f"{name.replace('.', '_')}_{index:03}.py").write_text(part + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def zhixing() -> Iterator[Run]:
    """The program in this process: importing torch anew for each command would take most of the time."""
    from zhixing.cli.app import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*words: str, given: bytes = b"") -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
            with pytest.raises(SystemExit) as end:
                main(words)
        return int(end.value.code or 0)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """``model/`` as the page of ``train`` makes it."""
    from zhixing.pretraining.run import train

    folder = tmp_path_factory.mktemp("trained") / "model"
    overrides = [f"text.paths=[{json.dumps(str(corpus))}]"]
    train(ROOT / "recipes" / "tiny-gpt.yaml", folder, overrides=overrides, announce=False)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, corpus: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of a reader who has cloned the repository, has ``text/`` and has made ``model/``."""
    for name, source in {"text": corpus, "model": model, "recipes": ROOT / "recipes"}.items():
        shutil.copytree(source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def interrupted_run(workplace: Path, zhixing: Run) -> Path:
    """``run/``: a training that Ctrl-C has stopped in its middle."""
    folder = workplace / "run"

    def press_control_c() -> None:
        while not (folder / "metrics.jsonl").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_control_c, daemon=True).start()
    overrides = ["--set", "text.paths=[text]", "--set", "training.steps=200"]
    assert zhixing("train", "recipes/tiny-gpt.yaml", *overrides, "--out", "run") == 130
    assert list((folder / "training_state").glob("step-*"))
    return folder


@pytest.fixture(scope="session")
def server(model: Path) -> Iterator[str]:
    """The address of ``zhixing serve model``."""
    command = [sys.executable, "-c", "from zhixing.cli.app import main; main()"]
    process = subprocess.Popen(
        [*command, "serve", str(model), "--port", "0", "--json"], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.communicate(timeout=30)
