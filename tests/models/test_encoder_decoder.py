"""Encoder-decoders as language models: the definition, place by place, whatever way a text is handed over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.models.contract import random_decoder

from zhixing.models.encoder_decoder import (
    BlockDecoder,
    EncoderDecoderModel,
    as_language_model,
    source_and_target_length,
)
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.recurrent_encoder_decoder import RecurrentEncoderDecoderSettings
from zhixing.models.t5 import T5Settings
from zhixing.models.transformer import TransformerSettings

V = 30
SHAPE = {"vocab_size": V, "context_length": 12, "width": 16}
SETTINGS = {
    "transformer": TransformerSettings(**SHAPE, layers=2, heads=2, target_length=5),
    "started": TransformerSettings(**SHAPE, layers=1, heads=2, target_length=4, start_id=9),
    "t5": T5Settings(**SHAPE, layers=1, heads=2, buckets=8, farthest=9),
    "recurrent": RecurrentEncoderDecoderSettings(**SHAPE, target_length=3),
}


def texts(batch, length, seed=0):
    return np.random.default_rng(seed).integers(0, V, (batch, length))


def by_definition(module, ids):
    """p(x_t | source of its block, the block so far), one place at a time, nothing cached, nothing side by side."""
    source_length, target_length = source_and_target_length(module.settings)
    start = getattr(module.settings, "start_id", None)
    found = []
    for place in range(1, len(ids)):
        begin = 1 + (place - 1) // target_length * target_length
        source = torch.tensor([ids[max(0, begin - source_length) : begin]])
        inputs = torch.tensor([[ids[0] if start is None else start, *ids[begin:place]]])
        with torch.no_grad():
            hidden = module.decode(inputs, module.encode(source))[0, -1]
            found.append(torch.log_softmax(module.head_weight @ hidden, dim=-1)[ids[place]].item())
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_a_score_is_the_definition(name):
    model = as_language_model(random_decoder(SETTINGS[name]))
    assert isinstance(model, EncoderDecoderModel) and model.context_length is None
    ids = texts(3, 24)
    expected = [by_definition(model.module, row) for row in ids.tolist()]
    np.testing.assert_allclose(model.score(ids), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_blocks_handed_over_anyhow_say_the_same(name):
    """Ragged readings across the ends of blocks, several blocks at once among them."""
    model, ids = as_language_model(random_decoder(SETTINGS[name])), texts(3, 40, seed=1)
    scores, state, read = model.score(ids), model.initial_state(3), np.zeros(3, np.int64)
    rng = np.random.default_rng(2)
    while (read < 39).all():
        sizes = np.minimum(rng.integers(1, 14, 3), 39 - read)
        block = np.full((3, sizes.max()), 7)
        for row, size in enumerate(sizes):
            block[row, :size] = ids[row, read[row] : read[row] + size]
        said, state = model.next_log_probs(block, state, sizes)
        read += sizes
        rows = np.arange(3)
        np.testing.assert_allclose(said[rows, ids[rows, read]], scores[rows, read - 1], rtol=1e-4, atol=2e-5)


def test_source_and_target_fill_the_window():
    assert source_and_target_length(TransformerSettings(context_length=63)) == (33, 31)
    assert source_and_target_length(TransformerSettings(context_length=63, target_length=32)) == (32, 32)
    assert source_and_target_length(TransformerSettings(context_length=5, target_length=5)) == (1, 5)
    assert source_and_target_length(T5Settings(context_length=2)) == (2, 1)


def test_a_text_far_beyond_the_window_depends_on_the_window_only():
    settings = SETTINGS["transformer"]
    model, ids = as_language_model(random_decoder(settings)), texts(1, 61)
    changed = ids.copy()
    changed[0, 1:40] = texts(1, 39, seed=5)  # the block of place 60 begins at 56, its source at 48
    assert model.score(ids)[0, 59] == pytest.approx(model.score(changed)[0, 59], abs=1e-5)
    near = ids.copy()
    near[0, 50] = (ids[0, 50] + 1) % V
    assert abs(model.score(ids)[0, 59] - model.score(near)[0, 59]) > 1e-4


def test_passes_of_bounded_size_say_the_same(monkeypatch):
    module = random_decoder(SETTINGS["transformer"])
    reader, ids = BlockDecoder(module), torch.from_numpy(texts(3, 50))
    with torch.no_grad():
        whole = reader(ids)
        monkeypatch.setattr("zhixing.models.encoder_decoder._READ_AT_ONCE", 40)
        torch.testing.assert_close(reader(ids), whole, rtol=1e-5, atol=1e-5)


def test_other_families_are_read_as_they_are():
    model = as_language_model(random_decoder(GPT2Settings(**SHAPE, layers=1, heads=2)))
    assert not isinstance(model, EncoderDecoderModel) and model.context_length == 12
