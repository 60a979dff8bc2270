"""Exports computed by the programs they are for: llama.cpp, and ONNX Runtime on every family (make test-exchange)."""

from __future__ import annotations

import json

import pytest

from zhixing.exchange.formats import Options
from zhixing.exchange.gguf_vocabulary import QWEN2_PATTERN
from zhixing.exchange.questions import Sample, default_texts
from zhixing.exchange.run import export_model
from zhixing.models.save import companion_files
from zhixing.tokenizers.bpe import from_merges
from zhixing.tokenizers.byte_alphabet import characters_to_bytes
from zhixing.tokenizers.layout import byte_level, sequence, split
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

pytestmark = pytest.mark.exchange

TEXT = "def read(path):\n    return open(path).read()  # 知行合一 knowing and doing are one 2026 don't\n" * 20
HARD = (
    "don't DON'T I'll we'VE it's  \n\n\n   x=12345 ４５６ ٣٤ Ⅷ² ñ ﬁ ǅ 知行合一。\t\r\n e\u0301 \u200b\u3000\u00a0 "
    "😀👨\u200d👩\u200d👧 कि ไทย <|endoftext|> <|user|>\r\r\n !!?…—«a»_b__c 3.14e-10"
)
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


@pytest.mark.parametrize("pattern", ["gpt2", "llama3", "qwen2"])
def test_tokenizers_in_llama_cpp(pattern, make, tmp_path) -> None:
    """The same ids for text that tells cutting rules apart: cases, digits, blanks, scripts, marks, special tokens."""
    pytest.importorskip("llama_cpp")
    settings = TokenizerSettings(vocab_size=700, min_frequency=2, pattern="gpt2" if pattern == "gpt2" else "llama3")
    tokenizer = train_tokenizer(settings, [TEXT, HARD * 20])
    if pattern == "qwen2":  # such tokenizers are opened here, not trained
        pairs = json.loads(companion_files(tokenizer)["tokenizer.json"])["model"]["merges"]
        merges = [(characters_to_bytes(left), characters_to_bytes(right)) for left, right in pairs]
        tokenizer = from_merges(merges, sequence(split(QWEN2_PATTERN), byte_level(use_regex=False)))
    sample = Sample(
        (*default_texts(), *(f"{before}{HARD}{after}" for before in ("", " ", "\n") for after in ("", "  ")))
    )
    found = export_model(make("llama", tokenizer), "gguf", tmp_path / "out", Options(sample))
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
