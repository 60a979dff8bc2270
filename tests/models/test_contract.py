"""One battery over every language model in the tree: what is promised of one is promised of all.

A new neural family is one line in ``SETTINGS``, a variant of one a line in ``VARIANTS``, any other model a name in
``OTHERS``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from tests.models.contract import BATTERY, SHAPE, language_model
from tests.models.language_model_contract import CHECKS, TOKENIZER, V, draw, fresh

from zhixing.model_folder import write_folder
from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.decoders import FAMILIES
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.hmm import HmmModel, HmmSettings
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load
from zhixing.models.mixture import Gate, MixtureModel
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.ngram import NgramModel
from zhixing.models.recurrent import RecurrentSettings
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.rotary_scaling import Llama3Scaling
from zhixing.models.save import companion_files, hmm_files, mixture_files, neural_files, ngram_files
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings
from zhixing.models.xlnet import XLNetSettings
from zhixing.nn import convolution

SETTINGS = {
    "gpt2": GPT2Settings(**SHAPE, layers=2, width=16, heads=4),
    "llama": LlamaSettings(**SHAPE, layers=2, width=16, heads=4, inner_width=24, key_value_heads=2),
    "recurrent": RecurrentSettings(**SHAPE, layers=2, width=16, cell="lstm", dropout=0.3),
    "feedforward": FeedForwardSettings(**SHAPE, window=3, embedding_width=8, width=16, direct=True, dropout=0.3),
    "xlnet": XLNetSettings(**SHAPE, layers=2, width=16, heads=4, inner_width=24),
    "convolutional": ConvolutionalSettings(**SHAPE, layers=2, width=16, kernel=3, dropout=0.3),
    "recurrent_encoder_decoder": RecurrentEncoderDecoderSettings(**SHAPE, layers=2, width=16, dropout=0.3),
    "transformer": TransformerSettings(**SHAPE, layers=2, width=16, heads=4, dropout=0.3),
    "t5": T5Settings(**SHAPE, layers=2, width=16, heads=4, buckets=8, farthest=9, dropout=0.3),
}


LLAMA = SETTINGS["llama"].replace(key_value_heads=None)
PLAIN = LLAMA.replace(query_key_norm=False)
QWEN2 = PLAIN.replace(attention_bias="query_key_value")
READER = SETTINGS["recurrent_encoder_decoder"].replace(dropout=0.0)
TRANSFORMER = SETTINGS["transformer"].replace(dropout=0.0)
T5 = SETTINGS["t5"].replace(dropout=0.0)
VARIANTS = {
    "gpt2-narrow": SETTINGS["gpt2"].replace(inner_width=24),
    "llama-ungrouped": LLAMA,
    "llama-plain": PLAIN,
    "llama-tied": LLAMA.replace(tied=True),
    "llama-one-group": PLAIN.replace(key_value_heads=1, inner_width=20),
    "llama-wide-heads": LLAMA.replace(key_value_heads=2, head_width=6, tied=True),
    "llama-stretched": PLAIN.replace(rotary_scaling=Llama3Scaling(original_context=8), attention_bias="all"),
    "mistral": PLAIN.replace(attention_window=4, key_value_heads=2),
    "mistral-shortest": PLAIN.replace(attention_window=2),
    "qwen2": QWEN2.replace(key_value_heads=2, tied=True),
    "qwen2-window": QWEN2.replace(attention_window=5, full_layers=1),
    "qwen3-window": LLAMA.replace(attention_window=3),
    "reader-additive-lstm": READER.replace(cell="lstm", layers=1, tied=True, target_length=4, encoder="backward"),
    "reader-luong": READER.replace(cell="lstm", attention="multiplicative", start_id=2),
    "reader-unfed": READER.replace(cell="rnn", attention="multiplicative", input_feeding=False, encoder="forward"),
    "reader-dot": READER.replace(cell="lstm", attention="dot", encoder="backward", target_length=5),
    "reader-concat": READER.replace(attention="concat", tied=True),
    "reader-sutskever": READER.replace(cell="lstm", attention="none", encoder="backward"),
    "reader-cho": READER.replace(attention="none", encoder="forward", layers=1, target_length=9),
    "transformer-short-target": TRANSFORMER.replace(target_length=3, decoder_layers=1, activation="silu"),
    "transformer-long-target": TRANSFORMER.replace(target_length=9, start_id=2, scaled=False, head_bias=True),
    "transformer-short-source": TRANSFORMER.replace(target_length=12, inner_width=24, activation="gelu"),
    "t5-v1.1": T5.replace(feed_forward="gated-gelu", tied=False, head_width=6, decoder_layers=1, start_id=3),
    "transformer-shortest-target": TRANSFORMER.replace(target_length=2, layers=1, decoder_layers=2),
}
LEARNING = {"llama-ungrouped", "llama-tied", "mistral", "qwen2"}
"""Variants that also learn a tiny text by heart, which takes longest."""
NGRAMS = {"ngram": 3, "ngram-5": 5, "unigram": 1}
MIXTURES = {
    "mixture-static": ("gpt2", "ngram", (1, 1)),
    "mixture-order": ("llama-ungrouped", "ngram", (3, 1)),
    "mixture-context": ("llama", "ngram-5", (5, 3)),
    "mixture-neural": ("gpt2", "llama-tied", (1, 3)),
}
OTHERS = (*NGRAMS, "hmm", *MIXTURES)


@cache
def build(name):
    """A model of any kind; those that are counted have seen four ids and the separator only."""
    if name in NGRAMS:
        text = np.random.default_rng(3).choice([5, 6, 7, 8, TOKENIZER.separator_id], size=400)
        return NgramModel.fit([text], V, TOKENIZER.separator_id, order=NGRAMS[name])
    if name == "hmm":
        states = HmmSettings(states=6, iterations=60, tolerance=0.0)
        return HmmModel.fit([np.tile([5, 6, 7, 8, TOKENIZER.separator_id], 80)], V, states)
    if name not in MIXTURES:
        return language_model((SETTINGS | VARIANTS)[name])
    first, second, cells = MIXTURES[name]
    weights = np.random.default_rng(4).dirichlet(np.ones(2), cells)
    knots = np.linspace(-1.0, 1.0, cells[1]) if cells[1] > 1 else np.zeros(1)
    return MixtureModel([build(first), build(second)], Gate(weights, knots, span=3))


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", SETTINGS)
def test_every_family_keeps_the_contract(family, check):
    check(SETTINGS[family])


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_the_contract(variant, check):
    if check is BATTERY[-1] and variant not in LEARNING:
        pytest.skip("one of its kind learns")
    check(VARIANTS[variant])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_model_keeps_the_contract(name, check):
    check(build(name))


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_others_are(name):
    model = build(name)
    assert model.family == name.split("-")[0].replace("unigram", "ngram")
    assert (model.context_length is None) == (name in (*NGRAMS, "hmm"))


def save(model, folder):
    if isinstance(model, NeuralLanguageModel):
        files = neural_files(model.module, model.module.settings, TOKENIZER.separator_id)
    elif isinstance(model, NgramModel):
        files = ngram_files(model)
    elif isinstance(model, HmmModel):
        files = hmm_files(model)
    else:
        members = [folder.parent / f"{folder.name}-{index}" for index in range(len(model.members))]
        for member, place in zip(model.members, members, strict=True):
            save(member, place)
        files = mixture_files(model, members)
    write_folder(folder, {**files, **companion_files(TOKENIZER)}, facts={"seed": 1})


@pytest.mark.parametrize("name", [*SETTINGS, *VARIANTS, *OTHERS])
def test_a_saved_model_is_the_same_model(name, tmp_path):
    model = build(name)
    save(model, tmp_path / "first")
    again = load(tmp_path / "first")
    assert type(again.model) is type(model) and again.model.family == model.family
    assert again.tokenizer.fingerprint == TOKENIZER.fingerprint and again.facts == {"seed": 1}
    ids, lengths = draw(4, 9), np.array([9, 1, 4, 7])
    np.testing.assert_array_equal(again.model.score(ids, lengths), model.score(ids, lengths))
    np.testing.assert_array_equal(fresh(again.model, ids, lengths), fresh(model, ids, lengths))
    save(again.model, tmp_path / "second")
    files = ["model.safetensors"] if name in SETTINGS else ["config.json", "model.safetensors"]
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_no_family_is_left_out():
    """A family that carries a state from token to token is causal."""
    assert set(SETTINGS) == {name for name, (kind, _) in FAMILIES.items() if hasattr(kind, "new_cache")}
    assert all(name == settings.family for name, settings in SETTINGS.items())


def failed(settings):
    """The names of the checks that a family fails."""
    names = set()
    for check in BATTERY[:-1]:
        try:
            check(settings)
        except (AssertionError, RuntimeError, ValueError, IndexError):
            names.add(check.__name__)
    return names


RIGHT_WINDOWS = convolution.windows


def _looking_ahead(x, before, documents=None):
    return RIGHT_WINDOWS(torch.cat([x[:, 1:], x[:, :1]], dim=1), before, documents)


BROKEN = {
    "it sees the token to come": (
        lambda patch: patch.setattr(convolution, "windows", _looking_ahead),
        {"a_later_token_changes_nothing_before_it", "the_last_token_changes_what_follows"},
    ),
    "documents run together": (
        lambda patch: patch.setattr(convolution, "windows", lambda x, before, _=None: RIGHT_WINDOWS(x, before)),
        {"documents_in_one_window_are_as_if_alone"},
    ),
    "the state is forgotten": (
        lambda patch: patch.setattr(
            convolution, "windows", lambda x, before, documents=None: RIGHT_WINDOWS(x, before * 0, documents)
        ),
        {"token_by_token_is_all_at_once", "ragged_blocks_are_rows_read_alone", "rows_come_and_go"},
    ),
    "rows are not told apart": (
        lambda patch: patch.setattr(NeuralLanguageModel, "keep_rows", lambda self, state, rows: state),
        {"rows_come_and_go"},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_battery_catches_what_is_broken(what, monkeypatch):
    breaks, caught = BROKEN[what]
    breaks(monkeypatch)
    assert failed(SETTINGS["convolutional"]) >= caught
