"""ONNX graphs in ONNX Runtime: any batch, any length, padding. All families: test_engines.py."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from zhixing.errors import InputError, MissingExtraError
from zhixing.exchange.run import export_model
from zhixing.tokenizers.load import load_tokenizer

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_equal_in_onnx_runtime(make, options, tmp_path, tokenizer) -> None:
    found = export_model(make("gpt2-shallow"), "onnx", tmp_path / "out", options)
    measures = {one.name: one for one in found.parity.measures}
    assert found.ok and measures["logit_difference"].value < 1e-5 and measures["greedy_agreement"].value == 1
    path = tmp_path / "out" / "model.onnx"
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [(part.name, part.shape) for part in session.get_inputs()] == [("ids", ["batch", "length"])]
    (logits,) = session.run(["logits"], {"ids": np.zeros((1, 1), np.int64)})
    assert logits.shape == (1, 1, tokenizer.vocab_size)
    assert load_tokenizer(tmp_path / "out").fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("name", ["recurrent", "t5"])
def test_other_families_are_refused(name, make, options) -> None:
    with pytest.raises(InputError, match="can be written as ONNX"):
        export_model(make(name), "onnx", options=options)


def test_without_the_libraries(make, options, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"zhixing\[onnx\]"):
        export_model(make("llama"), "onnx", options=options)


def test_without_the_runtime_it_says_so(make, options, tmp_path, monkeypatch) -> None:
    from zhixing.exchange import onnx as module

    monkeypatch.setattr(module, "_write", lambda *rest: rest[-1].write_bytes(b"graph"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    found = export_model(make("llama"), "onnx", tmp_path / "out", options)
    assert found.parity.ok is None and "onnxruntime is not installed" in found.render()


def test_weights_above_the_limit_are_refused(make, options, monkeypatch) -> None:
    from zhixing.exchange import onnx as module

    monkeypatch.setattr(module, "_LIMIT", 1000)
    with pytest.raises(InputError, match="2 GB"):
        export_model(make("llama"), "onnx", options=options)
