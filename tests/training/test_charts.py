import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhixing.training.charts import (
    Axis,
    Bar,
    Series,
    bar_chart,
    in_bytes,
    line_chart,
    linear_scale,
    log_scale,
    short,
    thin,
)

X, Y = Axis("tokens", from_zero=True, tight=True), Axis("nats")
values = st.lists(st.floats(-1e12, 1e12).filter(lambda v: v == 0 or abs(v) > 1e-9), min_size=1, max_size=8)


def drawn(chart):
    """Parse the figure: a chart that is not well-formed fails here."""
    return ElementTree.fromstring(str(chart))


def paths(figure):
    return [path.get("d") for path in figure.iter("path")]


def coordinates(path):
    return [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.004, "0.004"),
        (999, "999"),
        (999.9, "1 k"),
        (1500, "1.5 k"),
        (2.5e6, "2.5 M"),
        (-3e9, "-3 G"),
    ],
)
def test_short_numbers(value, expected):
    assert short(value) == expected


def test_bytes_in_decimal_units():
    assert [in_bytes(n) for n in (0, 999, 10_200_000)] == ["0 B", "999 B", "10.2 MB"]


@given(values, st.booleans(), st.booleans())
def test_a_scale_holds_its_values_and_few_even_ticks(found, from_zero, tight):
    scale = linear_scale(found, Axis("", from_zero=from_zero, tight=tight))
    assert 1 <= len(scale.ticks) <= 7
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in found)
    gaps = [b - a for a, b in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert all(math.isclose(gap, gaps[0], rel_tol=1e-6) for gap in gaps)
    if from_zero:
        assert 0 <= scale.place(0) <= 1


def test_ticks_are_round():
    assert linear_scale([2.9, 7.6], Y).ticks == (2, 4, 6, 8)
    assert linear_scale([2.9, 7.6], Y, most=8).ticks == (2, 3, 4, 5, 6, 7, 8)
    assert linear_scale([0, 83], Axis("%", from_zero=True, reaches=100)).ticks == (0, 20, 40, 60, 80, 100)
    assert linear_scale([5.12e6], X).high == 5.12e6


@given(st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=8))
def test_a_logarithmic_scale_holds_its_values(found):
    scale = log_scale(found)
    assert 2 <= len(scale.ticks) <= 7
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in found)


def test_thinning_keeps_spikes_gaps_and_ends():
    points = [(float(n), math.sin(n / 500)) for n in range(20_000)]
    points[7777], points[12_345] = (7777.0, 99.0), (12_345.0, None)
    kept = thin(points)
    assert len(kept) <= 902
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert (7777.0, 99.0) in kept and (12_345.0, None) in kept
    assert kept == sorted(kept, key=lambda point: point[0])


def test_a_curve_lies_where_its_values_are():
    figure = drawn(line_chart("Loss", [Series("a", [(0, 8.0), (50, 4.0), (100, 2.0)])], X, Y))
    assert coordinates(paths(figure)[0]) == [(0, 0), (500, 666.7), (1000, 1000)]
    assert "a from 8 to 2" in figure.find("svg").get("aria-label")


def test_a_gap_parts_the_curve_and_is_counted(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "en")
    figure = drawn(line_chart("Loss", [Series("a", [(0, 3), (1, 2), (2, None), (3, 2), (4, 1)])], X, Y))
    assert paths(figure)[0].count("M") == 2
    assert figure.find("p").text.endswith("gaps: 1.")


@pytest.mark.parametrize("value", [0.0, 7.6, -2.0])
def test_one_point_is_a_dot(value):
    figure = drawn(line_chart("Loss", [Series("a", [(640, value)])], X, Y))
    assert paths(figure) == [""]
    assert [dot.get("cx") for dot in figure.iter("circle")] == ["100.00%", "100.00%"]  # curve and probe


@pytest.mark.parametrize("points", [[], [(0, None)], [(0, None), (1, None)]])
def test_nothing_finite_is_said(points):
    figure = drawn(line_chart("Loss", [Series("a", points)], X, Y))
    assert figure.find("svg") is None and figure.find("p").text


def test_all_points_at_x_zero_and_equal_values():
    assert paths(drawn(line_chart("Loss", [Series("a", [(0, 1.0), (0, 1.0)])], X, Y)))


def test_probes_name_the_nearest_value_of_each_curve(monkeypatch):
    monkeypatch.setenv("ZHIXING_LANG", "en")
    training = [(n, 8 - n / 50) for n in range(0, 301)]
    validation = [(100, 6.5), (200, 4.75)]
    figure = drawn(line_chart("Loss", [Series("t", training), Series("v", validation)], X, Y))
    probes = [g for g in figure.iter("g") if g.get("class") == "probe"]
    assert 2 <= len(probes) <= 60
    assert sum("v 6.5" in probe.find("text").text for probe in probes) == 1
    width = sum(float(probe.find("rect").get("width").rstrip("%")) for probe in probes)
    assert width == pytest.approx(100, abs=0.5)


def test_names_are_escaped():
    hostile = '</text><script>"&'
    for chart in (
        line_chart(hostile, [Series(hostile, [(0, 1), (1, 2)]), Series("b", [(0, 1)])], X, Axis(hostile)),
        bar_chart(hostile, [Bar(hostile, 1.0)], hostile),
    ):
        assert not list(drawn(chart).iter("script"))
        assert "<script" not in chart


def test_bars_start_at_zero_and_keep_proportion():
    figure = drawn(bar_chart("Bits", [Bar("a", 1.0, "best"), Bar("b", 2.0), Bar("c", None)], "bits"))
    widths = [float(bar.get("width").rstrip("%")) for bar in figure.iter("rect")]
    assert widths == [43, 86, 0]
    assert [g.get("class") for g in figure.iter("g")] == ["bar best", "bar model", "bar model"]


def test_close_ticks_are_told_apart():
    figure = drawn(line_chart("Rate", [Series("a", [(0, 1000.0), (1, 1004.0)])], X, Y))
    labels = [text.text for text in figure.iter("text") if text.get("class") == "tick left"]
    assert labels[:2] == ["1 k", "1.001 k"] and len(set(labels)) == len(labels)
