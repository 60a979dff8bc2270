"""Bounds, and the file that transformers reads and writes too."""

import json
import logging
import math

import pytest

from zhixing.errors import ConfigError, ModelFolderError
from zhixing.generation.settings import (
    GenerationSettings,
    load_generation_config,
    make_settings,
    save_generation_config,
    to_generation_config,
)

HUGE = 10**12
NUMBERS = [
    "max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "n", "logprobs",
]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [HUGE, -HUGE, -3, math.nan, math.inf, -math.inf, 10**400, "1", True])
def test_bad_numbers_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"'{name}'"):
        make_settings({name: value})


@pytest.mark.parametrize(
    "values",
    [
        {"stop": ["x"] * 17},
        {"stop": [""]},
        {"stop": ["x" * 1_001]},
        {"stop": [1]},
        {"logit_bias": ((1, 101.0),)},
        {"logit_bias": ((-1, 1.0),)},
        {"logit_bias": ((1, math.nan),)},
        {"logit_bias": tuple((i, 0.0) for i in range(2_000))},
        {"seed": 2**63},
        {"stop_ids": ["a"]},
        {"stop_ids": [-5]},
    ],
)
def test_bad_values_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        make_settings(values)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="temperature"):
        make_settings({"temprature": 1.0})


def test_one_stop_string_is_enough():
    assert make_settings({"stop": "\n"}).stop == ("\n",)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"temperature": 0.0, "stop_ids": (5,)},
        {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1, "n": 3},
        {"stop": ("\n\n", "结束"), "max_new_tokens": 7},
    ],
)
def test_file_round_trip(tmp_path, values):
    settings = GenerationSettings(**values)
    save_generation_config(settings, tmp_path, separator_id=0)
    back = load_generation_config(tmp_path)
    assert back.replace(stop_ids=tuple(i for i in back.stop_ids if i != 0)) == settings


def test_transformers_reads_our_file(tmp_path):
    hf = pytest.importorskip("transformers")
    save_generation_config(GenerationSettings(temperature=0.7, top_p=0.9, max_new_tokens=9), tmp_path, separator_id=3)
    theirs = hf.GenerationConfig.from_pretrained(tmp_path)
    assert (theirs.do_sample, theirs.temperature, theirs.top_p, theirs.top_k) == (True, 0.7, 0.9, 0)
    assert (theirs.max_new_tokens, theirs.eos_token_id, theirs.bos_token_id) == (9, 3, 3)
    theirs.validate(strict=True)


def test_we_read_transformers_file(tmp_path, caplog):
    hf = pytest.importorskip("transformers")
    hf.GenerationConfig(
        do_sample=True,
        temperature=0.5,
        top_k=11,
        repetition_penalty=1.2,
        eos_token_id=[1, 2],
        max_new_tokens=33,
    ).save_pretrained(tmp_path)
    ours = load_generation_config(tmp_path)
    assert (ours.temperature, ours.top_k, ours.repetition_penalty) == (0.5, 11, 1.2)
    assert (ours.stop_ids, ours.max_new_tokens) == ((1, 2), 33)
    assert not caplog.records


def test_what_is_not_supported_is_said(tmp_path, caplog):
    (tmp_path / "generation_config.json").write_text(
        json.dumps({"num_beams": 4, "no_repeat_ngram_size": 3, "typical_p": 1.0, "transformers_version": "5"}),
        encoding="utf-8",
    )
    with caplog.at_level(logging.WARNING):
        load_generation_config(tmp_path)
    assert "no_repeat_ngram_size, num_beams" in caplog.text and "typical_p" not in caplog.text


@pytest.mark.parametrize("text", ["[]", "{", '{"temperature": 1e9}', '{"temperature": NaN}', "[" * 100_000])
def test_a_bad_file_is_an_error(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelFolderError, match="generation_config"):
        load_generation_config(tmp_path)


def test_no_file_gives_the_defaults(tmp_path):
    assert load_generation_config(tmp_path) == GenerationSettings()


def test_only_what_differs_is_written():
    assert set(to_generation_config(GenerationSettings(temperature=0.0), 0)) == {
        "bos_token_id", "pad_token_id", "eos_token_id", "do_sample", "max_new_tokens",
    }  # fmt: skip
