"""Who sees whom, as it is shown, is what a change of one token does to real networks."""

import numpy as np
import pytest
import torch

from zhixing.models import bert
from zhixing.models.bert import BertSettings
from zhixing.models.convolutional import ConvolutionalSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.feedforward import FeedForwardSettings
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.recurrent import RecurrentSettings
from zhixing.pretraining.visibility import around, before, reach, within

SIZE, WORDS = 14, 30
SHAPE = {"vocab_size": WORDS, "context_length": SIZE, "width": 16}
DECODERS = [
    GPT2Settings(layers=2, heads=2, **SHAPE),
    LlamaSettings(layers=2, heads=2, **SHAPE),
    LlamaSettings(layers=2, heads=2, attention_window=3, **SHAPE),
    RecurrentSettings(layers=1, **SHAPE),
    FeedForwardSettings(window=4, embedding_width=8, **SHAPE),
    ConvolutionalSettings(layers=2, kernel=3, **SHAPE),
]
DOCUMENTS = np.array([0] * 5 + [1] * 6 + [2] * 3)


def influence(settings, documents=None, length=None):
    """Return (T, T): True where another token at place s changes the hidden state of place t."""
    torch.manual_seed(0)
    network = build_decoder(settings).double().eval()
    with torch.no_grad():  # some families begin with maps of zeros, through which nothing passes
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    given = {} if documents is None else {"documents": torch.as_tensor(documents)[None].expand(SIZE + 1, -1)}
    if length is not None:
        given["lengths"] = torch.full((SIZE + 1,), length)
    ids = torch.arange(SIZE).repeat(SIZE + 1, 1)
    ids[torch.arange(SIZE), torch.arange(SIZE)] = 29  # row s differs from the last row at place s
    with torch.no_grad():
        hidden = network(ids, **given)
    return (hidden[:-1] - hidden[-1:]).abs().amax(dim=-1).T.numpy() > 1e-12


@pytest.mark.parametrize("documents", [None, DOCUMENTS], ids=["one document", "three"])
@pytest.mark.parametrize("settings", DECODERS, ids=lambda one: f"{one.family}-{reach(one)}")
def test_decoders(settings, documents):
    numbers = np.zeros(SIZE, np.int64) if documents is None else documents
    shown = before(numbers) & within(SIZE, reach(settings))
    np.testing.assert_array_equal(shown, influence(settings, documents))


@pytest.mark.parametrize("documents", [None, DOCUMENTS], ids=["one document", "three"])
@pytest.mark.parametrize("length", [None, 12])
def test_encoders_look_both_ways_but_not_at_padding(documents, length, monkeypatch):
    monkeypatch.setattr(bert, "_SHARPNESS", 0.1)  # a new BERT's first heads hardly see what is not beside them
    real = SIZE if length is None else length
    found = influence(BertSettings(layers=1, heads=2, **SHAPE), documents, length)
    shown = around(documents, SIZE, length)
    np.testing.assert_array_equal(shown[:real], found[:real])  # nobody reads the states of padding
    assert not shown[:real, real:].any()


def test_reach():
    assert [reach(one) for one in DECODERS] == [None, None, 5, None, 4, 5]
    assert within(3, None).all() and within(3, 1).tolist() == np.eye(3, dtype=bool).tolist()
