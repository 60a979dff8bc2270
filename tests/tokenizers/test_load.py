"""Foreign folders: the old layout of GPT-2 with its real vocabulary."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import tokenizers

from zhixing.errors import ModelFolderError
from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.load import load_tokenizer

GPT2 = Path(__file__).parents[3] / "shared" / "data" / "tokenizers" / "gpt2"


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not GPT2.is_dir():
        pytest.skip("the vocabulary of GPT-2 is not at hand")
    folder = tmp_path_factory.mktemp("gpt2")
    shutil.copy(GPT2 / "encoder.json", folder / "vocab.json")
    shutil.copy(GPT2 / "vocab.bpe", folder / "merges.txt")
    return folder


@pytest.mark.shared_data
def test_the_real_gpt2(gpt2_folder: Path, texts: list[str], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(gpt2_folder)
    assert isinstance(tokenizer, BpeTokenizer)
    assert (tokenizer.vocab_size, tokenizer.separator_id) == (50257, 50256)
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer._fast is not None
    library = tokenizers.ByteLevelBPETokenizer.from_file(
        str(gpt2_folder / "vocab.json"), str(gpt2_folder / "merges.txt")
    )
    draw = random.Random(0)
    pieces = [tokenizer.token_bytes(index).decode("utf-8", "ignore") for index in range(50256)]
    for text in [*texts[:3], texts[-1], "".join(draw.choices(pieces, k=20_000))]:
        assert tokenizer.encode(text) == library.encode(text).ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).fingerprint == tokenizer.fingerprint


def test_the_end_of_text_may_stand_in_the_model_configuration(bpe: BpeTokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|endoftext|>", "<|fin|>"), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ModelFolderError, match="eos_token"):
        load_tokenizer(tmp_path)
    config = {"eos_token_id": [bpe.special_id("<|end|>"), 3]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_tokenizer(tmp_path).separator_id == bpe.special_id("<|end|>")


def test_a_normaliser_is_kept_and_said(bpe: BpeTokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bpe.save(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    document["normalizer"] = {"type": "NFC"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    assert "normalises" in caplog.text
    assert tokenizer.decode(tokenizer.encode("e\u0301")) == "é"


@pytest.mark.parametrize("name", ["tokenizer.model", "vocab.txt"])
def test_layouts_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelFolderError, match=name):
        load_tokenizer(tmp_path)
