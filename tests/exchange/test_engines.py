"""Exports computed by the programs they are for: llama.cpp, and ONNX Runtime on every family (make test-exchange)."""

from __future__ import annotations

import pytest

from zhixing.exchange.formats import Options
from zhixing.exchange.run import export_model
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

pytestmark = pytest.mark.exchange

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one 2026 don't\n" * 20
DECODERS = ["gpt2", "gpt2-inner", "llama", "llama-tied", "llama-bias", "llama-3.1", "mistral", "qwen2", "qwen3"]


@pytest.mark.parametrize("precision", ["f32", "f16"])
@pytest.mark.parametrize("name", DECODERS)
def test_llama_cpp(name, precision, make, options, tmp_path) -> None:
    pytest.importorskip("llama_cpp")
    found = export_model(make(name), "gguf", tmp_path / "out", Options(options.sample, precision))
    assert found.parity.checked_with.startswith("llama-cpp-python") and found.ok, found.render()
    measures = {one.name: one for one in found.parity.measures}
    assert measures["same_ids"].value == 1 and measures["largest_logit"].value > 1
    print(name, precision, measures["logit_difference"].value, measures["largest_logit"].value)


@pytest.mark.parametrize(
    "tokens", [TokenizerSettings(kind="byte"), TokenizerSettings(vocab_size=300, pattern="llama3")]
)
def test_tokenizers_in_llama_cpp(tokens, make, options, tmp_path) -> None:
    pytest.importorskip("llama_cpp")
    found = export_model(make("llama", train_tokenizer(tokens, [TEXT])), "gguf", tmp_path / "out", options)
    assert found.ok, found.render()
    assert {one.name: one for one in found.parity.measures}["same_ids"].value == 1


@pytest.mark.parametrize("name", [*DECODERS, "bert", "bert-bare", "roberta", "xlnet"])
def test_onnx_runtime(name, make, options, tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    found = export_model(make(name), "onnx", tmp_path / "out", options)
    assert found.parity.checked_with.startswith("onnxruntime") and found.ok, found.render()
    measures = {one.name: one for one in found.parity.measures}
    assert measures["logit_difference"].value < 1e-5
    print(name, measures["logit_difference"].value)
