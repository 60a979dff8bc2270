"""GGUF read back by the ``gguf`` package: every tensor, every field, the tokenizer."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from zhixing.errors import InputError, MissingExtraError
from zhixing.exchange.formats import Options
from zhixing.exchange.gguf import beside, contents
from zhixing.exchange.run import export_model
from zhixing.models.load import load
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

gguf = pytest.importorskip("gguf")


def field(reader, name):
    return reader.get_field(name).contents()


@pytest.fixture
def without_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)


@pytest.mark.parametrize("name", ["gpt2", "gpt2-inner", "llama", "llama-tied", "llama-bias", "qwen2", "qwen3"])
@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_every_tensor_comes_back(name, precision, make, options, tmp_path, without_engine) -> None:
    source = make(name)
    found = export_model(source, "gguf", tmp_path / "out", Options(options.sample, precision))
    assert found.ok and found.parity.checked_with == "gguf" and "no logits" in found.render()
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    module = load(source).model.module
    ours = module.state_dict()
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    embedding = ours["token_embedding.weight"].numpy().astype(np.float16 if precision == "f16" else np.float32)
    assert np.array_equal(tensors["token_embd.weight"].data, embedding)
    assert ("output.weight" in tensors) == (name in ("llama", "llama-bias", "qwen2", "qwen3"))
    packed = ours["blocks.1.attention.query_key_value.weight"].numpy()
    if name.startswith("gpt2"):
        assert np.array_equal(tensors["blk.1.attn_qkv.weight"].data, packed.astype(embedding.dtype))
        assert tensors["position_embd.weight"].data.dtype == np.float32
    else:
        query = packed[:32] if name.startswith("qwen") else beside(packed[:32], 4)
        assert np.array_equal(tensors["blk.1.attn_q.weight"].data, query.astype(embedding.dtype))
        assert ("blk.1.attn_q.bias" in tensors) == (name in ("llama-bias", "qwen2"))
        gate = ours["blocks.0.feed_forward.gate_up.weight"].numpy()[:48]
        assert np.array_equal(tensors["blk.0.ffn_gate.weight"].data, gate.astype(embedding.dtype))
    assert all(tensor.data.dtype == np.float32 for tensor in reader.tensors if tensor.data.ndim == 1)
    assert sum(tensor.n_elements for tensor in reader.tensors) == sum(weight.numel() for weight in ours.values())


def test_fields_and_tokenizer(make, options, tmp_path, tokenizer, without_engine) -> None:
    export_model(make("qwen3"), "gguf", tmp_path / "out", options)
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    assert field(reader, "general.architecture") == "qwen3" and field(reader, "general.name") == "qwen3"
    expected = {"context_length": 48, "embedding_length": 32, "block_count": 2, "feed_forward_length": 48}
    expected |= {"attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 8}
    assert {name: field(reader, f"qwen3.{name}") for name in expected} == expected
    assert field(reader, "qwen3.rope.freq_base") == 10000.0
    tokens, kinds = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    assert len(tokens) == len(kinds) == tokenizer.vocab_size
    assert {tokens[index] for index, kind in enumerate(kinds) if kind == 3} == set(tokenizer.special_tokens)
    assert tokens[tokenizer.encode("\n")[0]] == "Ċ"
    assert field(reader, "tokenizer.ggml.bos_token_id") == tokenizer.separator_id
    assert field(reader, "tokenizer.ggml.pre") == "gpt-2" and len(field(reader, "tokenizer.ggml.merges")) > 10


def test_stretched_positions_are_factors(make) -> None:
    factors = contents(load(make("llama-3.1")), "f16").tensors["rope_freqs.weight"]
    assert factors.dtype == np.float32 and len(factors) == 4
    assert factors[0] == 1 and factors[-1] == pytest.approx(4) and (np.diff(factors) >= 0).all()


def test_rotary_pairs_stand_beside_each_other() -> None:
    rows = np.arange(8)[:, None]
    assert beside(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_what_llama_cpp_does_not_know_is_refused(make, options) -> None:
    for name in ("recurrent", "bert"):
        with pytest.raises(InputError, match="can be written as GGUF"):
            export_model(make(name), "gguf", options=options)
    with pytest.raises(InputError, match="sliding_window = 5"):
        export_model(make("mistral-window"), "gguf", options=options)
    characters = train_tokenizer(TokenizerSettings(kind="character", vocab_size=300), ["abc 知"])
    with pytest.raises(InputError, match="byte-level BPE"):
        export_model(make("llama", characters), "gguf", options=options)


def test_a_damaged_tensor_is_found(make, options, tmp_path, monkeypatch, without_engine) -> None:
    from zhixing.exchange import gguf as module

    source = make("llama")
    good = contents(load(source), "f32")
    broken = {**good.tensors, "output_norm.weight": good.tensors["output_norm.weight"] + 1}
    monkeypatch.setattr(module, "contents", lambda *rest: good)
    written = module.Made(
        {"model.gguf": lambda path: module._write(good.__class__(**{**vars(good), "tensors": broken}), path, "f32")}
    )
    monkeypatch.setattr(module, "export_files", lambda *rest: written)
    found = export_model(source, "gguf", tmp_path / "out", options)
    assert not found.ok and "output_norm.weight" in found.problem() and found.out.name == "out.failed"


def test_without_the_library(make, options, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"zhixing\[gguf\]"):
        export_model(make("llama"), "gguf", options=options)
