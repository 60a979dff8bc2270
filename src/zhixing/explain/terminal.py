"""A lesson in a terminal, at any width from 60 cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from zhixing.explain.families import by_family, family_name
from zhixing.explain.formula_boxes import inline, typeset
from zhixing.explain.lesson import Lesson, describe, example_change
from zhixing.explain.pictures import Bars, HeatMap, Lattice, Lines, Picture, Tree, Valley
from zhixing.explain.places import Place, practice_place, theory_code, theory_place
from zhixing.explain.prose import Prose
from zhixing.explain.rounding import number, table
from zhixing.explain.terminal_charts import draw_bars, draw_lines, draw_valley
from zhixing.explain.terminal_maps import draw_heat_map, draw_lattice, draw_tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import topics
from zhixing.language import tr

_WIDEST = 100
_FORMULA = "#3f8fd2"
_HEADING = "bold #d2553f"
_INDENT = 2


class TerminalLesson:
    """A rich renderable of a lesson."""

    def __init__(self, lesson: Lesson) -> None:
        self.lesson = lesson

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST)
        narrower = options.update(width=width)
        for part in _parts(self.lesson, width, colour=console.color_system is not None):
            yield from console.render(part, narrower)


def overview() -> RenderableType:
    """Return the table of all topics by family."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for family, members in by_family(topics().values()).items():
        grid.add_row(Text(family_name(family), _HEADING), "")
        for topic in members:
            grid.add_row(Text(f"  {topic.name}", "bold"), Text(topic.title))
    grid.add_row("", "")
    grid.add_row(Text("zhixing explain TOPIC"), Text(tr("explains one", "讲解其中一个"), "dim"))
    return grid


def _parts(lesson: Lesson, width: int, *, colour: bool) -> Iterator[RenderableType]:
    topic = lesson.topic
    yield Text.assemble((topic.title, "bold"), (f"  {family_name(topic.family)} · {topic.name}", "dim"))
    yield Text("─" * width, "dim")
    yield Prose(tr(" ", "").join(topic.idea))
    yield _heading(tr("Formula", "公式"))
    for latex in topic.formula:
        yield from _indented(Text(line, _FORMULA) for line in typeset(latex, width - _INDENT))
        yield Text("")
    yield _symbols(topic)
    if lesson.picture is not None:
        yield _heading(tr("Picture", "图"))
        yield from _indented(draw(lesson.picture, width - _INDENT, colour=colour))
    yield _heading(tr("Worked example", "算例"))
    yield from _inputs(lesson)
    for n, step in enumerate(lesson.steps, 1):
        yield from _step(n, step, width - 2 * _INDENT)
    yield from _listed(tr("Pitfalls", "常见误区"), topic.pitfalls)
    yield from _code(topic)
    yield from _listed(tr("Papers", "论文"), topic.papers)
    yield from _onwards(lesson)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", _HEADING)


def _indented(parts: Iterable[RenderableType], by: int = _INDENT) -> Iterator[RenderableType]:
    for part in parts:
        yield Padding(part, (0, 0, 0, by))


def _symbols(topic: Topic[Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for latex, meaning in topic.symbols.items():
        grid.add_row(Text(inline(latex), _FORMULA), Prose(meaning))
    return Padding(grid, (0, 0, 0, _INDENT))


def draw(picture: Picture, width: int, *, colour: bool) -> Iterator[Text]:
    """Draw a picture, its title above it."""
    if not isinstance(picture, Tree):
        yield Text(picture.title, "italic")
    match picture:
        case HeatMap():
            yield from draw_heat_map(picture, width, colour=colour)
        case Lines():
            yield from draw_lines(picture, width)
        case Bars():
            yield from draw_bars(picture, width)
        case Valley():
            yield from draw_valley(picture, width)
        case Lattice():
            yield from draw_lattice(picture, width)
        case Tree():
            yield from draw_tree(picture, width)


def _inputs(lesson: Lesson) -> Iterator[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold", style="dim")
    for one in describe(lesson.topic.inputs, lesson.inputs):
        changed = one.value != one.default
        grid.add_row(Text(one.name), Text(one.value, "bold" if changed else ""), Prose(one.meaning))
    yield Padding(grid, (0, 0, 0, _INDENT))


def _step(n: int, step: Step, width: int) -> Iterator[RenderableType]:
    yield Text("")
    yield Prose.assemble((f"{n}. ", _HEADING), step.says)
    formula = [Text(line, _FORMULA) for line in _formula(step.formula, width)]
    if isinstance(step.value, np.ndarray):
        yield from _indented([*formula, *_tables(step, step.value, width)], 2 * _INDENT)
    elif step.value is not None:
        yield from _indented(_with_result(formula, number(step.value), width), 2 * _INDENT)
    else:
        yield from _indented(formula, 2 * _INDENT)


def _formula(latex: str, width: int) -> list[str]:
    """Set a step's formula on one line where nothing in it has to be stacked."""
    if not latex:
        return []
    line = inline(latex)
    stacked = any(word in latex for word in (r"\frac", r"\begin", r"\sqrt")) or cell_len(line) > width
    return typeset(latex, width) if stacked else [line]


def _with_result(formula: list[Text], result: str, width: int) -> list[RenderableType]:
    """Write the result behind a formula of one line, otherwise below it."""
    if len(formula) == 1 and formula[0].cell_len + cell_len(result) + 3 <= width:
        return [formula[0] + Text(" = ", "default") + Text(result, "bold default")]
    return [*formula, Text(f"= {result}" if formula else result, "bold")]


def _tables(step: Step, value: NDArray[np.generic], width: int) -> Iterator[RenderableType]:
    """Write an array as tables, each with as many columns as there is room for."""
    cells = table(value)
    columns = list(step.columns) or [""] * len(cells[0])
    rows = list(step.rows) or [""] * len(cells)
    left = max(map(cell_len, rows), default=0)
    widths = [max([cell_len(head), *(cell_len(row[n]) for row in cells)]) + 2 for n, head in enumerate(columns)]
    for start, end in _bands(widths, width - left):
        grid = Table.grid(padding=(0, 0, 0, 2))
        grid.add_column(no_wrap=True)
        for _ in range(start, end):
            grid.add_column(justify="right", no_wrap=True)
        if any(columns):
            grid.add_row("", *(Text(head, "dim") for head in columns[start:end]))
        for name, row in zip(rows, cells, strict=False):
            grid.add_row(Text(name, "dim"), *(Text(cell, "bold") for cell in row[start:end]))
        yield grid


def _bands(widths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Divide columns into bands that fit."""
    start, used = 0, 0
    for n, width in enumerate(widths):
        if used + width > room and n > start:
            yield start, n
            start, used = n, 0
        used += width
    if widths:
        yield start, len(widths)


def _listed(heading: str, texts: Sequence[str]) -> Iterator[RenderableType]:
    if not texts:
        return
    yield _heading(heading)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for text in texts:
        grid.add_row("•", Prose(text))
    yield Padding(grid, (0, 0, 0, _INDENT))


def _code(topic: Topic[Any]) -> Iterator[RenderableType]:
    yield _heading(tr("Theory, in the code", "知：理论代码"))
    for function in topic.theory:
        yield from _indented([_linked(theory_place(function))])
        code = Syntax(theory_code(function), "python", theme="ansi_light", background_color="default", word_wrap=True)
        yield from _indented([code], 2 * _INDENT)
    yield _heading(tr("Practice, in the code", "行：产品代码"))
    if not topic.practice:
        yield from _indented([Text(tr("not built yet", "尚未实现"), "dim")])
    for name in topic.practice:
        yield from _indented([_linked(practice_place(name))])


def _linked(place: Place) -> Text:
    name = place.name.rpartition(":")[2]
    return Text.assemble((f"{name}  ", "bold"), (place.shown, f"underline link {place.file.as_uri()}"))


def _onwards(lesson: Lesson) -> Iterator[RenderableType]:
    if lesson.topic.related:
        yield _heading(tr("Go on with", "继续阅读"))
        yield from _indented(Text(f"zhixing explain {name}") for name in lesson.topic.related)
    yield _heading(tr("Change the inputs", "修改输入"))
    yield from _indented([Text(lesson.command(*example_change(lesson)), overflow="fold")])
