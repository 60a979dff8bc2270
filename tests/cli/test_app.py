"""The program: verbs, exit codes, languages, pipes, and how much it imports."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zhixing import __version__
from zhixing.cli.app import VERBS, main
from zhixing.errors import ConfigError, Stopped, ZhixingError

PROGRAM = [sys.executable, "-c", "from zhixing.cli.app import main; main()"]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give back what the program sets up for its process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before, level = [signal.getsignal(n) for n in numbers], logging.getLogger("zhixing").level
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    logging.getLogger("zhixing").setLevel(level)


def ends(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--help",), ("-h",), ("help",)):
        assert ends(*words) == 0
        out = capsys.readouterr().out
        assert all(f"  {verb} " in out for verb in VERBS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("--version") == 0
    assert capsys.readouterr().out == f"zhixing {__version__}\n"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(verb, "--help") == 0
    assert "--help" in capsys.readouterr().out


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("trian") == 2
    shown = capsys.readouterr()
    assert shown.err == "zhixing: unknown verb 'trian'; did you mean 'train'?\n"
    assert shown.out == ""


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends("train", "--otu", "x") == 2
    assert "--out" in capsys.readouterr().err
    assert ends("train", "recipe.yaml") == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("line 3 is wrong"), 2, "zhixing: line 3 is wrong\n"),
        (ZhixingError("the disk is full"), 1, "zhixing: the disk is full\n"),
        (
            Stopped(signal.SIGTERM, "stopped; the state is saved"),
            143,
            "zhixing: stopped; the state is saved\n",
        ),
        (Stopped(signal.SIGINT), 130, "zhixing: stopped by a signal\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "zhixing: /x/y: Permission denied\n"),
    ],
)
def test_errors_end_in_one_sentence_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr("zhixing.cli.app._run", fail)
    assert ends("train") == code
    assert capsys.readouterr().err == said


def test_a_signal_anywhere_is_a_stop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work(words: list[str]) -> int:
        signal.raise_signal(signal.SIGTERM)
        return 0

    monkeypatch.setattr("zhixing.cli.app._run", work)
    assert ends("corpus") == 143
    assert capsys.readouterr().err == "zhixing: stopped by a signal\n"


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str]) -> int:
        raise KeyError("a bug")

    monkeypatch.setattr("zhixing.cli.app._run", fail)
    with pytest.raises(KeyError):
        main(["train"])


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, **environment},
    )


def test_chinese() -> None:
    overview, fields = (program(*words, ZHIXING_LANG="zh") for words in (["--help"], ["train", "--help"]))
    assert "用法：zhixing 命令 [选项]" in overview.stdout
    assert all(meaning in overview.stdout for _, meaning in VERBS.values())
    assert "全局梯度范数上限；0 表示不裁剪" in fields.stdout
    assert "未知命令 'trian'；是否想写 'train'？" in program("trian", ZHIXING_LANG="zh").stderr


def test_output_is_utf_8_whatever_the_locale() -> None:
    done = program("--help", ZHIXING_LANG="zh", LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "用法" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["--version"]])
def test_help_does_not_import_torch(words: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from zhixing.cli.app import main\n"
        "try:\n"
        f"    main({words!r})\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "sys.stderr.write(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stderr))
    assert not loaded & {"torch", "numpy", "tokenizers"}
    if words != ["train", "--help"]:
        assert not loaded & {"pydantic", "typer", "yaml"}


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_a_reader_that_went_away(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*PROGRAM, *words], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
