"""The files of a folder: complete, in the common layout, for members of every kind."""

import json

import numpy as np
import pytest
import torch

from zhixing.model_folder import tensor_files, verify_folder, write_folder
from zhixing.models.decoders import build_decoder, export_tensors, to_config
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.load import load, load_model
from zhixing.models.mixture import Gate, MixtureModel
from zhixing.models.ngram import NgramModel
from zhixing.models.save import companion_files, mixture_files, neural_files, ngram_files
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.chat_template import ChatTemplate

TOKENIZER = ByteTokenizer()
V = TOKENIZER.vocab_size
SETTINGS = LlamaSettings(vocab_size=V, context_length=8, layers=1, width=8, heads=2, inner_width=8)
GATE = Gate(np.full((1, 1, 2), 0.5), np.zeros(1), span=4)
IDS = np.arange(8)[None]


def write_decoder(folder, settings=SETTINGS, seed=0):
    torch.manual_seed(seed)
    module = build_decoder(settings)
    with torch.no_grad():
        for weights in module.parameters():
            weights.normal_(0, 0.3)
    write_folder(folder, neural_files(module, settings, TOKENIZER.separator_id), facts={})
    return folder


def write_ngram(folder):
    model = NgramModel.fit([np.arange(50) % 7], V, TOKENIZER.separator_id, order=3)
    write_folder(folder, ngram_files(model), facts={})
    return folder


def write_mixture(folder, members):
    model = MixtureModel([load_model(member) for member in members], GATE)
    write_folder(folder, {**mixture_files(model, members), **companion_files(TOKENIZER)}, facts={})
    return model


def test_a_decoder_is_a_config_and_weights():
    files = neural_files(build_decoder(SETTINGS), SETTINGS, separator_id=256)
    assert set(files) == {"config.json", "model.safetensors"}
    config = json.loads(files["config.json"])
    assert config == to_config(SETTINGS, 256)
    assert config["architectures"] == ["Qwen3ForCausalLM"] and config["eos_token_id"] == 256


def test_the_tied_head_is_stored_once(tmp_path):
    tied = SETTINGS.replace(tied=True)
    assert "lm_head.weight" in export_tensors(build_decoder(SETTINGS), SETTINGS)
    assert "lm_head.weight" not in export_tensors(build_decoder(tied), tied)
    gpt2 = GPT2Settings(vocab_size=V, context_length=8, layers=1, width=8, heads=2)
    assert "lm_head.weight" not in export_tensors(build_decoder(gpt2), gpt2)


def test_saving_takes_the_weights_as_they_are_when_written(tmp_path):
    """And does not change the model: it may be in the middle of its training."""
    module = build_decoder(SETTINGS).train()
    before = {name: weights.clone() for name, weights in module.state_dict().items()}
    write_folder(tmp_path / "model", neural_files(module, SETTINGS, 0), facts={})
    assert module.training and all(weights.requires_grad for weights in module.parameters())
    assert all(torch.equal(weights, before[name]) for name, weights in module.state_dict().items())


def test_companions(tmp_path):
    files = companion_files(TOKENIZER, ChatTemplate(TOKENIZER))
    assert set(files) == {
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    assert json.loads(files["generation_config.json"])["eos_token_id"] == TOKENIZER.separator_id
    assert "chat_template.jinja" not in companion_files(TOKENIZER)


def test_a_mixture_carries_its_members(tmp_path):
    members = [write_decoder(tmp_path / "a"), write_ngram(tmp_path / "b")]
    model = write_mixture(tmp_path / "mixture", members)
    for member in members:
        for file in member.iterdir():
            file.unlink()
    again = load(tmp_path / "mixture").model
    assert [member.family for member in again.members] == ["llama", "ngram"]
    np.testing.assert_array_equal(again.score(IDS), model.score(IDS))
    assert verify_folder(tmp_path / "mixture") == []


def test_a_member_without_a_manifest(tmp_path):
    """As another library writes it."""
    members = [write_decoder(tmp_path / "a"), write_decoder(tmp_path / "b", seed=1)]
    (members[1] / "MANIFEST.json").unlink()
    model = write_mixture(tmp_path / "mixture", members)
    np.testing.assert_array_equal(load(tmp_path / "mixture").model.score(IDS), model.score(IDS))


def test_a_member_in_shards(tmp_path):
    settings = SETTINGS.replace(layers=2)
    module = build_decoder(settings)
    shards = tensor_files(export_tensors(module, settings), shard_bytes=3000)
    assert len(shards) > 3
    config = json.dumps(to_config(settings, 0))
    write_folder(tmp_path / "a", {"config.json": config, **shards}, facts={})
    members = [tmp_path / "a", write_ngram(tmp_path / "b")]
    model = write_mixture(tmp_path / "mixture", members)
    np.testing.assert_array_equal(load(tmp_path / "mixture").model.score(IDS), model.score(IDS))


def test_a_mixture_of_a_mixture(tmp_path):
    inner = [write_decoder(tmp_path / "a"), write_ngram(tmp_path / "b")]
    write_mixture(tmp_path / "inner", inner)
    model = write_mixture(tmp_path / "outer", [tmp_path / "inner", write_decoder(tmp_path / "c", seed=2)])
    again = load(tmp_path / "outer").model
    assert [member.family for member in again.members] == ["mixture", "llama"]
    np.testing.assert_array_equal(again.score(IDS), model.score(IDS))


def test_a_member_that_is_no_model(tmp_path):
    model = MixtureModel([load_model(write_decoder(tmp_path / "a")), load_model(write_ngram(tmp_path / "b"))], GATE)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        mixture_files(model, [tmp_path / "a", tmp_path / "empty"])
