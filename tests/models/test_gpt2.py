"""GPT-2: its settings, its initial weights, documents in one window, and how far it may read."""

import pytest
import torch
from pydantic import ValidationError

from zhixing.models.decoders import parameter_count
from zhixing.models.gpt2 import GPT2, PRESETS, GPT2Settings

SETTINGS = GPT2Settings(vocab_size=31, context_length=12, layers=3, width=16, heads=2, dropout=0.25)


@pytest.fixture
def module():
    torch.manual_seed(0)
    model = GPT2(SETTINGS).eval()
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


def test_positions_alone_only_move(module):
    shifted = logits(module, [[3, 4, 5]], positions=torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(shifted, logits(module, [[3, 4, 5]]))
    later = logits(module, [[3, 4, 5]], positions=torch.tensor([[4, 5, 6]]))
    assert (later - shifted).abs().max() > 0.01


def test_a_window_longer_than_the_context_is_an_error_not_a_guess(module):
    module(torch.zeros(1, 12, dtype=torch.int64))
    with pytest.raises(IndexError):
        module(torch.zeros(1, 13, dtype=torch.int64))


def test_initial_weights():
    torch.manual_seed(0)
    wide = GPT2Settings(vocab_size=500, context_length=400, layers=8, width=64, heads=2)
    module, state = GPT2(wide), GPT2(wide).state_dict()
    for name, weights in state.items():
        if name.endswith("norm.weight"):
            assert (weights == 1).all()
        elif name.endswith("bias"):
            assert (weights == 0).all()
        else:
            writer = name.endswith(("output.weight", "contract.weight"))
            expected = 0.01 if name == "position_embedding.weight" else 0.02 / (4.0 if writer else 1.0)
            assert weights.std().item() == pytest.approx(expected, rel=0.05), name
    assert module.head_weight is module.token_embedding.weight


def test_dropout_acts_in_training_only(module):
    ids = [[3, 4, 5]]
    torch.testing.assert_close(logits(module, ids), logits(module, ids), rtol=0, atol=0)
    module.train()
    assert (logits(module, ids) - logits(module, ids)).abs().max() > 0.01


@pytest.mark.parametrize(
    "wrong",
    [{"width": 10, "heads": 3}, {"layers": 0}, {"dropout": 1.0}, {"norm_epsilon": 0.0}, {"heads": True}],
)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(ValidationError):
        GPT2Settings(**wrong)


def test_the_vocabulary_must_be_known():
    with pytest.raises(ValueError, match="vocab_size"):
        GPT2(GPT2Settings())


SIZES = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125e6,
    "gpt3-medium": 350e6,
    "gpt3-large": 760e6,
    "gpt3-xl": 1.3e9,
    "gpt3-2.7b": 2.7e9,
    "gpt3-6.7b": 6.7e9,
    "gpt3-13b": 13e9,
    "gpt3-175b": 175e9,
}


def test_presets_have_the_published_sizes():
    """GPT-2's exactly, as in the published files; GPT-3's as the paper rounds them."""
    assert set(PRESETS) - set(SIZES) == {"tiny", "small"}
    for name, size in SIZES.items():
        assert parameter_count(PRESETS[name]) == (size if name < "gpt3" else pytest.approx(size, rel=0.025)), name


def test_a_preset_is_named_in_settings():
    found = GPT2Settings.model_validate({"preset": "gpt3-xl", "layers": 2})
    assert found == PRESETS["gpt3-xl"].replace(layers=2) and found.width // found.heads == 128
    with pytest.raises(ValidationError, match="did you mean 'gpt3-small'"):
        GPT2Settings(preset="gpt3-smal")
