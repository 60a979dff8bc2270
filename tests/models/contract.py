"""What is promised of every causal neural family, as checks of its settings: no family may do less, or do it otherwise.

``language_model_contract.py`` holds what is promised of any ``LanguageModel``; here stands what only tensors can
promise: their number, their folder, their gradients. ``BATTERY`` is both, each check a function of settings.

Models are random but have opinions: weights are large enough that a wrong position, a leaking neighbour or a stale
state changes the answer by far more than rounding. ``test_contract.py`` runs the whole battery over the families; a
family's own tests run it over its variants.
"""

from __future__ import annotations

import tempfile
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.language_model_contract import CHECKS, CONTEXT, TOKENIZER, TOLERANCE, V, alone, draw, padded

from zhixing.model_folder import write_folder
from zhixing.models.decoders import build_decoder, from_config, parameter_count, to_config
from zhixing.models.encoder_decoder import BlockDecoder, as_language_model
from zhixing.models.families import ENCODER_DECODERS
from zhixing.models.load import load
from zhixing.models.save import companion_files, neural_files
from zhixing.nn.losses import cross_entropy_sum

SHAPE = {"vocab_size": V, "context_length": CONTEXT}


def random_decoder(settings):
    """A model of this shape with weights of the same size everywhere, norms near one."""
    torch.manual_seed(1)
    module = build_decoder(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module.eval()


def language_model(settings):
    return as_language_model(random_decoder(settings))


def summed_loss(module, ids):
    reader = BlockDecoder(module) if module.settings.family in ENCODER_DECODERS else module
    hidden = reader(torch.from_numpy(ids[:, :-1])).flatten(0, 1)
    return cross_entropy_sum(hidden @ module.head_weight.T, torch.from_numpy(ids[:, 1:]).flatten())


# ---------------------------------------------------------------- shapes and dependence


def its_settings_say_what_it_is(settings):
    model = language_model(settings)
    assert model.family == settings.family and model.context_length in (None, settings.context_length)
    assert parameter_count(settings) == sum(weights.numel() for weights in model.module.parameters())


def the_last_token_changes_what_follows(settings):
    model, ids = language_model(settings), draw(3, 9)
    changed = ids.copy()
    changed[:, 4] = (ids[:, 4] + 1) % V
    moved = np.abs(model.score(ids) - model.score(changed))
    assert (moved[:, 4] > 1e-4).all()  # the prediction of the id at place 5
    assert (moved[:, :3] < 1e-4).all()


def documents_in_one_window_are_as_if_alone(settings):
    if settings.family in ENCODER_DECODERS:
        pytest.skip("its objective gives it one document at a time")
    module = random_decoder(settings)
    ids = torch.from_numpy(draw(2, 9))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 1, 1, 1]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 0], [0, 1, 0, 1, 2, 3, 4, 5, 6]])
    packed = module(ids, documents=documents, positions=positions)
    parts = [module(ids[:1, :3]), module(ids[:1, 3:8]), module(ids[:1, 8:])]
    torch.testing.assert_close(packed[:1], torch.cat(parts, dim=1), **TOLERANCE)
    torch.testing.assert_close(packed[1:, :2], module(ids[1:, :2]), **TOLERANCE)
    torch.testing.assert_close(packed[1:, 2:], module(ids[1:, 2:]), **TOLERANCE)


def the_state_counts_what_was_read(settings):
    model, texts, read = language_model(settings), draw(3, CONTEXT), np.zeros(3, np.int64)
    state = model.initial_state(3)
    for lengths in (np.array([2, 5, 1]), np.array([1, 1, 3]), np.array([4, 1, 1])):
        said, state = model.next_log_probs(padded(texts, read, lengths, filler=3), state, lengths)
        read += lengths
        assert state.lengths.tolist() == read.tolist()
    np.testing.assert_allclose(said[0], alone(model, texts[0, : read[0]]), **TOLERANCE)


# ---------------------------------------------------------------- the folder


def a_saved_model_is_the_same_model(settings):
    model, ids = language_model(settings), draw(4, 9)
    with tempfile.TemporaryDirectory() as where:
        first, second = Path(where, "first"), Path(where, "second")
        files = neural_files(model.module, settings, TOKENIZER.separator_id)
        write_folder(first, {**files, **companion_files(TOKENIZER)}, facts={})
        again = load(first)
        np.testing.assert_array_equal(again.model.score(ids), model.score(ids))
        files = neural_files(again.model.module, again.model.module.settings, TOKENIZER.separator_id)
        write_folder(second, {**files, **companion_files(TOKENIZER)}, facts={})
        assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    whole = from_config(settings.family, to_config(settings, TOKENIZER.separator_id))
    assert to_config(whole, TOKENIZER.separator_id) == to_config(settings.replace(dropout=0.0), TOKENIZER.separator_id)


# ---------------------------------------------------------------- learning


def the_loss_is_minus_the_score(settings):
    module, ids = random_decoder(settings), draw(3, CONTEXT + 1)
    expected = -as_language_model(module).score(ids).sum()
    assert summed_loss(module, ids).item() == pytest.approx(expected, rel=1e-5)


def writing_in_the_middle_of_training_disturbs_nothing(settings):
    """Tensors of inference mode must not enter the graph."""
    module, ids = random_decoder(settings.replace(dropout=0.0)), draw(2, 6)
    model, weights = as_language_model(module), list(module.parameters())
    expected = torch.autograd.grad(summed_loss(module.train(), ids), weights)
    _, state = model.next_log_probs(ids, model.initial_state(2))
    model.join_states([model.keep_rows(state, [1]), state])
    model.score(ids)
    found = torch.autograd.grad(summed_loss(module.train(), ids), weights)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def a_gradient_reaches_every_weight(settings):
    module = random_decoder(settings)
    summed_loss(module, draw(4, CONTEXT + 1)).backward()
    rectified = "relu" in (getattr(settings, "activation", ""), getattr(settings, "feed_forward", ""))
    at_rest = "feed_forward.expand" if rectified else "embedding"
    for name, weights in module.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name
        if weights.ndim == 2 and "embedding" not in name and at_rest not in name:
            assert (weights.grad != 0).any(dim=1).all(), f"a row of {name} learns nothing"


def the_gradient_is_the_slope(settings):
    """Against central differences in float64 along a random direction."""
    module, ids, step = random_decoder(settings).double(), draw(4, 9), 1e-6
    summed_loss(module, ids).backward()
    weights = list(module.parameters())
    direction = [torch.randn_like(weight) for weight in weights]
    slope = sum((w.grad * d).sum() for w, d in zip(weights, direction, strict=True)).item()
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for w, d in zip(weights, direction, strict=True):
                w.add_(d, alpha=sign * step)
            values.append(summed_loss(module, ids).item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=1e-3)


def a_tiny_text_is_learned_by_heart(settings):
    """From the family's own initial weights."""
    torch.manual_seed(0)
    module = build_decoder(settings.replace(dropout=0.0))
    ids = np.random.default_rng(0).integers(0, V, (4, CONTEXT + 1))
    ids[:, 0] = np.arange(4)  # the first id tells which text it is
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02, weight_decay=0.0)
    for _ in range(250):
        optimizer.zero_grad()
        loss = summed_loss(module, ids) / (4 * CONTEXT)
        if loss.item() < 0.1:
            break
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def _of_the_model(check):
    """A check of any language model as one of settings."""

    @wraps(check)
    def of_settings(settings):
        check(language_model(settings))

    return of_settings


BATTERY = (
    *(_of_the_model(check) for check in CHECKS),
    its_settings_say_what_it_is,
    the_last_token_changes_what_follows,
    documents_in_one_window_are_as_if_alone,
    the_state_counts_what_was_read,
    a_saved_model_is_the_same_model,
    the_loss_is_minus_the_score,
    writing_in_the_middle_of_training_disturbs_nothing,
    a_gradient_reaches_every_weight,
    the_gradient_is_the_slope,
    a_tiny_text_is_learned_by_heart,
)
