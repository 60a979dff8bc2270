"""T5: what its decoder may see, its cache, its padding; whichever version."""

import pytest
import torch
from pydantic import ValidationError

from zhixing.models.t5 import PRESETS, T5, T5Settings
from zhixing.nn.cross_cache import CrossCache

SHAPE = {"vocab_size": 40, "layers": 2, "width": 16, "heads": 2, "buckets": 8, "farthest": 10}
VERSIONS = {
    "1.0": T5Settings(**SHAPE),
    "1.1": T5Settings(**SHAPE, feed_forward="gated-gelu", tied=False, head_width=6, decoder_layers=3),
}
CLOSE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(params=VERSIONS)
def model(request):
    torch.manual_seed(1)
    module = T5(VERSIONS[request.param])
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module.eval()


def ids(batch, length, seed=0):
    return torch.randint(0, 40, (batch, length), generator=torch.Generator().manual_seed(seed))


def test_a_later_target_changes_nothing_before_it_and_the_source_changes_all(model):
    source, target = ids(2, 7), ids(2, 6, 1)
    first = model.decode(target, model.encode(source))
    changed = target.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 40
    second = model.decode(changed, model.encode(source))
    torch.testing.assert_close(first[:, :4], second[:, :4], **CLOSE)
    assert (first[:, 4:] - second[:, 4:]).abs().amax(-1).min() > 1e-3
    source[:, -1] = (source[:, -1] + 1) % 40
    assert (model.decode(target, model.encode(source)) - first).abs().amax(-1).min() > 1e-4


def test_the_encoder_sees_both_ways(model):
    source = ids(1, 9)
    changed = source.clone()
    changed[0, 8] = (changed[0, 8] + 1) % 40
    assert (model.encode(source) - model.encode(changed))[0, 0].abs().max() > 1e-4


def test_padding_of_source_and_target_is_never_seen(model):
    source, target = ids(3, 8), ids(3, 6, 1)
    read, written = torch.tensor([3, 8, 1]), torch.tensor([6, 2, 1])
    whole = model.decode(target, model.encode(source, read), read)
    cached = model.decode(target, model.encode(source, read), read, model.new_cache(3), written)
    for row in range(3):
        alone = model.decode(target[row : row + 1, : written[row]], model.encode(source[row : row + 1, : read[row]]))[0]
        torch.testing.assert_close(whole[row, : written[row]], alone, **CLOSE)
        torch.testing.assert_close(cached[row, : written[row]], alone, **CLOSE)


def test_ragged_steps_with_a_cache_are_all_at_once(model):
    source, target = ids(3, 8), ids(3, 90, 1)
    read, memory = torch.tensor([3, 8, 1]), None
    memory = model.encode(source, read)
    whole = model.decode(target, memory, read)
    cache, done = model.new_cache(3), torch.zeros(3, dtype=torch.int64)
    for step in range(12):
        lengths = torch.randint(1, 7, (3,), generator=torch.Generator().manual_seed(step))
        block = torch.zeros(3, 7, dtype=torch.int64)
        for row in range(3):
            block[row, : lengths[row]] = target[row, done[row] : done[row] + lengths[row]]
        hidden = model.decode(block, None if step else memory, None if step else read, cache, lengths)
        for row in range(3):
            expected = whole[row, done[row] : done[row] + lengths[row]]
            torch.testing.assert_close(hidden[row, : lengths[row]], expected, **CLOSE)
        done += lengths
        assert cache.lengths.tolist() == done.tolist()


def test_rows_come_and_go(model):
    source, target = ids(2, 8), ids(2, 5, 1)
    one, two = model.new_cache(1), model.new_cache(1)
    model.decode(target[:1, :4], model.encode(source[:1, :3]), None, one)
    model.decode(target[1:, :2], model.encode(source[1:]), None, two)
    cache = CrossCache.join([one, two]).keep_rows([1, 0, 1])
    said = model.decode(torch.tensor([[5], [6], [7]]), None, cache=cache)
    for row, (which, text) in enumerate([(1, 2), (0, 4), (1, 2)]):
        whole = torch.cat([target[which, :text], torch.tensor([5 + row])])[None]
        memory = model.encode(source[which : which + 1, : 3 if which == 0 else 8])
        torch.testing.assert_close(said[row, 0], model.decode(whole, memory)[0, -1], **CLOSE)


def test_a_cache_without_source_wants_one_and_joins_only_its_like(model):
    with pytest.raises(ValueError, match="needs a source"):
        model.decode(ids(1, 2), None, cache=model.new_cache(1))
    known = model.new_cache(1)
    model.decode(ids(1, 2), model.encode(ids(1, 3)), None, known)
    with pytest.raises(ValueError, match="cannot join"):
        CrossCache.join([known, model.new_cache(1)])


def test_a_gradient_reaches_every_weight(model):
    hidden = model.decode(ids(4, 12, 1), model.encode(ids(4, 12)))
    torch.nn.functional.cross_entropy((hidden @ model.head_weight.T).flatten(0, 1), ids(4, 12, 2).flatten()).backward()
    for name, weights in model.named_parameters():
        assert weights.grad is not None and (weights.grad != 0).any(), name


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_model_learns_to_copy(version):
    torch.manual_seed(0)
    model = T5(VERSIONS[version])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    source = ids(16, 5)
    target = torch.cat([torch.zeros(16, 1, dtype=torch.int64), source[:, :-1]], dim=1)
    for _ in range(300):
        logits = model.decode(target, model.encode(source)) @ model.head_weight.T
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), source.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1:
            break
    assert loss.item() < 0.1


def test_published_shapes_have_their_parameters():
    with torch.device("meta"):
        counts = {name: sum(w.numel() for w in T5(PRESETS[name]).parameters()) for name in ("t5-small", "t5-base")}
        counts["t5-v1.1-small"] = sum(w.numel() for w in T5(PRESETS["t5-v1.1-small"]).parameters())
    assert counts == {"t5-small": 60_506_624, "t5-base": 222_903_552, "t5-v1.1-small": 76_961_152}


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"buckets": 8, "farthest": 4}, {"buckets": 3}])
def test_shapes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValidationError):
        T5Settings(**SHAPE | wrong)
