"""``config.json`` of a Llama, Mistral, Qwen2 or Qwen3: what each version of transformers writes, refusals by name."""

import pytest

from zhixing.errors import ModelFolderError
from zhixing.models.interop.llama import from_config, prepare, to_config
from zhixing.models.llama import PRESETS, LlamaSettings
from zhixing.models.rotary_scaling import LinearScaling, Llama3Scaling, NoScaling

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


QWEN2 = {"attention_bias": "query_key_value"}
VARIANTS = {
    "llama": [{}, {"tied": True}, {"attention_bias": "all"}, {"rotary_scaling": Llama3Scaling(factor=3.0)}],
    "mistral": [{"attention_window": 4}, {"width": 9, "head_width": 4, "heads": 2}],
    "qwen2": [QWEN2, QWEN2 | {"attention_window": 4}, QWEN2 | {"attention_window": 4, "full_layers": 1}],
    "qwen3": [
        {"query_key_norm": True, "norm_epsilon": 1e-5},
        {"query_key_norm": True, "attention_bias": "all", "attention_window": 4},
        {"query_key_norm": True, "rotary_scaling": LinearScaling(factor=2.5)},
    ],
}


@pytest.mark.parametrize(
    "family, changes", [(family, changes) for family, list_ in VARIANTS.items() for changes in list_]
)
def test_there_and_back(family, changes):
    """Each difference is written under the name of the layout that has it."""
    settings = SETTINGS.replace(**changes)
    config = to_config(settings, 29)
    assert config["model_type"] == family
    assert from_config(config) == settings


@pytest.mark.parametrize("name", [name for name in PRESETS if "-" in name and name != "llama-110m"])
def test_presets_are_written_under_their_own_names(name):
    settings = PRESETS[name]
    config = to_config(settings, 0)
    own = "llama" if name == "mistral-7b-v0.3" else name.split("-")[0].replace("qwen2.5", "qwen2")
    assert config["model_type"] == own  # a Mistral without a window is a Llama
    assert from_config(config) == settings.replace(
        key_value_heads=settings.groups, head_width=settings.per_head, preset=None
    )


def test_absent_fields_are_what_transformers_takes_them_for():
    llama = from_config({"model_type": "llama", "vocab_size": 30})
    assert (llama.groups, llama.per_head, llama.context_length) == (32, 128, 2048)
    mistral = from_config({"model_type": "mistral"})
    assert (mistral.groups, mistral.attention_window, mistral.inner_width) == (8, 4096, 14336)
    assert from_config({"model_type": "mistral", "sliding_window": None}).attention_window is None
    qwen2 = from_config({"model_type": "qwen2", "sliding_window": 32768, "max_window_layers": 21})
    assert (qwen2.attention_window, qwen2.attention_bias) == (None, "query_key_value")
    windowed = from_config({"model_type": "qwen2", "use_sliding_window": True})
    assert (windowed.attention_window, windowed.full_layers, windowed.layers) == (4096, 28, 32)
    qwen3 = from_config(
        {"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8}
    )
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
        {"rope_scaling": {"type": "linear", "factor": "2"}},
        {"rope_scaling": {"type": "linear", "factor": 2.0, "beta_fast": 32}},
        {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
        {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}},
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
def test_positions_that_are_stretched_otherwise_are_refused(fields):
    with pytest.raises(ModelFolderError, match=r"config\.json.*rope_(scaling|parameters|theta)"):
        from_config(BASE | fields)


@pytest.mark.parametrize(
    "field, value",
    [
        ("hidden_act", "gelu"),
        ("attention_bias", "yes"),
        ("mlp_bias", True),
        ("use_sliding_window", True),
        ("sliding_window", 4096),
        ("max_window_layers", 2),
        ("partial_rotary_factor", 0.5),
        ("original_max_position_embeddings", 5),
        ("logit_scale", 0.25),
        ("final_logit_softcapping", 30.0),
        ("per_layer_config", {"0": {"head_dim": 2}}),
        ("layer_types", ["full_attention"]),
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


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize(
    "fields, scaling",
    [
        ({}, NoScaling()),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, LinearScaling(factor=2.0)),
        (
            {"rope_scaling": LLAMA3 | {"rope_type": "llama3", "original_max_position_embeddings": 6}},
            Llama3Scaling(original_context=6),
        ),
        ({"rope_parameters": LLAMA3 | {"rope_type": "llama3"}}, Llama3Scaling(original_context=10)),
        (
            {"rope_parameters": LLAMA3 | {"rope_type": "llama3"}, "original_max_position_embeddings": 7},
            Llama3Scaling(original_context=7),
        ),
    ],
)
def test_stretches_that_are_honoured(fields, scaling):
    assert from_config(BASE | fields).rotary_scaling == scaling


FULL, SLIDING = "full_attention", "sliding_attention"
WINDOW = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
@pytest.mark.parametrize(
    "fields, expected",
    [
        ({}, (None, 0)),
        ({"use_sliding_window": False, "sliding_window": 4}, (None, 0)),
        (WINDOW, (4, 1)),
        (WINDOW | {"max_window_layers": 0}, (4, 0)),
        (WINDOW | {"max_window_layers": 2}, (None, 0)),
        (WINDOW | {"max_window_layers": 99}, (None, 0)),
        (WINDOW | {"layer_types": [FULL, SLIDING]}, (4, 1)),
        (WINDOW | {"layer_types": [SLIDING, SLIDING]}, (4, 0)),
        (WINDOW | {"layer_types": [FULL, FULL]}, (None, 0)),
        ({"layer_types": [FULL, FULL]}, (None, 0)),
        (WINDOW | {"layer_types": [SLIDING, FULL]}, None),
        (WINDOW | {"layer_types": [FULL]}, None),
        (WINDOW | {"layer_types": [FULL, "chunked_attention"]}, None),
        (WINDOW | {"layer_types": "full_attention"}, None),
        ({"layer_types": [FULL, SLIDING]}, None),
    ],
)
def test_which_layers_have_a_window(family, fields, expected):
    config = {"model_type": family, "vocab_size": 30, "num_hidden_layers": 2} | fields
    if expected is None:
        with pytest.raises(ModelFolderError, match="layer_types"):
            from_config(config)
    else:
        found = from_config(config)
        assert (found.attention_window, found.full_layers) == expected


@pytest.mark.parametrize(
    "family, field, value",
    [
        ("qwen2", "attention_bias", False),
        ("mistral", "attention_bias", True),
        ("mistral", "use_sliding_window", False),
        ("mistral", "layer_types", [FULL] * 32),
        ("mistral", "max_window_layers", 3),
        ("qwen2", "sliding_window", 1),
        ("qwen3", "sliding_window", "4"),
        ("qwen2", "mlp_bias", True),
    ],
)
def test_what_contradicts_the_layout_is_refused(family, field, value):
    config = {"model_type": family, "vocab_size": 30, "use_sliding_window": True, "max_window_layers": 0}
    config = config if family != "mistral" else {"model_type": family, "vocab_size": 30}
    with pytest.raises(ModelFolderError, match=f"{field}|attention_window"):
        from_config(config | {field: value})


def test_what_says_nothing_is_passed_over():
    quiet = {
        "_name_or_path": "x", "transformers_version": "4.40.0", "use_cache": False, "pretraining_tp": 1,
        "attention_dropout": 0.1, "torch_dtype": "bfloat16", "unsloth_version": "1", "unheard_of": None,
        "another": False, "pad_token_id": 7, "max_length": 20, "layer_types": ["full_attention"] * 2,
    }  # fmt: skip
    assert from_config(to_config(SETTINGS, 0) | quiet) == SETTINGS


@pytest.mark.parametrize("field, value", [("num_key_value_heads", 3), ("head_dim", 3), ("num_hidden_layers", 0)])
def test_impossible_numbers(field, value):
    with pytest.raises(ModelFolderError, match=r"config\.json"):
        from_config(to_config(SETTINGS, 0) | {field: value})


def test_older_files_and_tied_heads():
    tensors = {"model.layers.0.self_attn.rotary_emb.inv_freq": 1, "lm_head.weight": 2, "model.norm.weight": 3}
    assert prepare(tensors, LlamaSettings(tied=False)) == {"lm_head.weight": 2, "model.norm.weight": 3}
    assert prepare(tensors, LlamaSettings(tied=True)) == {"model.norm.weight": 3}
