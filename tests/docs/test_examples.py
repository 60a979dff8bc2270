"""Every code block of the documentation, run as a reader would run it, page by page, in both languages.

``bash`` and ``python`` blocks run; a command that ends with another code than 0 says so behind it
(``# exit code 2``). ``console`` blocks show what takes long or never ends: the program's parser has to accept
their commands.
"""

import importlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "decisions" not in path.parts)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KNOWN = {"bash", "python", "console", "text", "yaml", "json"}
EXPECTED = re.compile(r"\s#.*?(\d+)\s*$")
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
NEEDS_A_SHELL = re.compile(r"[|<>;&$`]")
MAIN_JOB = "zhixing quickstart "
ADDRESS = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Block:
    """A fenced block and the line it begins on."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in FENCE.finditer(text)]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands(code: str) -> list[str]:
    """Return the block's commands, continued lines joined, comments left out."""
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def run_command(command: str, zhixing, capfd) -> None:
    comment = EXPECTED.search(command)
    expected = int(comment[1]) if comment else 0
    words = shlex.split(command, comments=True)
    capfd.readouterr()
    source, pipe, last = command.rpartition(" | ")
    if last.startswith("zhixing ") and not NEEDS_A_SHELL.search(QUOTED.sub("", last)):
        given = subprocess.run(["bash", "-c", source], check=True, stdout=subprocess.PIPE) if pipe else None
        code = zhixing(*shlex.split(last, comments=True)[1:], given=given.stdout if given else b"")
    else:
        code = subprocess.run(["bash", "-eo", "pipefail", "-c", command], check=False).returncode
    out, err = capfd.readouterr()
    assert code == expected, f"{command}\n{out}{err}"
    assert "Traceback" not in err
    if "--json" in words and not expected:
        json.loads(out.splitlines()[-1])


def run_python(block: Block, page: Path, request: pytest.FixtureRequest, folder: Path) -> None:
    code = block.code
    if ADDRESS in code:
        code = code.replace(ADDRESS, request.getfixturevalue("server"))
    script = folder / f"{page.stem}_line_{block.line}.py"
    script.write_text(code, encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_examples_run(page, workplace, zhixing, capfd, request, monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "zh" if ".zh." in page.name else "en")
    found = [block for block in blocks(page) if block.language in ("bash", "python")]
    if page.stem.startswith("train"):  # it makes ``model/`` itself
        shutil.rmtree(workplace / "model")
    if found and page.name.startswith("resume."):
        request.getfixturevalue("interrupted_run")
    for block in found:
        if block.language == "python":
            run_python(block, page, request, workplace)
            continue
        for command in commands(block.code):
            if not (command.startswith(MAIN_JOB) and ".zh." in page.name):  # the same words; half a minute
                run_command(command, zhixing, capfd)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shown_commands_are_accepted(page):
    found = blocks(page)
    fences = re.findall(r"^ *(?:```|~~~)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(fences) == 2 * len(found) and {block.language for block in found} <= KNOWN
    for block in found:
        if block.language == "console":
            shown = [line.removeprefix("$ ") for line in block.code.splitlines() if line.startswith("$ ")]
            assert shown, f"{name(page)}:{block.line}: no line begins with '$ '"
            for command in shown:
                parse(shlex.split(command, comments=True))


def parse(words: list[str]) -> None:
    """Let the verb's own parser take a command, and look for a target of ``make``, without running either."""
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), words
    if words[0] != "zhixing" or words[1].startswith("-"):
        return
    command = typer.main.get_command(importlib.import_module(f"zhixing.cli.{words[1]}").app)
    rest = words[2:]
    if hasattr(command, "commands"):
        command, rest = command.commands[words[2]], words[3:]
    command.make_context(words[1], rest)
