"""The choice: the best within the limits, who was left out and why, in both languages."""

from dataclasses import replace

import pytest

from zhixing.comparison.choice import Limits, admitted, choose
from zhixing.comparison.table import Row
from zhixing.evaluation.significance import Comparison

LLAMA = Row("llama", "llama", 1.2, parameters=3_000_000, megabytes=400.0, milliseconds_per_token=4.0)
GRU = Row("gru", "recurrent", 1.4, parameters=900_000, megabytes=300.0, milliseconds_per_token=1.0)
NGRAM = Row("5-gram", "ngram", 1.5, parameters=2_000_000, megabytes=90.0, milliseconds_per_token=0.5)
RANKED = [LLAMA, GRU, NGRAM]


def test_without_limits_the_lowest() -> None:
    choice = choose(RANKED, Limits(), None)
    assert choice.best == "llama" and not choice.excluded
    assert choice.sentences == ["Choose llama: 1.200 bits per byte, the lowest of 3 models."]


@pytest.mark.parametrize(
    ("limits", "best", "excluded"),
    [
        (Limits(max_params=1_000_000), "gru", {"llama": ["3 M parameters"], "5-gram": ["2 M parameters"]}),
        (Limits(max_memory=100), "5-gram", {"llama": ["400 MB"], "gru": ["300 MB"]}),
        (Limits(max_latency=1.0), "gru", {"llama": ["4 ms per token"]}),
        (
            Limits(max_params=2_000_000, max_memory=100),
            "5-gram",
            {"llama": ["3 M parameters", "400 MB"], "gru": ["300 MB"]},
        ),
    ],
)
def test_within_limits(limits: Limits, best: str, excluded: dict[str, list[str]]) -> None:
    choice = choose(RANKED, limits, None)
    assert (choice.best, dict(choice.excluded)) == (best, excluded)
    assert f"choose {best}: " in choice.sentences[0]
    assert ("models that keep them" in choice.sentences[0]) == (len(excluded) == 1)
    assert choice.sentences[1].startswith("Left out: ")
    assert admitted(RANKED, limits)[0] == best


def test_the_only_one_that_keeps_them() -> None:
    choice = choose(RANKED, Limits(max_memory=100), None)
    assert choice.sentences[0] == (
        "Within your limits (at most 100 MB) choose 5-gram: 1.500 bits per byte, the only model that keeps them."
    )


def test_nobody_keeps_them() -> None:
    choice = choose(RANKED, Limits(max_params=1), None)
    assert choice.best is None and "No model keeps your limits (at most 1 parameters)" in choice.sentences[0]
    assert choose([], Limits(), None).sentences == ["No model was finished, so there is none to choose."]


def test_what_was_not_measured_is_not_admitted() -> None:
    unknown = replace(LLAMA, megabytes=None)
    assert choose([unknown, GRU], Limits(max_memory=1000), None).excluded == {"llama": ["unknown MB"]}


def test_a_doubtful_lead_is_said() -> None:
    test = Comparison("llama", "gru", -0.01, -0.05, 0.03, 0.4, 20, 10_000, 0, 0.95)
    assert choose(RANKED, Limits(), test).sentences[0].endswith("on this text it is not distinguishable from gru.")
    few = choose(RANKED, Limits(), replace(test, documents=4)).sentences[0]
    assert few.endswith("; too few documents to be sure of it.") and "distinguishable" not in few
    clear = replace(test, low=-0.05, high=-0.01, p_value=0.001)
    assert "distinguishable" not in choose(RANKED, Limits(), clear).sentences[0]


def test_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    said = choose(RANKED, Limits(max_params=1_000_000, max_latency=2), None).sentences
    assert (
        said[0] == "在您的限制内（至多 1 M 个参数、每词元 2 毫秒），选 gru：每字节 1.400 比特，是唯一符合限制的模型。"
    )
