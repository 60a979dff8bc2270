"""``config.json`` of a GPT-2: defaults as in transformers, and refusals by name."""

import pytest
import torch

from zhixing.errors import ModelFolderError
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.interop.gpt2 import from_config, prepare, table, to_config

SETTINGS = GPT2Settings(vocab_size=30, context_length=10, layers=2, width=8, heads=2)


def test_an_empty_config_is_the_published_small_model():
    settings = from_config({"model_type": "gpt2"})
    assert (settings.layers, settings.width, settings.heads, settings.context_length) == (12, 768, 12, 1024)
    assert settings.vocab_size == 50257 and settings.inner_width is None


@pytest.mark.parametrize("settings", [SETTINGS, SETTINGS.replace(inner_width=20, norm_epsilon=1e-6)])
def test_there_and_back(settings):
    assert from_config(to_config(settings, 29)) == settings


@pytest.mark.parametrize(
    "field, value",
    [
        ("activation_function", "gelu"),
        ("activation_function", "relu"),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("tie_word_embeddings", False),
        ("add_cross_attention", True),
        ("quantization_config", {"bits": 4}),
        ("rotary_dim", 64),
        ("attention_window", 4),
        ("position_embedding_type", "relative"),
        ("n_embd", "768"),
        ("n_layer", 2.0),
        ("n_head", True),
        ("vocab_size", None),
        ("layer_norm_epsilon", "1e-5"),
        ("n_inner", "x"),
    ],
)
def test_what_it_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ModelFolderError, match=field):
        from_config(to_config(SETTINGS, 0) | {field: value})


@pytest.mark.parametrize("field, value", [("n_embd", 9), ("n_layer", 0), ("n_positions", -1)])
def test_impossible_numbers(field, value):
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        from_config(to_config(SETTINGS, 0) | {field: value})


def test_what_says_nothing_is_passed_over():
    quiet = {
        "n_ctx": 10, "summary_type": "cls_index", "summary_first_dropout": 0.1, "attn_pdrop": 0.1,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}, "gradient_checkpointing": 1,
        "reorder_and_upcast_attn": True, "initializer_range": 0.02, "architectures": ["GPT2LMHeadModel"],
    }  # fmt: skip
    assert from_config(to_config(SETTINGS, 0) | quiet) == SETTINGS
    renamed = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 10}
    older = {
        name: value for name, value in to_config(SETTINGS, 0).items() if name not in ("n_embd", "n_layer", "n_head")
    }
    assert from_config(older | renamed) == SETTINGS


def test_older_files():
    """Without the prefix, with the causal masks as buffers, with the tied head stored too."""
    tensors = {"wte.weight": 1, "h.0.attn.bias": 2, "h.0.attn.masked_bias": 3, "h.0.attn.c_attn.bias": 4}
    expected = {"transformer.wte.weight": 1, "transformer.h.0.attn.c_attn.bias": 4}
    assert prepare(tensors, GPT2Settings()) == expected
    assert prepare({f"transformer.{name}": value for name, value in tensors.items()}, GPT2Settings()) == expected
    table = torch.ones(3, 2)
    tied = prepare({"wte.weight": table, "lm_head.weight": table}, GPT2Settings())
    assert list(tied) == ["transformer.wte.weight"]


def test_a_name_that_stands_there_twice_is_kept_to_be_refused():
    assert "wte.weight" in prepare({"transformer.wte.weight": 1, "wte.weight": 2}, GPT2Settings())


def test_no_two_rules_know_one_name():
    names = [name for rule in table(SETTINGS) for name in (rule.ours, rule.theirs)]
    assert len(set(names)) == len(names)
