"""``config.json`` of a Llama or Qwen3: what each version of transformers writes, and refusals by name."""

import pytest

from zhixing.errors import ModelFolderError
from zhixing.models.interop.llama import from_config, prepare, to_config
from zhixing.models.llama import LlamaSettings

SETTINGS = LlamaSettings(
    vocab_size=30,
    context_length=10,
    layers=2,
    width=8,
    heads=4,
    key_value_heads=2,
    head_width=4,
    inner_width=12,
    rotary_theta=5e5,
    query_key_norm=False,
)


@pytest.mark.parametrize("changes", [{}, {"tied": True}, {"query_key_norm": True, "norm_epsilon": 1e-5}])
def test_there_and_back(changes):
    settings = SETTINGS.replace(**changes)
    assert from_config(to_config(settings, 29)) == settings


def test_the_family_there_depends_on_the_norm():
    assert to_config(SETTINGS, 0)["model_type"] == "llama"
    assert to_config(SETTINGS.replace(query_key_norm=True), 0)["model_type"] == "qwen3"


def test_absent_fields_are_what_transformers_takes_them_for():
    llama = from_config({"model_type": "llama", "vocab_size": 30})
    assert (llama.groups, llama.per_head, llama.context_length) == (32, 128, 2048)
    qwen3 = from_config({"model_type": "qwen3", "vocab_size": 30, "hidden_size": 1024, "num_attention_heads": 16})
    assert qwen3.per_head == 128 and qwen3.query_key_norm


BASE = {name: value for name, value in to_config(SETTINGS, 0).items() if name not in ("rope_theta", "rope_parameters")}


@pytest.mark.parametrize(
    "fields, theta",
    [
        ({}, 1e4),
        ({"rope_theta": 7.0, "rope_scaling": None}, 7.0),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, 7.0),
        ({"rope_parameters": {"rope_theta": 7}, "rope_theta": 3.0}, 7.0),
        ({"rope_parameters": {"rope_type": "default"}, "rope_theta": 7.0}, 7.0),
        ({"rope_scaling": {"type": "default"}, "rope_theta": 7.0}, 7.0),
        ({"rope_parameters": None, "rope_theta": 7.0}, 7.0),
    ],
)
def test_the_rotary_base_is_found(fields, theta):
    assert from_config(BASE | fields).rotary_theta == theta


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
        {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"rope_type": "dynamic"}},
        {"rope_parameters": {"rope_theta": 1e4, "factor": 4.0}},
        {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5.0}}},
        {"rope_parameters": {"partial_rotary_factor": 0.5}},
        {"rope_scaling": "linear"},
        {"rope_theta": "10000"},
        {"rope_parameters": {"rope_theta": True}},
    ],
)
def test_positions_that_are_stretched_are_refused(fields):
    with pytest.raises(ModelFolderError, match=r"config\.json.*rope_(scaling|parameters|theta)"):
        from_config(BASE | fields)


@pytest.mark.parametrize(
    "field, value",
    [
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("use_sliding_window", True),
        ("layer_types", ["full_attention", "sliding_attention"]),
        ("tie_word_embeddings", "false"),
        ("quantization_config", {"quant_method": "fp8"}),
        ("vocab_size", None),
        ("hidden_size", "8"),
        ("num_key_value_heads", 2.0),
        ("head_dim", "x"),
        ("rms_norm_eps", None),
    ],
)
def test_what_it_cannot_be_is_refused_by_name(field, value):
    with pytest.raises(ModelFolderError, match=field):
        from_config(to_config(SETTINGS, 0) | {field: value})


@pytest.mark.parametrize("field, value", [("num_key_value_heads", 3), ("head_dim", 3), ("num_hidden_layers", 0)])
def test_impossible_numbers(field, value):
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        from_config(to_config(SETTINGS, 0) | {field: value})


def test_older_files_and_tied_heads():
    tensors = {"model.layers.0.self_attn.rotary_emb.inv_freq": 1, "lm_head.weight": 2, "model.norm.weight": 3}
    assert prepare(tensors, LlamaSettings(tied=False)) == {"lm_head.weight": 2, "model.norm.weight": 3}
    assert prepare(tensors, LlamaSettings(tied=True)) == {"model.norm.weight": 3}
