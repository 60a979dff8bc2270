"""Writing: the same text alone, in a batch, as a stream; limits, stops, seeds, faults."""

import numpy as np
import pytest

from zhixing.errors import ConfigError, ContextLengthError, InputError, ZhixingError
from zhixing.generation.generate import generate, stream
from zhixing.generation.settings import GenerationSettings

PROMPTS = [
    "the cat",
    "",
    "狗坐在",
    "the dog sat on the log and then on the m",
    "🙂",
    "the cat",
    "na",
    "x" * 30,
]
SAMPLED = GenerationSettings(max_new_tokens=20, seed=5)
VARIANTS = {
    "plain": SAMPLED,
    "greedy": SAMPLED.replace(temperature=0.0),
    "narrow": SAMPLED.replace(temperature=1.4, top_k=30, top_p=0.95, min_p=0.01),
    "penalised": SAMPLED.replace(repetition_penalty=1.3, presence_penalty=0.3, frequency_penalty=0.2),
    "endless": SAMPLED.replace(stop_at_separator=False),
    "stopped": SAMPLED.replace(stop=("at", "子", ". ")),
    "three": SAMPLED.replace(n=3),
}


def essence(generation):
    return generation.text, generation.ids, generation.finish_reason, generation.seed


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_gives_what_its_prompts_give_alone(model, tokenizer, variant):
    settings = VARIANTS[variant]
    alone = [text for prompt in PROMPTS for text in generate(model, tokenizer, [prompt], settings)]
    for size in (1, 3, 100):
        together = generate(model, tokenizer, PROMPTS, settings, batch_size=size)
        assert list(map(essence, together)) == list(map(essence, alone))
        assert [text.prompt_index for text in together] == [
            index for index in range(len(PROMPTS)) for _ in range(settings.n)
        ]
    assert len(set(map(essence, alone))) > len(PROMPTS) // 2, "different prompts must write different texts"


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "three"])
def test_a_stream_gives_the_same_text(model, tokenizer, variant):
    for prompt in PROMPTS:
        (whole,) = generate(model, tokenizer, [prompt], VARIANTS[variant])
        events = list(stream(model, tokenizer, prompt, VARIANTS[variant]))
        assert "".join(event.text for event in events) == whole.text
        assert sum((event.ids for event in events), ()) == whole.ids
        assert events[-1].generation == whole and events[-1].finish_reason == whole.finish_reason
        assert all(event.generation is None and event.text for event in events[:-1])


def test_text_is_the_ids_decoded(ngram, tokenizer):
    for text in generate(ngram, tokenizer, ["the cat"], SAMPLED.replace(n=20)):
        assert text.text == tokenizer.decode(text.ids)
        assert text.completion_tokens == len(text.ids) == len(text.log_probs)
        assert text.prompt_tokens == 1 + len(tokenizer.encode("the cat"))


def test_a_stream_never_shows_a_broken_character(ngram, tokenizer):
    """What is shown is never taken back; U+FFFD appears only where the ids are truly not UTF-8."""
    many_bytes = 0
    for seed in range(40):
        events = list(stream(ngram, tokenizer, "🙂猫", SAMPLED.replace(seed=seed, max_new_tokens=30)))
        whole, shown = tokenizer.decode(events[-1].generation.ids), ""
        for event in events:
            shown += event.text
            assert whole.startswith(shown)
        assert shown == whole
        many_bytes += any(ord(character) > 127 and character != "\ufffd" for character in whole)
    assert many_bytes > 20


def test_log_probs_are_the_models_own(recurrent, tokenizer):
    settings = SAMPLED.replace(temperature=0.5, top_k=3, repetition_penalty=1.5, logprobs=2)
    (text,) = generate(recurrent, tokenizer, ["the"], settings)
    ids = np.array([[tokenizer.separator_id, *tokenizer.encode("the"), *text.ids]])
    start = ids.shape[1] - len(text.ids)
    for k, token_id in enumerate(text.ids):
        row, _ = recurrent.next_log_probs(ids[:, : start + k], recurrent.initial_state(1))
        assert text.log_probs[k] == pytest.approx(row[0, token_id], abs=1e-5)
        assert [i for i, _ in text.top_log_probs[k]] == np.argsort(-row[0])[:2].tolist()


def test_greedy_takes_the_best_every_time(recurrent, tokenizer):
    (text,) = generate(recurrent, tokenizer, ["the"], SAMPLED.replace(temperature=0.0, logprobs=1))
    allowed = set(range(tokenizer.vocab_size)) - (tokenizer.special_ids - {tokenizer.separator_id})
    for token_id, ((best, _),) in zip(text.ids, text.top_log_probs, strict=True):
        assert token_id == best or best not in allowed


def test_special_ids_are_never_written_unless_they_stop(make_recurrent, tokenizer):
    model = make_recurrent(tokenizer.vocab_size + 60)  # a padded vocabulary, 60 rows without a token
    settings = GenerationSettings(max_new_tokens=60, n=40, seed=1)
    ids = {i for text in generate(model, tokenizer, ["a"], settings) for i in text.ids}
    assert not ids & (tokenizer.special_ids - {tokenizer.separator_id})
    assert max(ids) < tokenizer.vocab_size
    end = tokenizer.special_id("<|end|>")
    texts = generate(model, tokenizer, ["a"], settings.replace(stop_ids=(end,)))
    stopped = [text for text in texts if end in text.ids]
    assert stopped and all(text.ids[-1] == end and text.finish_reason == "stop" for text in stopped)


def test_separator_ends_or_begins_a_document(ngram, tokenizer):
    ended = generate(ngram, tokenizer, ["café\n"], SAMPLED.replace(n=10))
    assert any(text.ids[-1] == tokenizer.separator_id and text.finish_reason == "stop" for text in ended)
    assert all(tokenizer.separator_id not in text.ids[:-1] for text in ended)
    endless = generate(ngram, tokenizer, ["café\n"], SAMPLED.replace(n=10, stop_at_separator=False))
    assert all(text.completion_tokens == 20 and text.finish_reason == "length" for text in endless)
    assert any(tokenizer.separator_id in text.ids for text in endless)


def test_stop_string_is_not_shown(ngram, tokenizer):
    settings = SAMPLED.replace(stop=("at",), n=20)
    texts = generate(ngram, tokenizer, ["the c"], settings)
    assert any(text.stop_string == "at" for text in texts)
    for text in texts:
        assert "at" not in text.text
        assert (text.finish_reason == "stop") == (text.stop_string is not None or 266 in text.ids)


def test_seeds(recurrent, tokenizer):
    first = generate(recurrent, tokenizer, ["the"], SAMPLED.replace(n=4, seed=None))
    assert len({text.text for text in first}) == 4
    for text in first:
        (again,) = generate(recurrent, tokenizer, ["the"], SAMPLED.replace(seed=text.seed))
        assert again.ids == text.ids
    assert generate(recurrent, tokenizer, ["the"], SAMPLED.replace(seed=None))[0].seed != first[0].seed


def test_equal_prompts_are_read_once(recurrent, tokenizer):
    generate(recurrent, tokenizer, ["the", "the"], SAMPLED.replace(n=5, max_new_tokens=1))
    assert (recurrent.calls, recurrent.rows_read) == (1, 1)


def test_context_is_used_to_its_end(recurrent, tokenizer):
    settings = SAMPLED.replace(max_new_tokens=None, stop_at_separator=False)
    for length in (1, 50, 59, 60):
        prompt = [tokenizer.separator_id, *([65] * (length - 1))]
        (text,) = generate(recurrent, tokenizer, [prompt], settings)
        assert text.completion_tokens == 60 - length + 1
        assert (text.finish_reason, text.prompt_tokens) == ("length", length)


def test_too_long_a_prompt_is_an_error_with_the_counts(recurrent, tokenizer):
    with pytest.raises(ContextLengthError) as caught:
        generate(recurrent, tokenizer, ["ok", "x" * 60], SAMPLED)
    assert (caught.value.ids, caught.value.limit) == (61, 60)
    assert recurrent.calls == 0, "nothing is computed before every prompt is known to fit"
    with pytest.raises(ContextLengthError):
        stream(recurrent, tokenizer, "x" * 60, SAMPLED)


def test_no_limit_at_all_has_a_cap(ngram, tokenizer, monkeypatch):
    monkeypatch.setattr("zhixing.generation.sequence.UNLIMITED", 50)
    (text,) = generate(ngram, tokenizer, ["the"], SAMPLED.replace(max_new_tokens=None, stop_at_separator=False))
    assert text.completion_tokens == 50


def test_nothing_to_write(model, tokenizer):
    settings = SAMPLED.replace(max_new_tokens=0)
    (text,) = generate(model, tokenizer, ["the"], settings)
    assert (text.text, text.finish_reason, text.completion_tokens) == ("", "length", 0)
    (event,) = stream(model, tokenizer, "the", settings)
    assert event.generation == text
    assert generate(model, tokenizer, [], SAMPLED) == []


@pytest.mark.parametrize("prompt", [[], [-1], [10**6]])
def test_bad_ids(model, tokenizer, prompt):
    with pytest.raises(InputError):
        generate(model, tokenizer, [prompt], SAMPLED)


@pytest.mark.parametrize("changes", [{"stop_ids": (5_000,)}, {"logit_bias": ((5_000, 1.0),)}])
def test_settings_with_unknown_ids(model, tokenizer, changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        generate(model, tokenizer, ["a"], SAMPLED.replace(**changes))


def test_a_foreign_tokenizer_is_refused(make_recurrent, tokenizer):
    with pytest.raises(InputError, match="belong"):
        generate(make_recurrent(100), tokenizer, ["a"], SAMPLED)


def test_misuse(model, tokenizer):
    with pytest.raises(ConfigError):
        generate(model, tokenizer, "not a list", SAMPLED)
    with pytest.raises(ConfigError):
        stream(model, tokenizer, "a", SAMPLED.replace(n=2))


def test_a_broken_model_is_an_error_not_a_text(make_recurrent, tokenizer):
    model = make_recurrent(tokenizer.vocab_size)
    model._output[:] = np.nan
    with pytest.raises(ZhixingError, match="finite"):
        generate(model, tokenizer, ["a"], SAMPLED)


def test_each_prompt_may_have_its_own_settings(model, tokenizer):
    each = [SAMPLED.replace(max_new_tokens=3), SAMPLED.replace(temperature=0.0), SAMPLED.replace(n=2)]
    together = generate(model, tokenizer, ["the", "the", "cat"], each)
    alone = [
        text
        for prompt, settings in zip(["the", "the", "cat"], each, strict=True)
        for text in generate(model, tokenizer, [prompt], settings)
    ]
    assert list(map(essence, together)) == list(map(essence, alone))
