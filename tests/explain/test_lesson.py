"""Lessons: the inputs, what a wrong one is told, places, numbers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from zhixing.errors import ConfigError
from zhixing.explain.lesson import LONGEST, UnknownTopicError, example_change, lesson, plain
from zhixing.explain.places import practice_place, theory_code, theory_place
from zhixing.explain.rounding import number, table
from zhixing.explain.scales import scale, strengths
from zhixing.explain.topics import topics
from zhixing.theory import decoding


def test_the_example_is_computed_from_the_inputs() -> None:
    found = lesson("temperature", ["temperature=2", "scores=[2, 0]", "tokens=[a, b]"])
    assert np.allclose(found.steps[-1].value, [np.e / (np.e + 1), 1 / (np.e + 1)])
    assert (
        found.command() == "zhixing explain temperature --set temperature=2 --set 'scores=[2, 0]' --set 'tokens=[a, b]'"
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("temprature", "'temperature'"), ("Softmax", "temperature"), ("动量", "momentum")]
)
def test_an_unknown_topic_names_the_nearest(name, hint, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh" if name == "动量" else "en")
    with pytest.raises(UnknownTopicError) as caught:
        lesson(name)
    assert hint in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("warmth=2", "unknown key 'warmth'"),
        ("temperature=-1", "must be more than 0"),
        ("temperature=hot", "must be a number"),
        ("scores=[1, 2]", "--set: 4 tokens but 2 scores"),
        ("temperature", "write it as name=value"),
    ],
)
def test_a_wrong_input_says_what_all_take(override, said) -> None:
    with pytest.raises(ConfigError) as caught:
        lesson("temperature", [override])
    words = str(caught.value)
    assert said in words
    assert "temperature: a number, above 0 (default 0.5): below 1 sharpens, above 1 flattens" in words
    assert "scores: a list of numbers, at least 2 of them (default [2, 1, 0, -2])" in words


@pytest.mark.parametrize("name", ["temperature", "attention", "adam"])
def test_a_topic_is_found_whatever_the_case(name) -> None:
    assert lesson(name.upper()).topic.name == lesson(name.title()).topic.name == name


@pytest.mark.parametrize("name", sorted(topics()))
def test_the_proposed_change_is_another_value_and_works(name) -> None:
    found = lesson(name)
    words = example_change(found)
    if not words:
        pytest.skip("it has nothing to change")
    assert words[0] == "--set"
    changed = lesson(name, [words[1]])
    assert changed.inputs != found.inputs and example_change(changed) == []


def test_nearly_every_topic_proposes_a_change() -> None:
    without = [name for name in topics() if not example_change(lesson(name))]
    assert len(without) <= len(topics()) // 5, without


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        ("adamw", "rate=1e308", "grows too large"),
        ("sgd", "rate=1e308", "not defined, such as 0/0"),
        (
            "temperature",
            f"scores=[{', '.join('1' * (LONGEST + 1))}]",
            f"give at most {LONGEST} values",
        ),
        ("byte-pair-encoding", f"words=[{'a' * 20_000}]", "20,002 characters are too much"),
    ],
)
def test_what_cannot_be_computed_is_said_in_a_sentence(name, override, said) -> None:
    with pytest.raises(ConfigError) as caught:
        lesson(name, [override])
    first = str(caught.value).splitlines()[0]
    assert first.startswith("--set") and said in first and "Errno" not in first and "(34" not in first


@pytest.mark.parametrize("name", ["adam", "rmsprop", "momentum", "sgd", "nesterov"])
@pytest.mark.parametrize("start", ["[0, 0]", "[0, 1]"])
def test_where_the_valley_is_level_nothing_moves(name, start) -> None:
    for step in lesson(name, [f"start={start}"]).steps:
        assert step.value is None or isinstance(step.value, str) or np.isfinite(step.value).all()


def test_what_it_takes_in_chinese(monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    with pytest.raises(ConfigError, match=r"temperature：数字，大于 0（默认 0[.]5）：小于 1 变尖"):
        lesson("temperature", ["temperature=0"])


def test_practice_is_found_without_importing_it() -> None:
    place = practice_place("zhixing.training.muon:Muon.step")
    assert place.shown == f"zhixing/training/muon.py:{place.line}"
    assert "def step" in place.file.read_text(encoding="utf-8").splitlines()[place.line - 1]
    for wrong in ("zhixing.training.muon:Moon", "zhixing.training.moon:Muon", "zhixing.training.muon:Muon.walk"):
        with pytest.raises(LookupError):
            practice_place(wrong)


def test_theory_is_shown_without_its_docstring() -> None:
    place, code = theory_place(decoding.softmax), theory_code(decoding.softmax)
    assert place.file.read_text(encoding="utf-8").splitlines()[place.line - 1].startswith("def softmax")
    assert code.startswith("def softmax") and '"""' not in code and "return" in code


def test_explaining_imports_no_torch() -> None:
    code = (
        "import sys\nfrom zhixing.cli.app import main\n"
        "try:\n    main(['explain', 'muon'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.0, "3"), (0.5, "0.5"), (0.123456, "0.1235"), (-12345.678, "−12346"), (3.2e-7, "3.2e−7"), (0.0, "0"),
     (float("inf"), "∞"), (float("-inf"), "−∞"), (float("nan"), "–"), ("N → V", "N → V"), (1e9, "1e9")],
)  # fmt: skip
def test_numbers(value, text) -> None:
    assert number(value) == text


def test_tables_align_and_never_round_to_nothing() -> None:
    assert table(np.array([[1, 20], [3, 4]])) == [["1", "20"], ["3", "4"]]
    assert table(np.array([0.25, 0.5, 1e-9])) == [["0.25", "0.50", "1e−9"]]
    assert table(np.array([True, False])) == [["✓", "·"]]
    assert table(np.array([1.0, -np.inf])) == [["1", "−∞"]]
    assert table(np.array([1 / 3, 2 / 3])) == [["0.3333", "0.6667"]]


def test_scales_hold_their_values() -> None:
    for values in ([0.1, 0.9], [5.0, 5.0], [-3.0, 1e6], [np.nan, 2.0], [0.0]):
        found = scale(np.array(values))
        finite = [value for value in values if np.isfinite(value)]
        assert found.low <= min(finite) and max(finite) <= found.high and found.low < found.high
        assert 2 <= len(found.ticks) <= 6
    assert np.array_equal(strengths(np.array([-2.0, 1.0, np.inf])), [-1.0, 0.5, np.nan], equal_nan=True)


def test_plain_values_have_no_number_that_json_lacks() -> None:
    assert plain({"a": np.array([1.0, -np.inf]), "b": (np.float64(2.0), float("nan"))}) == {
        "a": [1.0, "-inf"],
        "b": [2.0, "nan"],
    }
