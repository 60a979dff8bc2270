"""Beam search: the best text there is where it can be known, equal to greedy with one beam, and every setting."""

import itertools

import numpy as np
import pytest

from zhixing.errors import ConfigError, ContextLengthError, InputError
from zhixing.generation.beam import beam_search, length_penalty
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.ngram import NgramModel
from zhixing.theory import decoding as theory
from zhixing.tokenizers.bytes import ByteTokenizer

GREEDY = GenerationSettings(temperature=0.0, max_new_tokens=12)
ENDLESS = GREEDY.replace(stop_at_separator=False)


def next_log_probs(model, tokenizer, prompt):
    """The model by its stateless reading: every hypothesis from its beginning."""
    read = (tokenizer.separator_id, *tokenizer.encode(prompt))
    never = [*sorted(tokenizer.special_ids - {tokenizer.separator_id}), *range(tokenizer.vocab_size, model.vocab_size)]

    def row(ids):
        scores = model.next_log_probs(np.array([[*read, *ids]]), model.initial_state(1))[0][0].astype(np.float64)
        scores[never] = -np.inf
        return scores

    return row


@pytest.mark.parametrize("alpha", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("beams", [1, 2, 4])
def test_it_is_the_theorys_search(model, tokenizer, beams, alpha):
    settings = GREEDY.replace(n=beams, max_new_tokens=6)
    for prompt in ("the cat", "狗坐在"):
        found = beam_search(model, tokenizer, [prompt], settings, beams=beams, alpha=alpha)
        expected = theory.beam_search(next_log_probs(model, tokenizer, prompt), beams, 6, tokenizer.separator_id, alpha)
        assert [text.ids for text in found] == [ids for ids, _ in expected]
        sums = [sum(text.log_probs) for text in found]
        assert sums == pytest.approx([total for _, total in expected], abs=1e-4)


def test_one_beam_without_an_end_is_greedy(model, tokenizer):
    for prompt in ("the cat", "", "🙂"):
        (greedy,) = generate(model, tokenizer, [prompt], ENDLESS)
        (found,) = beam_search(model, tokenizer, [prompt], ENDLESS, beams=1)
        assert (found.ids, found.text, found.finish_reason) == (greedy.ids, greedy.text, greedy.finish_reason)
        assert found.log_probs == pytest.approx(greedy.log_probs, abs=1e-5)


def test_more_beams_find_no_less_probable_texts(model, tokenizer):
    scores = []
    for beams in (1, 4, 16):
        texts = beam_search(model, tokenizer, ["the cat", "狗", "na"], ENDLESS, beams=beams, alpha=0.0)
        scores.append(sum(sum(text.log_probs) for text in texts))
    assert scores[0] <= scores[1] + 1e-6 <= scores[2] + 2e-6
    # The n-gram has read so little that greedy is already best; the others have something to find.
    assert model.family == "ngram" or scores[0] < scores[2] - 0.1


def small_model():
    """Three letters and the separator, so that all texts can be listed."""
    tokenizer = ByteTokenizer()
    rng = np.random.default_rng(3)
    ids = np.where((drawn := rng.integers(4, size=300)) == 3, tokenizer.separator_id, drawn + ord("a"))
    model = NgramModel.fit([ids], tokenizer.vocab_size, tokenizer.separator_id, order=3)
    return model, tokenizer


def test_enough_beams_find_the_best_of_all_texts():
    model, tokenizer = small_model()
    allowed = [ord("a"), ord("b"), ord("c")]
    settings = GREEDY.replace(
        max_new_tokens=4, n=5, logit_bias=tuple((i, -100.0) for i in range(256) if i not in allowed)
    )
    row = next_log_probs(model, tokenizer, "a")
    every = []
    for length in range(1, 5):
        for letters in itertools.product(allowed, repeat=length):
            ended = (*letters[:-1], tokenizer.separator_id)
            every += [ended] if letters[-1] == allowed[0] else []
            every += [letters] if length == 4 else []
    totals = {ids: sum(row(ids[:place])[token] for place, token in enumerate(ids)) for ids in every}
    assert len(totals) == 81 + 27 + 9 + 3 + 1
    for alpha in (0.0, 1.0, 3.0):
        best = sorted(totals, key=lambda ids, alpha=alpha: -totals[ids] / length_penalty(len(ids), alpha))[:5]
        found = beam_search(model, tokenizer, ["a"], settings, beams=81, alpha=alpha)
        assert [text.ids for text in found] == best


def test_the_penalty_favours_longer_texts():
    model, tokenizer = small_model()
    lengths = [
        np.mean([len(t.ids) for t in beam_search(model, tokenizer, ["a"], GREEDY.replace(n=4), beams=4, alpha=alpha)])
        for alpha in (0.0, 1.0, 3.0)
    ]
    assert lengths[0] < lengths[1] <= lengths[2]


def test_the_end_is_not_shown_and_the_reason_is_told(ngram, tokenizer):
    found = beam_search(ngram, tokenizer, ["the cat sat on the mat. 猫坐在垫子上。"], GREEDY.replace(n=4), beams=4)
    ended = [text for text in found if text.finish_reason == "stop"]
    for text in found:
        cut = text.ids[:-1] if text.finish_reason == "stop" else text.ids
        assert text.text == tokenizer.decode(cut)
        assert text.completion_tokens == len(text.ids) == len(text.log_probs)
    assert all(text.ids[-1] == tokenizer.separator_id for text in ended)


def test_stop_strings_end_a_text(ngram, tokenizer):
    settings = GREEDY.replace(stop=("sat",), n=3)
    found = beam_search(ngram, tokenizer, ["the cat"], settings, beams=6)
    stopped = [text for text in found if text.stop_string == "sat"]
    assert stopped
    assert all(text.finish_reason == "stop" and "sat" not in text.text for text in stopped)


def test_penalties_and_bias_steer_the_search(recurrent, tokenizer):
    long = ENDLESS.replace(max_new_tokens=40)
    (plain,) = beam_search(recurrent, tokenizer, ["the"], long)
    banned = plain.ids[0]
    (biased,) = beam_search(recurrent, tokenizer, ["the"], long.replace(logit_bias=((banned, -100.0),)))
    assert banned not in biased.ids
    (fresh,) = beam_search(recurrent, tokenizer, ["the"], long.replace(repetition_penalty=5.0))
    assert len(set(fresh.ids)) == 40 > len(set(plain.ids))
    (counted,) = beam_search(recurrent, tokenizer, ["the"], long.replace(presence_penalty=2.0, frequency_penalty=2.0))
    assert len(set(counted.ids)) > len(set(plain.ids))


def test_several_prompts_give_what_they_give_alone(recurrent, tokenizer):
    prompts = ["the cat", "狗", ""]
    settings = GREEDY.replace(n=2)
    together = beam_search(recurrent, tokenizer, prompts, settings, beams=3)
    alone = [text for prompt in prompts for text in beam_search(recurrent, tokenizer, [prompt], settings, beams=3)]
    assert [text.ids for text in together] == [text.ids for text in alone]
    assert [text.prompt_index for text in together] == [0, 0, 1, 1, 2, 2]


def test_it_stops_when_nothing_can_change(ngram, tokenizer, make_recurrent):
    """A text that is sure to end at once needs few steps, whatever the limit."""
    model = make_recurrent(tokenizer.vocab_size)
    settings = GREEDY.replace(max_new_tokens=200, logit_bias=((tokenizer.separator_id, 50.0),))
    beam_search(model, tokenizer, ["a"], settings, beams=2, alpha=0.0)
    assert model.calls == 200  # a bias may raise sums, so nothing is sure before the limit
    falling = GREEDY.replace(max_new_tokens=200)
    model.calls = 0
    beam_search(model, tokenizer, ["a"], falling, beams=2, alpha=0.0)
    assert model.calls < 100


def test_log_probabilities_of_alternatives(ngram, tokenizer):
    (text,) = beam_search(ngram, tokenizer, ["the"], GREEDY.replace(logprobs=3))
    assert len(text.top_log_probs) == len(text.ids)
    for chosen, said, top in zip(text.ids, text.log_probs, text.top_log_probs, strict=True):
        assert len(top) == 3 and top[0][1] >= said
        assert said == dict(top).get(chosen, said)


def test_limits(recurrent, tokenizer):
    (none,) = beam_search(recurrent, tokenizer, ["a"], GREEDY.replace(max_new_tokens=0))
    assert (none.text, none.finish_reason) == ("", "length")
    (full,) = beam_search(recurrent, tokenizer, ["a" * 50], ENDLESS.replace(max_new_tokens=None))
    assert len(full.ids) == 60 - 51 + 1
    with pytest.raises(ContextLengthError):
        beam_search(recurrent, tokenizer, ["a" * 60], GREEDY)


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        ({"temperature": 1.0}, {}, "temperature to 0"),
        ({"n": 5}, {"beams": 4}, "beams = 4"),
        ({}, {"beams": 0}, "at least one"),
        ({}, {"alpha": -1.0}, "alpha"),
        ({}, {"alpha": float("nan")}, "alpha"),
    ],
)
def test_bad_settings_are_named(ngram, tokenizer, change, options, says):
    with pytest.raises(ConfigError, match=says):
        beam_search(ngram, tokenizer, ["a"], GREEDY.replace(**change), **options)


def test_bad_prompts_are_named(ngram, tokenizer):
    with pytest.raises(ConfigError, match="list"):
        beam_search(ngram, tokenizer, "text")
    with pytest.raises(InputError, match="vocabulary"):
        beam_search(ngram, tokenizer, [[99_999]])
