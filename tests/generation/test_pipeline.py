"""The one-liner has transformers' names and shapes."""

import pytest

from zhixing.errors import ConfigError, InputError
from zhixing.generation.pipeline import pipeline


@pytest.fixture
def pipe(recurrent, tokenizer):
    return pipeline("text-generation", model=recurrent, tokenizer=tokenizer)


def test_shapes(pipe):
    one = pipe("the cat", max_new_tokens=5, seed=1)
    assert list(one[0]) == ["generated_text"] and one[0]["generated_text"].startswith("the cat")
    three = pipe("the cat", max_new_tokens=5, seed=1, num_return_sequences=3)
    assert len(three) == 3 and three[0] == one[0]
    lists = pipe(["the cat", "the dog"], max_new_tokens=5, seed=1, num_return_sequences=2)
    assert [len(texts) for texts in lists] == [2, 2] and lists[0] == three[:2]


def test_only_the_new_text(pipe):
    (full,), (new,) = (pipe("the cat", seed=4, max_new_tokens=9, return_full_text=full) for full in (True, False))
    assert full["generated_text"] == "the cat" + new["generated_text"]


def test_greedy(pipe):
    first, second = (pipe("the", do_sample=False, max_new_tokens=9) for _ in range(2))
    assert first == second == pipe("the", temperature=0, max_new_tokens=9)


def test_max_length_counts_the_prompt(pipe, recurrent):
    pipe("xxxxx", max_length=8, seed=0, eos_token_id=[])
    assert recurrent.calls == 3
    with pytest.raises(ConfigError, match="5 tokens"):
        pipe("xxxxx", max_length=5)
    with pytest.raises(ConfigError, match="not both"):
        pipe("xxxxx", max_length=9, max_new_tokens=3)


def test_errors_name_the_nearest(pipe, recurrent, tokenizer):
    with pytest.raises(ConfigError, match="'temperature'"):
        pipe("the", temprature=0.5)
    with pytest.raises(ConfigError, match="'num_return_sequences'"):
        pipe("the", num_return_sequence=2)
    with pytest.raises(ConfigError, match="'text-generation'"):
        pipeline("text-generaton", model=recurrent, tokenizer=tokenizer)
    with pytest.raises(ConfigError, match="do_sample"):
        pipe("the", do_sample=True, temperature=0.0)
    with pytest.raises(InputError, match="tokenizer="):
        pipeline("text-generation", model=recurrent)
    with pytest.raises(InputError, match="prompt 1"):
        pipe(["the", {"role": "user"}])
