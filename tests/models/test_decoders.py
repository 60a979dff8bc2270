"""From settings to a model, and the exchange of weights under the other library's names."""

import pytest
import torch

from zhixing.errors import ModelFolderError
from zhixing.models.decoders import (
    build_decoder,
    export_tensors,
    from_config,
    load_tensors,
    parameter_count,
    restore_decoder,
    to_config,
)
from zhixing.models.gpt2 import GPT2, GPT2Settings
from zhixing.models.llama import Llama, LlamaSettings

GPT2_SHAPE = GPT2Settings(vocab_size=30, context_length=10, layers=2, width=8, heads=2)
SHAPE = {"vocab_size": 30, "context_length": 10, "layers": 2, "width": 8, "heads": 4, "inner_width": 12}
LLAMA_SHAPE = LlamaSettings(**SHAPE, key_value_heads=2)
KINDS = {
    "gpt2": GPT2_SHAPE,
    "gpt2-inner": GPT2_SHAPE.replace(inner_width=12),
    "llama": LLAMA_SHAPE,
    "llama-plain": LLAMA_SHAPE.replace(query_key_norm=False),
    "llama-tied": LLAMA_SHAPE.replace(tied=True, head_width=6, rotary_theta=5e5, norm_epsilon=1e-5),
}


@pytest.fixture(params=list(KINDS))
def settings(request):
    return KINDS[request.param]


@pytest.fixture
def module(settings):
    torch.manual_seed(0)
    module = build_decoder(settings)
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_()
    return module


def refused(settings, tensors):
    with pytest.raises(ModelFolderError) as caught:
        load_tensors(build_decoder(settings), settings, tensors, "here")
    return str(caught.value)


def test_the_family_decides_the_class(settings):
    kind = GPT2 if isinstance(settings, GPT2Settings) else Llama
    assert type(build_decoder(settings)) is kind


def test_parameters_are_counted_without_allocating_them(settings, module):
    assert parameter_count(settings) == sum(weights.numel() for weights in module.parameters())
    assert parameter_count(LLAMA_SHAPE.replace(vocab_size=10**9, width=10**4)) > 10**13


def test_there_and_back(settings, module):
    theirs = export_tensors(module, settings)
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in theirs.values())
    again = build_decoder(settings)
    load_tensors(again, settings, theirs, "here")
    state = module.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())


def test_the_config_tells_the_shape(settings):
    again = from_config(settings.family, to_config(settings, 29))
    assert build_decoder(again).state_dict().keys() == build_decoder(settings).state_dict().keys()
    assert to_config(again, 29) == to_config(settings, 29)
    assert parameter_count(again) == parameter_count(settings)


def test_loading_keeps_the_tensors_that_an_optimizer_knows(settings, module):
    theirs = export_tensors(module, settings)
    again = build_decoder(settings)
    before = {name: weights.data_ptr() for name, weights in again.named_parameters()}
    load_tensors(again, settings, theirs, "here")
    assert {name: weights.data_ptr() for name, weights in again.named_parameters()} == before


def test_a_restored_model_owns_its_weights_and_draws_no_random_numbers(settings, module):
    theirs = export_tensors(module, settings)
    random_state = torch.get_rng_state()
    again = restore_decoder(settings, theirs, "here")
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(weights.requires_grad and not weights.is_meta for weights in again.parameters())
    assert not any(buffer.is_meta for buffer in again.buffers())
    for tensor in theirs.values():
        tensor.zero_()
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    torch.testing.assert_close(again(ids), restore_decoder(settings, export_tensors(again, settings), "x")(ids))
    assert all((weights != 0).any() for weights in again.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_loads_as_float32(settings, module, dtype):
    theirs = {name: tensor.to(dtype) for name, tensor in export_tensors(module, settings).items()}
    for again in (restore_decoder(settings, theirs, "here"), build_decoder(settings)):
        load_tensors(again, settings, theirs, "here")
        for name, weights in again.state_dict().items():
            assert weights.dtype == torch.float32
            torch.testing.assert_close(weights, module.state_dict()[name].to(dtype).float())


# ---------------------------------------------------------------- C9: names and shapes that do not fit


def test_all_problems_are_listed_under_the_names_of_the_file(module, settings):
    theirs = export_tensors(module, settings)
    names = sorted(theirs)
    missing, wrong = names[0], names[-1]
    del theirs[missing]
    theirs[wrong] = torch.zeros(3, 5)
    theirs["layer.extra"] = torch.zeros(1)
    message = refused(settings, theirs)
    assert f"missing: {missing}" in message
    assert "not part of the model: layer.extra" in message
    assert f"{wrong} (3, 5) ≠ " in message and message.startswith("here")


def test_part_of_a_packed_product_is_missing_or_wrong():
    theirs = export_tensors(build_decoder(LLAMA_SHAPE), LLAMA_SHAPE)
    key = "model.layers.1.self_attn.k_proj.weight"
    gate = "model.layers.0.mlp.gate_proj.weight"
    theirs[gate] = torch.zeros(13, 8)
    del theirs[key]
    message = refused(LLAMA_SHAPE, theirs)
    assert f"missing: {key}" in message and f"{gate} (13, 8) ≠ (12, 8)" in message


def test_our_own_names_are_not_theirs(module, settings):
    """A file with names of ours beside or instead of theirs is not taken for a good one."""
    ours = dict(module.state_dict())
    assert "not part of the model: " in refused(settings, ours)
    theirs = export_tensors(module, settings)
    assert "final_norm.weight" in refused(settings, theirs | {"final_norm.weight": torch.zeros(8)})


def test_a_layer_too_many_and_one_too_few(module, settings):
    theirs = export_tensors(module, settings)
    assert "not part of the model" in refused(settings.replace(layers=1), theirs)
    assert "missing" in refused(settings.replace(layers=3), theirs)


def test_absurd_numbers_end_at_once(module, settings):
    theirs = export_tensors(module, settings)
    with pytest.raises(ModelFolderError, match="1000000000 layers"):
        restore_decoder(settings.replace(layers=10**9), theirs, "here")
    with pytest.raises(ModelFolderError, match="of another shape"):
        restore_decoder(settings.replace(vocab_size=10**12), theirs, "here")


def test_a_gpt2_file_with_and_without_prefix_at_once():
    theirs = export_tensors(build_decoder(GPT2_SHAPE), GPT2_SHAPE)
    assert "not part of the model: wte.weight" in refused(GPT2_SHAPE, theirs | {"wte.weight": torch.zeros(30, 8)})
