"""Every registered topic, also those added later: in the terminal and as a page, in both languages."""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from zhixing.explain.formula_boxes import inline, typeset
from zhixing.explain.formulas import mathml
from zhixing.explain.lesson import Lesson, as_json, compute, describe
from zhixing.explain.page import lesson_page
from zhixing.explain.places import practice_place, theory_place
from zhixing.explain.terminal import TerminalLesson
from zhixing.explain.topic import Topic
from zhixing.explain.topics import topics
from zhixing.language import current_language

NAMES = list(topics())


@cache
def _known(language: str) -> dict[str, Topic[Any]]:
    assert language == current_language()
    return topics()


@cache
def _lesson(name: str, language: str) -> Lesson:
    return compute(_known(language)[name])


def topic_of(name: str) -> Topic[Any]:
    """The topic in the language of the moment, made once."""
    return _known(current_language())[name]


def lesson(name: str) -> Lesson:
    """The lesson in the language of the moment, computed once."""
    return _lesson(name, current_language())


LANGUAGES = ["en", "zh"]
EVERY = pytest.mark.parametrize("name", NAMES)
BOTH = pytest.mark.parametrize("language", LANGUAGES)


def shown(name: str, width: int, *, colour: bool = False) -> str:
    console = Console(
        width=width, file=io.StringIO(), force_terminal=colour, color_system="truecolor" if colour else None
    )
    console.print(TerminalLesson(lesson(name)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@BOTH
@EVERY
def test_it_fits_into_the_terminal(name, language, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    for width in (80, 60):
        out = shown(name, width)
        assert topic_of(name).title in " ".join(out.split())
        assert [line for line in out.splitlines() if cell_len(line) > width] == []


@EVERY
def test_colour_adds_nothing_but_colour(name, monkeypatch) -> None:
    """Without the codes of colour every line is as wide as it may be, and what is said is the same."""
    plain = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", shown(name, 80, colour=True))
    assert max(map(cell_len, plain.splitlines())) <= 80
    assert all(sentence.split()[0] in plain for sentence in topic_of(name).idea)


@BOTH
@EVERY
def test_it_is_a_page(name, language, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    page = lesson_page(lesson(name), {}, "zhixing explain")
    assert f'lang="{"en" if language == "en" else "zh-Hans"}"' in page
    assert "<script" not in page and " style=" not in page and "http" not in page.replace("http-equiv", "")
    found = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(found) == (topic_of(name).picture is not None)
    for svg in found:
        drawing = ElementTree.fromstring(svg)  # well-formed
        assert [drawing[0].tag, drawing[1].tag] == ["title", "desc"] and drawing[1].text
        assert "nan" not in svg and "inf" not in re.sub(r">[^<]*<", "><", svg)
    for math in re.findall(r"<math.*?</math>", page, re.DOTALL):
        ElementTree.fromstring(math)


@EVERY
def test_its_formulas_can_be_set(name) -> None:
    topic = topic_of(name)
    steps = [step.formula for step in lesson(name).steps if step.formula]
    for latex in [*topic.formula, *topic.symbols, *steps]:
        assert "\\" not in inline(latex), "a command that was not understood"
        assert mathml(latex, block=True).startswith("<math")
        assert max(map(len, typeset(latex, 76))) <= 76


@EVERY
def test_its_places_exist_and_its_relations_hold(name) -> None:
    topic = topic_of(name)
    assert topic.theory and all(theory_place(function).line > 0 for function in topic.theory)
    for practice in topic.practice:
        place = practice_place(practice)
        line = place.file.read_text(encoding="utf-8").splitlines()[place.line - 1]
        assert practice.rpartition(":")[2].rpartition(".")[2] in line
    assert set(topic.related) <= set(NAMES), "a related topic that does not exist"


@EVERY
def test_its_json_is_strict_and_its_example_whole(name) -> None:
    found = json.loads(json.dumps(as_json(lesson(name)), allow_nan=False))
    assert len(found["steps"]) >= 2 and len(found["idea"]) == 3
    assert found["name"] == name and set(found["inputs"]) == {one.name for one in describe(topic_of(name).inputs)}
    for step in lesson(name).steps:
        if isinstance(step.value, np.ndarray):
            assert step.value.ndim in (1, 2)
            assert len(step.columns) in (0, step.value.shape[-1])
            assert len(step.rows) in (0, step.value.shape[0] if step.value.ndim == 2 else 1)


@EVERY
def test_its_inputs_say_what_they_mean_in_both_languages(name, monkeypatch) -> None:
    kinds = topic_of(name).inputs
    english = describe(kinds)
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    chinese = describe(kinds)
    for ours, theirs in zip(english, chinese, strict=True):
        assert ours.meaning and re.search(r"[\u4e00-\u9fff]", theirs.meaning), ours.name


@EVERY
def test_the_example_follows_its_inputs(name) -> None:
    """What is shown as an input can be given back as --set and computes the same."""
    topic = topic_of(name)
    overrides = [f"{one.name}={one.value}" for one in describe(topic.inputs)]
    first, again = compute(topic), compute(topic, overrides)
    assert again.inputs == first.inputs
    assert [step.says for step in again.steps] == [step.says for step in first.steps]


def test_names_are_unique_and_families_are_in_words() -> None:
    from zhixing.explain.families import _NAMES
    from zhixing.explain.topics import MAKERS

    assert len(MAKERS) == len(NAMES)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in NAMES)
    assert {topic.family for topic in topics().values()} <= set(_NAMES)


def test_explain_never_imports_torch() -> None:
    import zhixing.explain

    folder = inspect.getfile(zhixing.explain).removesuffix("__init__.py")
    from pathlib import Path

    for path in Path(folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(one.split(".")[0] == "torch" for one in names), path
