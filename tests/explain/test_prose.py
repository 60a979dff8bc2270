"""Running text: where Chinese lines may be broken, on the rules and on every topic."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from zhixing.explain.lesson import lesson
from zhixing.explain.prose import CLOSING, OPENING, Prose, breaks
from zhixing.explain.terminal import TerminalLesson
from zhixing.explain.topics import topics


def lines(text: str, width: int) -> list[str]:
    at = [0, *breaks(text, width), len(text)]
    return [text[start:end].rstrip() for start, end in pairwise(at)]


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("一二三四。五六", 8, ["一二三", "四。五六"]),
        ("一二三（四五）六", 8, ["一二三", "（四五）", "六"]),
        ("用 AdamW，更好", 8, ["用", "AdamW，", "更好"]),
        ("一二三AdamW四", 8, ["一二三", "AdamW四"]),
        ("一二三 AdamW 四", 9, ["一二三", "AdamW 四"]),
        ("一二三四……五", 8, ["一二三", "四……五"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("一，二", 2, ["一", "，", "二"]),
        ("", 8, [""]),
    ],
)
def test_where_lines_are_broken(text, width, expected) -> None:
    assert lines(text, width) == expected


@pytest.mark.parametrize("width", range(4, 40))
def test_nothing_is_lost_and_every_line_fits(width) -> None:
    text = "（知行）合一：知是行之始，行是知之成。Wang Yangming 说“知行合一”，在 1508 年；用 attention、softmax 等。"
    found = lines(text, width)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
    assert max(map(cell_len, found)) <= width


def test_english_is_broken_as_ever() -> None:
    console = Console(width=20)
    text = "A sentence, with words; and one-more (in parentheses)."
    ours, theirs = ([line.plain for line in kind(text).wrap(console, 20)] for kind in (Prose, Text))
    assert ours == theirs and len(ours) > 2


def test_styles_are_kept() -> None:
    text = Prose.assemble(("1. ", "bold"), "一二三四五六七八。")
    first, *rest = text.wrap(Console(width=8), 8)
    assert first.plain == "1. 一二" and first.spans[0].style == "bold" and not any(line.spans for line in rest)
    assert [line.plain for line in rest] == ["三四五六", "七八。"]


@pytest.mark.parametrize("name", sorted(topics()))
def test_no_line_of_a_lesson_begins_with_a_closing_mark(name, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    chinese = set("。，、；：！？）」』》】")
    for width in (60, 71, 80):
        out = io.StringIO()
        Console(file=out, width=width).print(TerminalLesson(lesson(name)))
        for line in out.getvalue().splitlines():
            bare = line.strip()
            assert not bare or bare[0] not in chinese, (width, line)
            assert cell_len(line.rstrip()) <= width


def test_the_marks_are_what_print_forbids() -> None:
    assert set("。，、；：！？）」") <= set(CLOSING) and set("（「《") <= set(OPENING)
