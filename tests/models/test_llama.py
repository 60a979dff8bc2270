"""Llama: its settings, its initial weights, documents in one window, and rotary positions."""

import pytest
import torch
from pydantic import ValidationError

from zhixing.config import ConfigError, load_settings
from zhixing.models.decoders import parameter_count
from zhixing.models.llama import PRESETS, Llama, LlamaSettings
from zhixing.models.rotary_scaling import LinearScaling, Llama3Scaling
from zhixing.nn.positions import rotate

SHAPE = {"vocab_size": 31, "context_length": 12, "layers": 2, "width": 16, "heads": 4, "inner_width": 24}
KINDS = {
    "qwen3": LlamaSettings(**SHAPE),
    "llama": LlamaSettings(**SHAPE, query_key_norm=False),
    "grouped-tied": LlamaSettings(**SHAPE, key_value_heads=2, tied=True, head_width=6),
    "mistral": LlamaSettings(**SHAPE, query_key_norm=False, attention_window=3),
    "qwen2": LlamaSettings(
        **SHAPE, query_key_norm=False, attention_bias="query_key_value", attention_window=4, full_layers=1
    ),
    "llama3": LlamaSettings(
        **SHAPE, query_key_norm=False, attention_bias="all", rotary_scaling=Llama3Scaling(original_context=16)
    ),
}


@pytest.fixture(params=list(KINDS))
def module(request):
    torch.manual_seed(0)
    model = Llama(KINDS[request.param]).eval()
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.2)
    return model


def logits(module, ids, **arguments):
    return module(torch.tensor(ids), **arguments) @ module.head_weight.T


def test_documents_in_one_window_are_as_if_alone(module):
    first, second, third = [[3, 4, 5], [6, 7, 8, 9, 10], [11]]
    documents = torch.tensor([[0] * 3 + [1] * 5 + [2]])
    positions = torch.tensor([[0, 1, 2, 0, 1, 2, 3, 4, 0]])
    packed = logits(module, [first + second + third], documents=documents, positions=positions)[0]
    alone = torch.cat([logits(module, [part])[0] for part in (first, second, third)])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)
    together = logits(module, [first + second + third])[0]
    assert (together - alone).abs().max() > 0.01


def test_only_distances_count(module):
    """Shifting all positions of a text changes nothing: attention sees differences."""
    here = logits(module, [[3, 4, 5, 6]])
    there = logits(module, [[3, 4, 5, 6]], positions=torch.tensor([[7, 8, 9, 10]]))
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    stretched = logits(module, [[3, 4, 5, 6]], positions=torch.tensor([[0, 2, 4, 6]]))
    assert (here - stretched).abs().max() > 1e-3


def test_initial_weights():
    """A new model passes its embedding through: whatever writes to the residual stream starts at zero."""
    torch.manual_seed(0)
    module = Llama(LlamaSettings(vocab_size=400, width=64, heads=2, layers=2, inner_width=100))
    ids = torch.randint(0, 400, (2, 20))
    torch.testing.assert_close(module(ids), module.final_norm(module.token_embedding(ids)))
    assert (module.head_weight == 0).all()
    assert module.blocks[1].attention.query_key_value.weight.std().item() == pytest.approx(0.7 / 8, rel=0.05)
    assert module.token_embedding.weight[:, 1:].std().item() == pytest.approx(1, rel=0.05)
    tied = Llama(LlamaSettings(vocab_size=400, width=64, heads=2, layers=1, tied=True))
    assert tied.head_weight is tied.token_embedding.weight
    assert tied.head_weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("groups", [4, 2])
def test_the_first_heads_begin_by_looking_back(groups):
    """Head ``h`` of a new model gives most weight to the token ``h + 1`` places back; the last head is free."""
    torch.manual_seed(0)
    settings = LlamaSettings(vocab_size=50, width=256, heads=4, key_value_heads=groups, layers=1)
    module = Llama(settings)
    ids = torch.randint(0, 50, (1, 40))
    first, per_head = module.blocks[0], settings.per_head
    packed = first.attention.query_key_value(first.attention_norm(module.token_embedding(ids)))
    query, key, _ = packed.view(1, 40, -1, per_head).transpose(1, 2).split([4, groups, groups], dim=1)
    rotation = module.rotary(None, 40)
    query = rotate(first.attention.query_norm(query), *rotation)
    key = rotate(first.attention.key_norm(key), *rotation).repeat_interleave(4 // groups, dim=1)
    weights = (query @ key.mT / per_head**0.5).masked_fill(~torch.ones(40, 40).tril().bool(), -torch.inf).softmax(-1)
    back = torch.arange(10, 40)
    for head in range(3):
        share = weights[0, head, back, back - head - 1]
        assert share.mean() > 0.3, (head, share.mean())
        assert (weights[0, head, back].argmax(-1) == back - head - 1).float().mean() > 0.8


@pytest.mark.parametrize(
    "wrong",
    [
        {"heads": 4, "key_value_heads": 3},
        {"width": 10, "heads": 3},
        {"width": 12, "heads": 4},
        {"head_width": 5},
        {"rotary_theta": 1.0},
        {"attention_window": 1},
        {"full_layers": 1},
        {"attention_window": 4, "full_layers": 4},
        {"attention_bias": "query_key_value"},
        {"query_key_norm": False, "attention_window": 4, "full_layers": 1},
        {"query_key_norm": False, "attention_window": 4, "attention_bias": "all"},
        {"rotary_scaling": {"kind": "linear", "factor": 0.5}},
        {"rotary_scaling": {"kind": "llama3", "low_frequency_factor": 4.0}},
    ],
)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(ValidationError):
        LlamaSettings(**wrong)


def test_derived_widths():
    assert LlamaSettings(width=64, heads=4).per_head == 16 and LlamaSettings(heads=4).groups == 4
    assert LlamaSettings(width=10, heads=3, head_width=4).per_head == 4
    assert LlamaSettings(heads=4, key_value_heads=2).groups == 2


def test_the_vocabulary_must_be_known():
    with pytest.raises(ValueError, match="vocab_size"):
        Llama(LlamaSettings())


# The numbers of weights that the models' published files hold.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b-v0.1": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2-0.5b": 494_032_768,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
}


def test_every_preset_has_as_many_weights_as_the_published_model():
    assert set(PRESETS) - set(PUBLISHED) == {"tiny", "small", "llama-110m"}
    assert {name: parameter_count(PRESETS[name].replace(context_length=8)) for name in PUBLISHED} == PUBLISHED


def test_a_preset_is_named_in_a_recipe(tmp_path):
    """Its fields are written out; those beside it win; an unknown one is answered with the nearest."""
    found = load_settings(LlamaSettings, None, ["preset=mistral-7b-v0.1", "layers=2", "vocab_size=null"])
    assert found == PRESETS["mistral-7b-v0.1"].replace(layers=2, vocab_size=None)
    assert found.preset is None and found.attention_window == 4096
    with pytest.raises(ConfigError, match=r"did you mean 'qwen3-0\.6b'"):
        load_settings(LlamaSettings, None, ["preset=qwen3-0.6"])


def test_a_window_limits_what_is_seen(module):
    """Of three tokens a layer, two layers reach four places back."""
    settings = module.settings
    if settings.attention_window != 3:
        pytest.skip("it has no window of three")
    first, other = [[3] + [5] * 9], [[4] + [5] * 9]
    moved = (logits(module, first) - logits(module, other)).abs().amax(dim=-1)[0]
    assert (moved[1:5] > 1e-4).all() and (moved[5:] < 1e-5).all()


def test_a_window_at_least_as_long_as_the_text_changes_nothing():
    torch.manual_seed(0)
    plain, wide = KINDS["llama"], KINDS["llama"].replace(attention_window=12)
    one, two = Llama(plain).eval(), Llama(wide).eval()
    two.load_state_dict(one.state_dict())
    ids = torch.randint(0, 31, (2, 12))
    assert torch.equal(one(ids), two(ids))


def test_the_cache_of_a_window_stays_short():
    settings = LlamaSettings(**SHAPE | {"context_length": 400, "layers": 3}, attention_window=5, full_layers=1)
    module, cache = Llama(settings).eval(), None
    cache = module.new_cache(2)
    with torch.no_grad():
        for part in torch.randint(0, 31, (2, 300)).split(30, dim=1):
            module(part, cache=cache)
    assert [keys.shape[2] for keys in cache.keys] == [cache.capacity, 6, 6] and cache.capacity >= 300


def test_without_a_window_no_mask_is_made(monkeypatch):
    """Training without a window must stay as fast as it was: one fused kernel, nothing in memory."""
    import zhixing.models.llama as family

    monkeypatch.setattr(family, "narrow", None)
    seen = []
    original = family.attend
    monkeypatch.setattr(
        family, "attend", lambda q, k, v, mask, causal: seen.append((mask, causal)) or original(q, k, v, mask, causal)
    )
    Llama(KINDS["llama"])(torch.zeros(1, 12, dtype=torch.int64))
    assert seen == [(None, True)] * 2


def test_stretched_positions_turn_slower():
    plain = Llama(KINDS["llama"]).rotary
    linear = Llama(KINDS["llama"].replace(rotary_scaling=LinearScaling(factor=2.0))).rotary
    torch.testing.assert_close(linear.cosine[2::2], plain.cosine[1:-1][: len(linear.cosine[2::2])])
