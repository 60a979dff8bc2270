"""XLNet beyond the contract: any order, segments, what is kept while generating; and a small run through every verb."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import BATTERY, SHAPE, V, draw, random_decoder

from zhixing.models.decoders import build_decoder, parameter_count
from zhixing.models.interop import xlnet as exchange
from zhixing.models.neural import NeuralLanguageModel
from zhixing.models.xlnet import PRESETS, XLNetSettings
from zhixing.nn.relative_attention import two_stream_masks

SMALL = XLNetSettings(**SHAPE, layers=2, width=16, heads=4, inner_width=24)
VARIANTS = {
    "one layer, clamped": SMALL.replace(layers=1, clamp=4),
    "uni, wide": SMALL.replace(attention="uni", inner_width=None, dropout=0.3),
}
TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.mark.parametrize("check", BATTERY, ids=lambda check: check.__name__)
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_keep_the_contract(variant, check):
    check(VARIANTS[variant])


# ---------------------------------------------------------------- any order


def ranked(module, ids, rank, places=None, **more):
    """Predictions at all places (or some) under an order."""
    places = torch.arange(ids.shape[1]).expand(len(ids), -1) if places is None else places
    content, query = two_stream_masks(rank, rank.gather(1, places))
    return module.predict(ids, places, content, query, **more)


def some_ids(batch=3, length=9, seed=0):
    return torch.from_numpy(draw(batch, length, seed))


def orders(batch, length):
    generator = torch.Generator().manual_seed(1)
    return torch.stack([torch.randperm(length, generator=generator) for _ in range(batch)])


def test_no_prediction_depends_on_what_is_not_before_it_in_the_order():
    module, ids, rank = random_decoder(SMALL), some_ids(), orders(3, 9)
    before = ranked(module, ids, rank)
    for place in range(9):
        changed = ids.clone()
        changed[:, place] = (ids[:, place] + 1) % V
        moved = (ranked(module, changed, rank) - before).abs().amax(-1)
        later = rank > rank[:, place : place + 1]
        assert (moved[~later] < 1e-6).all()
        assert (moved[later] > 1e-5).all()


def test_left_to_right_is_one_of_the_orders():
    module, ids = random_decoder(SMALL), some_ids()
    rank = torch.arange(9).expand(3, -1)
    torch.testing.assert_close(ranked(module, ids, rank)[:, 1:], module(ids)[:, :-1], **TOLERANCE)
    behind = torch.full((3, 1), 9)
    content, query = two_stream_masks(rank, behind)
    torch.testing.assert_close(module.predict(ids, behind, content, query), module(ids)[:, -1:], **TOLERANCE)


def test_places_can_be_asked_in_any_number_and_order():
    module, ids, rank = random_decoder(SMALL), some_ids(), orders(3, 9)
    places = torch.tensor([[8, 0, 3, 3], [1, 2, 7, 5], [4, 4, 0, 8]])
    whole = ranked(module, ids, rank)
    some = ranked(module, ids, rank, places)
    torch.testing.assert_close(some, whole.gather(1, places[..., None].expand(-1, -1, whole.shape[-1])), **TOLERANCE)


def test_what_sees_nothing_predicts_the_same_everywhere():
    """The first of an order: neither its place nor the text is known to it."""
    module, rank = random_decoder(SMALL), orders(3, 9)
    first = torch.argmin(rank, dim=1, keepdim=True)
    one, other = (ranked(module, some_ids(seed=seed), rank, first) for seed in (0, 5))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one[0], one[1])


def test_uni_never_looks_to_the_right():
    module, ids = random_decoder(VARIANTS["uni, wide"]), some_ids()
    given = torch.zeros(3, 9, dtype=torch.int64)
    given[:, 4] = 1
    place = torch.full((3, 1), 4)
    before = ranked(module, ids, given, place)
    changed = ids.clone()
    changed[:, 5:] = some_ids(seed=3)[:, 5:]
    torch.testing.assert_close(ranked(module, changed, given, place), before)
    torch.testing.assert_close(module.content(changed)[:, :5], module.content(ids)[:, :5])
    changed[:, 1] = (ids[:, 1] + 1) % V
    assert (ranked(module, changed, given, place) - before).abs().max() > 1e-3


def test_segments_change_what_crosses_their_border():
    module, ids = random_decoder(SMALL.replace(segments=True)), some_ids()
    segments = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 1]).expand(3, -1)
    one, none = torch.zeros_like(segments), None
    torch.testing.assert_close(module.content(ids, segments=one), module.content(ids, segments=none), **TOLERANCE)
    torch.testing.assert_close(module.content(ids, segments=segments), module.content(ids, segments=1 - segments))
    assert (module.content(ids, segments=segments) - module.content(ids)).abs().max() > 1e-2
    with pytest.raises(ValueError, match="segment"):
        random_decoder(SMALL).content(ids, segments=segments)


def test_content_knows_itself_and_padding_is_not_seen():
    module, ids = random_decoder(SMALL), some_ids()
    real = (torch.arange(9) < torch.tensor([[4], [9], [1]]))[:, None, None, :]
    changed = torch.where(real[:, 0, 0], ids, some_ids(seed=9))
    for row, length in enumerate((4, 9, 1)):
        found = module.content(changed, mask=real)[row, :length]
        torch.testing.assert_close(found, module.content(ids[row : row + 1, :length])[0], **TOLERANCE)


# ---------------------------------------------------------------- what is kept while generating


def test_kept_distances_follow_the_weights():
    """Distances are mapped once for all tokens generated; another weight is not answered from what was kept."""
    model = NeuralLanguageModel(random_decoder(SMALL))
    ids = draw(2, 8)
    first = model.score(ids)
    kept = model.module._known_distances
    np.testing.assert_array_equal(model.score(ids), first)
    assert model.module._known_distances is kept
    with torch.no_grad():
        model.module.blocks[1].attention.position.weight.mul_(0.5)
    halved = model.score(ids)
    assert np.abs(halved - first).max() > 1e-3
    fresh = build_decoder(SMALL)
    fresh.load_state_dict(model.module.state_dict())
    np.testing.assert_array_equal(NeuralLanguageModel(fresh).score(ids), halved)
    fresh.load_state_dict(random_decoder(SMALL).state_dict())
    np.testing.assert_array_equal(NeuralLanguageModel(fresh).score(ids), first)


def test_a_text_longer_than_the_context_can_be_read_by_the_module():
    """Distances have no end; only the language model has a limit."""
    module = random_decoder(SMALL)
    ids = some_ids(2, 3 * SHAPE["context_length"])
    with torch.inference_mode():
        short = module(ids[:, :10])
        torch.testing.assert_close(module(ids)[:, :10], short, **TOLERANCE)


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("lengths", [None, [6, 1, 4]])
def test_of_a_prompt_only_the_last_query_is_computed(before, lengths):
    """And it is the one that is computed with all the others; the cache goes on from either."""
    module, ids, start = random_decoder(SMALL), some_ids(3, 6), some_ids(3, 5, seed=2)
    real = None if lengths is None else torch.tensor(lengths)
    whole, alone = module.new_cache(3), module.new_cache(3)
    asked = []
    module.blocks[0].feed_forward.register_forward_hook(lambda _, given, __: asked.append(given[0].shape[1]))
    with torch.inference_mode():
        for cache in (whole, alone):
            if before:
                module(start[:, :before], cache=cache)
        last = torch.full((3,), 5) if real is None else real - 1
        expected = module(ids, cache=whole, lengths=real)[torch.arange(3), last]
        asked.clear()
        torch.testing.assert_close(module.last_hidden(ids, cache=alone, lengths=real), expected, **TOLERANCE)
        assert sorted(asked) == [1, 6]  # a query, and the content
        going_on = [module(ids[:, :1], cache=cache) for cache in (whole, alone)]
    torch.testing.assert_close(*going_on, **TOLERANCE)
    assert torch.equal(whole.lengths, alone.lengths)


def test_a_language_model_asks_for_the_last_query_alone():
    module, ids = random_decoder(SMALL), draw(2, 8)
    model, asked = NeuralLanguageModel(module), []
    module.blocks[0].feed_forward.register_forward_hook(lambda _, given, __: asked.append(given[0].shape[1]))
    found, _ = model.next_log_probs(ids, model.initial_state(2))
    assert sorted(asked) == [1, 8]
    behind = np.stack([model.score(np.concatenate([ids, np.full((2, 1), token)], 1))[:, -1] for token in range(V)], 1)
    np.testing.assert_allclose(found, behind, atol=2e-5)


# ---------------------------------------------------------------- settings


def test_the_published_base_model_has_its_published_size():
    """117 million, of which 12 × 2 × 768 segment vectors; measured on the published checkpoint's shapes."""
    assert parameter_count(PRESETS["xlnet-base"]) == 116_718_336 + 32_000
    assert 360e6 < parameter_count(PRESETS["xlnet-large"]) < 362e6


def test_heads_divide_the_width():
    with pytest.raises(ValidationError, match="multiple of heads"):
        XLNetSettings(width=10, heads=4)


def test_segments_are_what_the_file_says():
    silent, module = SMALL, build_decoder(SMALL.replace(segments=True))
    said = {name: tensor for name, tensor in module.state_dict().items()}
    theirs = {"transformer.layer.0.rel_attn.seg_embed": said["blocks.0.attention.segment_embedding"]}
    assert exchange.refine(silent, theirs).segments
    assert not exchange.refine(silent.replace(segments=True), {n: 0 * t for n, t in theirs.items()}).segments
