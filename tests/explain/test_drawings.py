"""The six kinds of pictures, awkward ones among them: negative, missing, wide, Chinese, one value, many."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len

from zhixing.explain import page, terminal
from zhixing.explain.pictures import Bars, HeatMap, Lattice, Lines, Tree, Valley

AXIS = np.linspace(-1, 1, 9)
WIDE = np.sin(np.arange(40 * 90).reshape(40, 90))
PICTURES = {
    "heat": HeatMap("who listens", np.array([[0.9, 0.1], [0.3, -0.8]]), ("猫", "坐"), ("the", "cat"), "query", "key"),
    "heat of minus infinities": HeatMap("mask", np.array([[0.0, -np.inf], [0.0, np.nan]]), ("a", "b"), ("a", "b")),
    "wide heat": HeatMap("positions", WIDE, [f"p{n}" for n in range(40)], [f"{n}" for n in range(90)]),
    "lines": Lines("rates", np.linspace(0, 1, 50), {"a": np.linspace(0, 1, 50), "b": np.full(50, np.nan)}, "p", "η"),
    "level line": Lines("constant", np.arange(3.0), {"a": np.full(3, 2.0)}),
    "bars": Bars("p", ("the", "一个很长的中文标签"), {"τ = 1": np.array([0.5, -0.25]), "τ": np.array([0.0, np.inf])}),
    "valley": Valley(
        "bowl", AXIS, AXIS[:7], np.add.outer(AXIS[:7] ** 2, AXIS**2),
        {"SGD": np.array([[-0.9, 0.4], [0.2, -0.2], [0.0, 0.0]]), "away": np.array([[0.0, 0.0], [5, 9], [np.inf, 0]])},
        "x", "y",
    ),
    "lattice": Lattice(
        "Viterbi", ("名词", "verb"), ("time", "flies"), np.array([[-1.0, -np.inf], [-2.0, -3.5]]), (0, 1),
        np.array([[-1, 1], [-1, 0]]),
    ),
    "long lattice": Lattice(
        "edit", [f"s{n}" for n in range(8)], [f"t{n}" for n in range(20)], np.arange(160.0).reshape(8, 20),
        [n % 8 for n in range(20)], np.zeros((8, 20), dtype=int),
    ),
    "tree": Tree("P(猫 | the black)", (Tree("count 0: back off, " + "far " * 40, (Tree("P(猫)"),)), Tree("λ = 0.4"))),
}  # fmt: skip
EVERY = pytest.mark.parametrize("picture", PICTURES.values(), ids=list(PICTURES))


@pytest.mark.parametrize("width", [50, 78, 120])
@pytest.mark.parametrize("colour", [True, False])
@EVERY
def test_the_terminal_holds_it(picture, width, colour) -> None:
    lines = list(terminal.draw(picture, width, colour=colour))
    assert lines and max(cell_len(line.plain) for line in lines) <= width


@EVERY
def test_the_page_holds_it(picture) -> None:
    drawn = page.draw(picture)
    svg = ElementTree.fromstring(drawn[drawn.index("<svg") :])
    width, height = (float(number) for number in svg.attrib["viewBox"].split()[2:])
    for element in svg.iter():
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
            if name in element.attrib and element is not svg:
                number = float(element.attrib[name])
                assert -1 <= number <= max(width, height) + 1, (element.tag, element.attrib)
        if "d" in element.attrib:
            assert "nan" not in element.attrib["d"] and "inf" not in element.attrib["d"]
    assert svg[0].text and svg[1].text


def plain(name, colour=False, width=78) -> list[str]:
    return [line.plain for line in terminal.draw(PICTURES[name], width, colour=colour)]


def test_without_colour_a_darker_cell_has_a_darker_block() -> None:
    (first, second) = plain("heat")[-2:]
    assert "█" in first and "░" in first and "▒" in second


def test_bars_are_as_long_as_their_values() -> None:
    picture = Bars("p", ("a", "b", "c"), {"p": np.array([1.0, 0.5, 0.25])})
    lengths = [line.plain.count("█") for line in terminal.draw(picture, 78, colour=False)][-3:]
    assert lengths[0] > 50 and lengths[1] == pytest.approx(lengths[0] / 2, abs=1)
    assert lengths[2] == pytest.approx(lengths[0] / 4, abs=1)


def test_a_bar_below_zero_goes_the_other_way() -> None:
    picture = Bars("p", ("a", "b"), {"p": np.array([1.0, -1.0])})
    up, down = [line.plain for line in terminal.draw(picture, 60, colour=False)][-2:]
    assert up.index("█") == pytest.approx(down.rindex("█") + 1, abs=1)


def test_the_best_path_is_marked_without_colour() -> None:
    time, verb = [line for line in plain("lattice") if "−" in line]
    assert "[−1]" in time and "[名词→ −3.5]" in verb
    assert plain("lattice")[1].split() == ["time", "flies"]


def test_a_tree_shows_who_belongs_to_whom() -> None:
    lines = plain("tree")
    assert lines[0] == "P(猫 | the black)" and lines[1].startswith("├─ count 0")
    assert any(line.startswith("│  └─ P(猫)") for line in lines) and lines[-1] == "└─ λ = 0.4"


def test_a_curve_rises_where_its_values_do() -> None:
    picture = Lines("up", np.arange(20.0), {"a": np.arange(20.0)})
    drawn = [line.plain for line in terminal.draw(picture, 60, colour=False)]
    columns = [line.find("●", 5) for line in drawn if "●" in line[5:]]
    assert len(columns) > 3 and columns == sorted(columns, reverse=True)


def test_contours_circle_the_minimum() -> None:
    """Every contour of a round bowl is a circle: all its points lie equally far from the middle."""
    from zhixing.explain.scales import levels, scale
    from zhixing.explain.svg_charts import _contour

    axis = np.linspace(-1, 1, 41)
    bowl = Valley("bowl", axis, axis, np.add.outer(axis**2, axis**2), {})
    level = float(levels(bowl.height, 3)[0])
    across = scale(axis, tight=True)
    pieces = list(_contour(bowl, bowl.height, level, across, across, (0.0, 0.0, 2.0, 2.0)))
    radii = [np.hypot(x - 1, y - 1) for piece in pieces for x, y in piece]
    assert len(pieces) > 20 and np.allclose(radii, level**0.5, atol=0.01)


def test_colour_stays_in_its_cell() -> None:
    """The tint of a value covers its cell, not the gap behind it; the frame's grey does not spread to a curve."""
    row = list(terminal.draw(PICTURES["heat"], 78, colour=True))[-1]
    assert row.style == "" and [row.plain[span.start : span.end].strip() for span in row.spans] == ["0.3", "−0.8"]
    curve = list(terminal.draw(PICTURES["level line"], 78, colour=True))[5]
    assert curve.style == ""
