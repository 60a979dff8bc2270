"""The bridge between tensors and the waist: what ``test_contracts`` does not look at."""

import numpy as np
import pytest
import torch

from zhixing.errors import ContextLengthError
from zhixing.models.decoders import build_decoder
from zhixing.models.llama import LlamaSettings
from zhixing.models.neural import NeuralLanguageModel, _token_log_probs


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = {"vocab_size": 40, "context_length": 300, "layers": 1, "width": 16, "heads": 2, "inner_width": 16}
    module = build_decoder(LlamaSettings(**shape, dropout=0.5))
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0, 0.3)
    return NeuralLanguageModel(module)


def test_it_is_in_evaluation_mode(model):
    assert not model.module.training
    ids = np.arange(8)[None]
    np.testing.assert_array_equal(model.score(ids), model.score(ids))


def test_scores_do_not_depend_on_how_rows_of_logits_are_cut():
    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(23, 8, generator=generator), torch.randn(11, 8, generator=generator)
    targets = torch.randint(0, 11, (23,), generator=generator)
    expected = torch.log_softmax(hidden @ head.T, dim=-1)[torch.arange(23), targets]
    for rows in (1, 7, 23, 1024):
        torch.testing.assert_close(_token_log_probs(hidden, head, targets, rows), expected)


def test_a_refused_call_leaves_the_state_usable(model):
    ids = np.arange(20)[None]
    _, state = model.next_log_probs(ids, model.initial_state(1))
    with pytest.raises(ContextLengthError):
        model.next_log_probs(np.zeros((1, 281), np.int64), state)
    said, _ = model.next_log_probs(np.array([[7]]), state)
    expected, _ = model.next_log_probs(np.append(ids[0], 7)[None], model.initial_state(1))
    np.testing.assert_allclose(said, expected, atol=1e-5)


def test_a_long_text_grows_the_cache_with_it(model):
    state = model.initial_state(1)
    first = state.capacity
    _, state = model.next_log_probs(np.zeros((1, 250), np.int64), state)
    assert first < 250 <= state.capacity <= 512
    assert state.lengths.tolist() == [250]


def test_nothing_requires_gradients(model):
    _, state = model.next_log_probs(np.zeros((2, 5), np.int64), model.initial_state(2))
    assert not any(t.requires_grad for t in (*state.keys, *state.values))
    assert all(weights.grad is None for weights in model.module.parameters())


def test_low_precision_weights_answer_in_float32(model):
    ids = np.arange(10)[None]
    exact = model.score(ids)
    low = NeuralLanguageModel(model.module.bfloat16())
    assert low.score(ids).dtype == np.float32
    np.testing.assert_allclose(low.score(ids), exact, atol=0.3)
    said, state = low.next_log_probs(ids, low.initial_state(1))
    assert said.dtype == np.float32 and state.keys[0].dtype == torch.bfloat16
    said, _ = low.next_log_probs(ids[:, :1], state)
    assert np.isfinite(said).all()
