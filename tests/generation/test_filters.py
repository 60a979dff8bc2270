"""Filters against transformers' logits processors, alone and all in one row."""

import numpy as np
import pytest

from zhixing.generation import filters
from zhixing.generation.filters import History, build_filters
from zhixing.generation.settings import GenerationSettings
from zhixing.theory.decoding import softmax

RANDOM = np.random.default_rng(3)
PROMPT, GENERATED = (4, 9, 9, 30), (7, 7, 2)


def a_row(size=200):
    return np.log(softmax(RANDOM.normal(0, 2, size)))


def run(settings, row, forbidden=()):
    history = History(PROMPT)
    for token_id in GENERATED:
        history.append(token_id)
    for apply in build_filters(settings, forbidden):
        row = apply(row, history)
    return row


CASES = {
    "temperature": {"temperature": 0.6},
    "top_k": {"top_k": 7},
    "top_k beyond the vocabulary": {"top_k": 10_000},
    "top_p": {"top_p": 0.8},
    "tiny top_p": {"top_p": 1e-6},
    "min_p": {"min_p": 0.1},
    "repetition": {"repetition_penalty": 1.4},
    "all": {"temperature": 1.3, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("trial", range(5))
def test_equals_transformers(case, trial):
    torch = pytest.importorskip("torch")
    hf = pytest.importorskip("transformers")
    given, row = CASES[case], a_row()
    oracle = hf.LogitsProcessorList()
    if "repetition_penalty" in given:
        oracle.append(hf.RepetitionPenaltyLogitsProcessor(given["repetition_penalty"]))
    oracle.append(hf.SuppressTokensLogitsProcessor([5, 6]))
    if "temperature" in given:
        oracle.append(hf.TemperatureLogitsWarper(given["temperature"]))
    if "top_k" in given:
        oracle.append(hf.TopKLogitsWarper(given["top_k"]))
    if "top_p" in given:
        oracle.append(hf.TopPLogitsWarper(given["top_p"]))
    if "min_p" in given:
        oracle.append(hf.MinPLogitsWarper(given["min_p"]))
    expected = oracle(torch.tensor([[*PROMPT, *GENERATED]]), torch.tensor(row)[None])[0].softmax(-1).numpy()
    ours = softmax(run(GenerationSettings(**given), row, forbidden=(6, 5)))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_without_settings_the_row_is_untouched():
    assert build_filters(GenerationSettings(), ()) == []


def test_greedy_needs_only_what_can_change_the_best():
    settings = GenerationSettings(temperature=0.0, top_k=3, top_p=0.5, min_p=0.1, repetition_penalty=1.1)
    assert len(build_filters(settings, (1,))) == 2


def test_filters_do_not_write_into_the_models_row():
    row = a_row()
    before = row.copy()
    run(
        GenerationSettings(repetition_penalty=2.0, presence_penalty=1.0, logit_bias=((3, 5.0),), top_p=0.5),
        row,
        (1,),
    )
    np.testing.assert_array_equal(row, before)


def test_bias_and_forbidding():
    settings = GenerationSettings(logit_bias=((3, 100.0), (1, 100.0)))
    scores = run(settings, a_row(), forbidden=(1,))
    assert np.argmax(scores) == 3
    assert scores[1] == -np.inf


def test_counts_only_what_was_generated():
    scores = run(GenerationSettings(presence_penalty=0.5, frequency_penalty=0.25), np.zeros(40))
    assert scores[7] == -1.0 and scores[2] == -0.75
    assert scores[9] == 0.0, "the prompt is not counted"


@pytest.mark.parametrize("temperature", [1e-320, 1e-9, 100.0])
def test_extreme_temperatures_leave_a_choice(temperature):
    scores = filters.temperature(a_row(), temperature)
    assert scores.max() == 0.0 and not np.isnan(scores).any()


def test_top_p_with_ties_keeps_the_lower_ids():
    assert np.flatnonzero(filters.top_p(np.log(np.full(10, 0.1)), 0.35) > -np.inf).tolist() == [0, 1, 2, 3]
