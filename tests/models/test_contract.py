"""One battery over every causal neural family; a new family is one line here."""

from __future__ import annotations

import pytest
import torch
from tests.models.contract import BATTERY, SHAPE

from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.decoders import FAMILIES
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.recurrent import RecurrentSettings
from zhixing.models.xlnet import XLNetSettings
from zhixing.nn import convolution

SETTINGS = {
    "gpt2": GPT2Settings(**SHAPE, layers=2, width=16, heads=4),
    "llama": LlamaSettings(**SHAPE, layers=2, width=16, heads=4, inner_width=24, key_value_heads=2),
    "recurrent": RecurrentSettings(**SHAPE, layers=2, width=16, cell="lstm", dropout=0.3),
    "feedforward": FeedForwardSettings(**SHAPE, window=3, embedding_width=8, width=16, direct=True, dropout=0.3),
    "xlnet": XLNetSettings(**SHAPE, layers=2, width=16, heads=4, inner_width=24),
    "convolutional": ConvolutionalSettings(**SHAPE, layers=2, width=16, kernel=3, dropout=0.3),
}


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("family", SETTINGS)
def test_every_family_keeps_the_contract(family, check):
    check(SETTINGS[family])


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
        except AssertionError:
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
