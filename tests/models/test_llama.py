"""Llama: its settings, its initial weights, documents in one window, and rotary positions."""

import pytest
import torch
from pydantic import ValidationError

from zhixing.models.llama import PRESETS, Llama, LlamaSettings
from zhixing.nn.positions import rotate

SHAPE = {"vocab_size": 31, "context_length": 12, "layers": 2, "width": 16, "heads": 4, "inner_width": 24}
KINDS = {
    "qwen3": LlamaSettings(**SHAPE),
    "llama": LlamaSettings(**SHAPE, query_key_norm=False),
    "grouped-tied": LlamaSettings(**SHAPE, key_value_heads=2, tied=True, head_width=6),
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


def test_presets():
    assert all(isinstance(preset, LlamaSettings) for preset in PRESETS.values())
