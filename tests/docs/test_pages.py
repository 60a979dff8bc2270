"""The pages hold together: each verb in both languages, each option explained, no link leads nowhere."""

import importlib
import re
from pathlib import Path

import pytest
import typer

from zhixing.cli.app import VERBS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "decisions" not in path.parts)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TEST = re.compile(r"`(tests/[\w./]+)`")
CODE = re.compile(r"^```(?:bash|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MADE_LATER = {"docs/images/report.png"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def options(command) -> set[str]:
    """Return the long names of a command's options, those of its sub-commands included."""
    found = {max(p.opts, key=len) for p in command.params if p.opts[0].startswith("-")}
    for inner in getattr(command, "commands", {}).values():
        found |= options(inner)
    return found - {"--help", "--install-completion", "--show-completion"}


@pytest.mark.parametrize("language", ["", ".zh"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_that_explains_every_option(verb, language):
    text = (ROOT / "docs" / "verbs" / f"{verb}{language}.md").read_text(encoding="utf-8")
    command = typer.main.get_command(importlib.import_module(f"zhixing.cli.{verb}").app)
    assert {option for option in options(command) if f"`{option}" not in text} == set()


@pytest.mark.parametrize("page", [p for p in PAGES if ".zh." in p.name], ids=name)
def test_both_languages_show_the_same_code(page):
    other = page.with_name(page.name.replace(".zh.", "."))
    ours, theirs = (CODE.findall(p.read_text(encoding="utf-8")) for p in (page, other))

    def bare(code: str) -> list[str]:  # without comments, and with strings emptied: those may be translated
        lines = [re.sub(r"\s*#.*", "", line) for line in code.splitlines()]
        return [re.sub(r"\"[^\"]*\"", '""', line) for line in lines if line.strip()]

    assert list(map(bare, ours)) == list(map(bare, theirs))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in LINK.findall(text)]
    local = [target for target in targets if target and "://" not in target]
    paths = [(page.parent / target).resolve() for target in local]
    missing = [str(p.relative_to(ROOT)) for p in paths if not p.exists()]
    assert set(missing) <= MADE_LATER
    assert [test for test in TEST.findall(text) if not (ROOT / test).exists()] == []
