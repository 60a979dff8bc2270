"""Topics of learning losses, text measures, search, compression and trust: numbers by hand, inputs that may change,
both languages, drawn in the terminal and as a page."""

from __future__ import annotations

import numpy as np
import pytest

from zhixing.errors import ConfigError
from zhixing.explain.lesson import lesson
from zhixing.explain.page import lesson_page
from zhixing.explain.places import practice_place
from zhixing.explain.topics import compression, learning_losses, search, text_measures, topics, trust

MAKERS = (
    *learning_losses.TOPICS,
    *text_measures.TOPICS,
    *search.TOPICS,
    *compression.TOPICS,
    *trust.TOPICS,
)
NAMES = [make().name for make in MAKERS]


def values(name, *changes):
    return [step.value for step in lesson(name, changes).steps]


def test_all_are_registered() -> None:
    assert set(NAMES) <= set(topics())
    assert len(set(NAMES)) == len(NAMES) == 20


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_is_whole(name, language, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    one = lesson(name)
    assert 3 <= len(one.steps) <= 8
    assert one.picture is not None
    for step in one.steps:
        if isinstance(step.value, np.ndarray) and step.value.dtype.kind == "f":
            assert np.isfinite(step.value).all(), step.says
    for place in one.topic.practice:
        practice_place(place)
    assert one.topic.title in lesson_page(one, {}, "")


@pytest.mark.parametrize("name", NAMES)
def test_related_topics_exist_and_texts_are_chinese(name, monkeypatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    topic = topics()[name]
    assert set(topic.related) <= set(topics())
    for text in (*topic.idea, *topic.pitfalls):
        assert any("一" <= character <= "鿿" for character in text)
        assert text.endswith("。") or text.endswith("？")


def test_numbers_by_hand() -> None:
    assert values("precision-recall")[0].tolist() == [1, 1, 2]
    assert values("edit-distance", "first=ab", "second=cb")[-1] == 1.0
    assert values("edit-distance")[3] == "k→s e→i +g"
    assert values("word-error-rate")[3] == pytest.approx(3 / 8)
    assert values("bleu")[3] == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25 * np.exp(1 - 7 / 6))
    assert values("rouge")[2] == 2.0
    assert values("ndcg")[2] == pytest.approx(2 / 1 + 0 + 3 / 2)
    assert values("triplet")[3] == pytest.approx(1.0 - 1.44 + 1.0)
    assert values("dpo")[:2][1] == pytest.approx(0.5 * (2.0 - 0.5))
    assert values("grpo")[0].tolist() == [0.5, 0.5]
    assert values("permutation-language-modelling")[-1] == pytest.approx(-np.log(0.8 * 0.25) / 2)
    assert values("quantisation")[0] == pytest.approx(2.8 / 7)
    assert values("pruning")[1].sum() == 5
    assert values("beam-search")[0] == "a END (0.24)"
    assert values("beam-search")[2].startswith("b END (0.36)")


def test_a_wide_beam_is_needed_to_leave_the_greedy_path() -> None:
    assert values("beam-search", "beams=1")[2].startswith("a END")


def test_attributions_sum_to_the_change() -> None:
    found, change = values("integrated-gradients", "steps=500")[-1]
    assert found == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("precision-recall", "label=eggs", "ham, spam"),
        ("bleu", "candidate=a", "1 words"),
        ("word-error-rate", "references=[a]", "2 entries"),
        ("ndcg", "relevances=[-1]", "0 or more"),
        ("masked-language-modelling", "text=[the, bird, sat]", "the, cat, dog, sat"),
        ("permutation-language-modelling", "order=[0, 0, 1, 2]", "each once"),
        ("contrastive", "keys=[[1, 0]]", "3 rows"),
        ("triplet", "negative=[1]", "2 entries"),
        ("grpo", "ratios=[1]", "4 entries"),
        ("beam-search", "first=[0.5, 0.6, 0.4]", "sum to one"),
        ("quantisation", "group=4", "6 weights"),
        ("pruning", "x=[1]", "3 entries"),
        ("distillation", "target=7", "at most 2"),
        ("integrated-gradients", "x=[1]", "3 entries"),
        ("attention-rollout", "first=[[1]]", "3 rows"),
        ("differential-privacy", "rate=2", "rate"),
    ],
)
def test_inputs_that_do_not_fit_are_named(name, change, says) -> None:
    with pytest.raises(ConfigError, match=says):
        lesson(name, [change])
