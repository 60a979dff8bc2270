"""Folders for transformers and from there: equal, or refused with the list of what is wrong."""

from __future__ import annotations

import json
import logging
import sys

import pytest
import torch

from zhixing.errors import InputError, ModelFolderError
from zhixing.exchange.run import export_model, import_model
from zhixing.model_folder import verify_folder
from zhixing.models.load import load

transformers = pytest.importorskip("transformers")

FAMILIES = [
    "gpt2", "gpt2-inner", "qwen3", "llama", "llama-tied", "llama-bias", "llama-3.1", "mistral", "mistral-window",
    "qwen2", "bert", "bert-bare", "roberta", "t5", "marian", "xlnet",
]  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_there_and_back(name, make, options, tmp_path) -> None:
    source = make(name)
    sent = export_model(source, "transformers", tmp_path / "there", options)
    back = import_model(tmp_path / "there", tmp_path / "back", options=options)
    for found in (sent, back):
        assert found.parity.ok and found.ok
        measures = {one.name: one for one in found.parity.measures}
        assert measures["logit_difference"].value < 1e-5 and measures["largest_logit"].value > 0.5
        if name != "bert-bare":
            assert measures["greedy_agreement"].value == 1 and measures["perplexity"].value > 2
    before, after = load(source), load(tmp_path / "back")
    weights = after.model.module.state_dict()
    assert all(torch.equal(tensor, weights[part]) for part, tensor in before.model.module.state_dict().items())
    assert before.tokenizer.fingerprint == after.tokenizer.fingerprint
    assert verify_folder(tmp_path / "back") == [] and after.facts["import"]["format"] == "transformers"
    report = json.loads((tmp_path / "back" / "parity.json").read_text(encoding="utf-8"))
    assert report["ok"] and report["checked_with"].startswith("transformers 5")


def foreign(tmp_path, tokenizer, **fields):
    """A Llama that transformers has written."""
    config = transformers.LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, max_position_embeddings=40, **fields,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path / "foreign"
    model = transformers.LlamaForCausalLM(config)
    for weights in model.parameters():
        weights.data.mul_(5)
    model.save_pretrained(folder, max_shard_size="20KB")
    tokenizer.save(folder)
    return folder


def change(folder, **fields) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, **fields}), encoding="utf-8")


def test_shards_are_read_and_requests_for_code_are_named(tmp_path, tokenizer, options, caplog) -> None:
    folder = foreign(tmp_path, tokenizer)
    assert (folder / "model.safetensors.index.json").exists()
    (folder / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()", encoding="utf-8")
    change(folder, auto_map={"AutoModelForCausalLM": "evil.Evil"})
    with caplog.at_level(logging.INFO, "zhixing"):
        found = import_model(folder, tmp_path / "model", options=options)
    assert found.ok and "auto_map" in caplog.text and "evil.py" in caplog.text
    assert "evil" not in sys.modules and "auto_map" not in (tmp_path / "model" / "config.json").read_text("utf-8")
    assert not (tmp_path / "model" / "evil.py").exists()


def test_pickled_weights_are_refused(tmp_path, tokenizer) -> None:
    folder = foreign(tmp_path, tokenizer)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(ModelFolderError, match=r"pytorch_model.bin.*save_pretrained"):
        import_model(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"num_hidden_layers": 3}, "missing"),
        ({"num_hidden_layers": 1}, "not part of the model"),
        ({"intermediate_size": 40}, "another shape"),
        ({"hidden_act": "relu"}, "hidden_act"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path, tokenizer, fields, message) -> None:
    folder = foreign(tmp_path, tokenizer)
    change(folder, **fields)
    with pytest.raises(ModelFolderError, match=message):
        import_model(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_families_that_transformers_lacks_are_refused(make) -> None:
    with pytest.raises(InputError, match="recurrent"):
        export_model(make("recurrent"), "transformers")


def test_without_the_library_it_says_so(make, options, tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with caplog.at_level(logging.WARNING, "zhixing"):
        found = export_model(make("gpt2"), "transformers", tmp_path / "out", options)
    assert found.ok and found.parity.ok is None and "zhixing[hf]" in caplog.text
    assert "Not checked" in found.render()
    assert json.loads((tmp_path / "out" / "parity.json").read_text(encoding="utf-8"))["ok"] is None
