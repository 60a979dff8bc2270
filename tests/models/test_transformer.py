"""The Transformer of 2017: its positions, what may see what, its published shapes, what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import random_decoder

from zhixing.models.decoders import build_decoder, parameter_count
from zhixing.models.transformer import PRESETS, TransformerSettings
from zhixing.nn.positions import sinusoidal

SETTINGS = TransformerSettings(vocab_size=20, context_length=9, layers=2, width=16, heads=2)


def ids(batch, length, seed=0):
    return torch.randint(0, 20, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_positions_are_the_papers_with_features_in_another_order():
    module, papers = build_decoder(SETTINGS), sinusoidal(10, 16)
    order = [*range(0, 16, 2), *range(1, 16, 2)]
    assert torch.equal(module.places, papers[:, order])


def test_an_encoder_sees_both_ways_and_a_decoder_the_source_and_what_was_before():
    module, source, target = random_decoder(SETTINGS), ids(2, 7), ids(2, 5, 1)
    with torch.no_grad():
        memory = module.encode(source)
        first = module.decode(target, memory)
        source[:, -1] = (source[:, -1] + 1) % 20
        moved = module.encode(source)
        assert (moved - memory).abs().amax(-1).min() > 1e-3
        assert (module.decode(target, moved) - first).abs().amax(-1).min() > 1e-4
        target[:, 3] = (target[:, 3] + 1) % 20
        second = module.decode(target, memory)
        torch.testing.assert_close(first[:, :3], second[:, :3], rtol=1e-5, atol=1e-6)
        assert (first[:, 3:] - second[:, 3:]).abs().amax(-1).min() > 1e-3


def test_a_text_may_be_longer_than_the_window_it_was_trained_on():
    module, target = random_decoder(SETTINGS), ids(2, 30)
    with torch.no_grad():
        memory, cache = module.encode(ids(2, 25, 1)), module.new_cache(2)
        whole = module.decode(target, memory)
        steps = [module.decode(target[:, t : t + 1], memory if t == 0 else None, cache=cache) for t in range(30)]
        torch.testing.assert_close(torch.cat(steps, dim=1), whole, rtol=1e-4, atol=2e-5)
    with pytest.raises(ValueError, match="needs a source"):
        module.decode(target, None)


@pytest.mark.parametrize(("name", "millions"), [("transformer-base", 63), ("transformer-big", 214)])
def test_published_shapes_have_the_published_size(name, millions):
    """Table 3 says 65 and 213 million: its vocabulary is given as "about 37000" ids."""
    assert parameter_count(PRESETS[name]) == pytest.approx(millions * 1e6, rel=0.015)
    named = TransformerSettings(preset=name, context_length=127)
    assert named == PRESETS[name].replace(context_length=127)


def test_settings_that_do_not_fit_are_refused():
    for fields, what in (
        ({"heads": 3}, "heads"),
        ({"target_length": 10}, "target_length"),
        ({"preset": "no"}, "preset"),
    ):
        with pytest.raises(ValidationError, match=what):
            TransformerSettings(**{**SETTINGS.model_dump(), **fields})
