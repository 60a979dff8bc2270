"""What is promised of every causal neural family, as checks of its settings: no family may do less, or do it otherwise.

Models are random but have opinions: weights are large enough that a wrong position, a leaking neighbour or a stale
state changes the answer by far more than rounding. ``test_contract.py`` runs the whole battery over the families; a
family's own tests run it over its variants.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.model_folder import write_folder
from zhixing.models.decoders import build_decoder, from_config, parameter_count, to_config
from zhixing.models.load import load
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.protocol import LanguageModel
from zhixing.models.save import companion_files, neural_files
from zhixing.nn.losses import cross_entropy_sum
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
V = TOKENIZER.vocab_size + 2
"""Two ids more than the tokenizer has: a padded vocabulary is usual."""
CONTEXT = 13
"""Every text of the battery fits into this many ids."""
SHAPE = {"vocab_size": V, "context_length": CONTEXT}
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def random_decoder(settings):
    """A model of this shape with weights of the same size everywhere, norms near one."""
    torch.manual_seed(1)
    module = build_decoder(settings)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module.eval()


def language_model(settings):
    return NeuralLanguageModel(random_decoder(settings))


def draw(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch, length))


def alone(model, row):
    """What a model says after one text read at once."""
    return model.next_log_probs(np.asarray(row, np.int64)[None], model.initial_state(1))[0][0]


def summed_loss(module, ids):
    hidden = module(torch.from_numpy(ids[:, :-1])).flatten(0, 1)
    return cross_entropy_sum(hidden @ module.head_weight.T, torch.from_numpy(ids[:, 1:]).flatten())


# ---------------------------------------------------------------- shapes and dependence


def shapes_and_probabilities(settings):
    model = language_model(settings)
    assert isinstance(model, LanguageModel)
    assert (model.family, model.vocab_size) == (settings.family, V)
    assert model.context_length in (None, settings.context_length)
    said, _ = model.next_log_probs(draw(3, 5), model.initial_state(3), np.array([5, 1, 3]))
    assert said.shape == (3, V) and said.dtype == np.float32
    np.testing.assert_allclose(np.exp(said.astype(np.float64)).sum(axis=1), 1, atol=1e-5)
    scores = model.score(draw(3, CONTEXT + 1))
    assert scores.shape == (3, CONTEXT) and scores.dtype == np.float32 and (scores <= 0).all()
    assert np.ptp(said, axis=1).min() > 0.5 and np.abs(said[0] - said[1]).max() > 0.05  # it has opinions
    assert parameter_count(settings) == sum(weights.numel() for weights in model.module.parameters())


def a_later_token_changes_nothing_before_it(settings):
    model, ids = language_model(settings), draw(3, 9)
    for place in (1, 4, 8):
        changed = ids.copy()
        changed[:, place:] = draw(3, 9, seed=7)[:, place:]
        before, after = model.score(ids)[:, : place - 1], model.score(changed)[:, : place - 1]
        np.testing.assert_allclose(before, after, **TOLERANCE)


def the_last_token_changes_what_follows(settings):
    model, ids = language_model(settings), draw(3, 9)
    changed = ids.copy()
    changed[:, 4] = (ids[:, 4] + 1) % V
    moved = np.abs(model.score(ids) - model.score(changed))
    assert (moved[:, 4] > 1e-4).all()  # the prediction of the id at place 5
    assert (moved[:, :3] < 1e-4).all()


def padding_is_never_seen(settings):
    model, ids, lengths = language_model(settings), draw(4, 8), np.array([3, 8, 1, 6])
    outside = np.arange(8) >= lengths[:, None]
    for padded in (ids, np.where(outside, draw(4, 8, seed=11), ids), np.where(outside, 0, ids)):
        said, _ = model.next_log_probs(padded, model.initial_state(4), lengths)
        scores = model.score(padded, lengths)
        for row, length in enumerate(lengths):
            np.testing.assert_allclose(said[row], alone(model, ids[row, :length]), **TOLERANCE)
            assert (scores[row, length - 1 :] == 0).all()
            if length > 1:
                expected = model.score(ids[row : row + 1, :length])[0]
                np.testing.assert_allclose(scores[row, : length - 1], expected, **TOLERANCE)


def documents_in_one_window_are_as_if_alone(settings):
    module = random_decoder(settings)
    ids = torch.from_numpy(draw(2, 9))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2], [0, 0, 1, 1, 1, 1, 1, 1, 1]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 0], [0, 1, 0, 1, 2, 3, 4, 5, 6]])
    packed = module(ids, documents=documents, positions=positions)
    parts = [module(ids[:1, :3]), module(ids[:1, 3:8]), module(ids[:1, 8:])]
    torch.testing.assert_close(packed[:1], torch.cat(parts, dim=1), **TOLERANCE)
    torch.testing.assert_close(packed[1:, :2], module(ids[1:, :2]), **TOLERANCE)
    torch.testing.assert_close(packed[1:, 2:], module(ids[1:, 2:]), **TOLERANCE)


# ---------------------------------------------------------------- states


def token_by_token_is_all_at_once(settings):
    model = language_model(settings)
    ids, state = draw(3, CONTEXT + 1), model.initial_state(3)
    scores = model.score(ids)
    for place in range(CONTEXT):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said[np.arange(3), ids[:, place + 1]], scores[:, place], **TOLERANCE)


def ragged_blocks_are_rows_read_alone(settings):
    """Every call gives each row a block of its own length; every answer is that of the row read alone."""
    model = language_model(settings)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        texts, read, state = draw(4, CONTEXT, seed), np.zeros(4, np.int64), model.initial_state(4)
        while (read < CONTEXT).all():
            lengths = np.minimum(rng.integers(1, 6, 4), CONTEXT - read)
            block = np.full((4, int(lengths.max())), int(rng.integers(0, V)))  # padding of any kind
            for row in range(4):
                block[row, : lengths[row]] = texts[row, read[row] : read[row] + lengths[row]]
            said, state = model.next_log_probs(block, state, lengths)
            read += lengths
            assert state.lengths.tolist() == read.tolist()
            for row in range(4):
                np.testing.assert_allclose(said[row], alone(model, texts[row, : read[row]]), **TOLERANCE)


def rows_come_and_go(settings):
    """What the batching engine does: join a prompt, drop a finished row, branch."""
    model = language_model(settings)
    first, second, more = draw(2, 7, seed=1), draw(1, 2, seed=2), draw(4, 1, seed=3)
    _, long = model.next_log_probs(first, model.initial_state(2), np.array([7, 3]))
    _, short = model.next_log_probs(second, model.initial_state(1))
    state = model.keep_rows(model.join_states([long, model.initial_state(1), short]), [3, 0, 0, 1])
    said, _ = model.next_log_probs(more, model.keep_rows(state, range(4)))
    again, _ = model.next_log_probs(more, state)  # the kept rows were copies
    for row, text in enumerate([[*second[0]], [*first[0]], [*first[0]], [*first[1, :3]]]):
        np.testing.assert_allclose(said[row], alone(model, [*text, *more[row]]), **TOLERANCE)
    np.testing.assert_allclose(said, again, **TOLERANCE)


def a_batch_of_prompts_is_one_by_one(settings):
    model, prompts = language_model(settings), ["a", "seven b", "bc"]
    chosen = GenerationSettings(max_new_tokens=4, temperature=0.7, seed=3)
    together = [text.ids for text in generate(model, TOKENIZER, prompts, chosen)]
    assert together == [text.ids for prompt in prompts for text in generate(model, TOKENIZER, [prompt], chosen)]


# ---------------------------------------------------------------- the same again


def the_same_call_gives_the_same_bits(settings):
    model, ids, lengths = language_model(settings), draw(3, 7), np.array([7, 2, 5])
    first = model.next_log_probs(ids, model.initial_state(3), lengths)[0]
    torch.manual_seed(5)
    np.testing.assert_array_equal(first, model.next_log_probs(ids, model.initial_state(3), lengths)[0])
    np.testing.assert_array_equal(model.score(ids), model.score(ids))


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


def a_gradient_reaches_every_weight(settings):
    module = random_decoder(settings)
    summed_loss(module, draw(4, CONTEXT + 1)).backward()
    for name, weights in module.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name
        if weights.ndim == 2 and "embedding" not in name:
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
    ids = draw(4, CONTEXT + 1)
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


BATTERY = (
    shapes_and_probabilities,
    a_later_token_changes_nothing_before_it,
    the_last_token_changes_what_follows,
    padding_is_never_seen,
    documents_in_one_window_are_as_if_alone,
    token_by_token_is_all_at_once,
    ragged_blocks_are_rows_read_alone,
    rows_come_and_go,
    a_batch_of_prompts_is_one_by_one,
    the_same_call_gives_the_same_bits,
    a_saved_model_is_the_same_model,
    a_gradient_reaches_every_weight,
    the_gradient_is_the_slope,
    a_tiny_text_is_learned_by_heart,
)
