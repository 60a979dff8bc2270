"""Files of SentencePiece: one written by hand, and, where it is installed, those of the program itself."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from zhixing.errors import ModelFolderError
from zhixing.tokenizers.hugging_face import HuggingFaceTokenizer
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.sentencepiece import read_sentencepiece
from zhixing.tokenizers.stream import StreamDecoder

UNKNOWN, CONTROL, USER, UNUSED, BYTE = 2, 3, 4, 5, 6
PIECES = [
    ("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN), ("▁", -2.0, 1), ("▁low", -3.0, 1),
    ("er", -4.0, 1), ("e", -6.0, 1), ("r", -6.0, 1), ("l", -6.0, 1), ("o", -6.0, 1), ("w", -6.0, 1), ("s", -6.0, 1),
    ("/", -6.0, 1), ("<n>", 0.0, USER), ("知行", -5.0, 1), ("知", -7.0, 1), ("low", -0.1, UNUSED),
]  # fmt: skip


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def model(pieces: list[tuple[str, float, int]], trainer: bytes = b"", normalizer: bytes = b"") -> bytes:
    rows = [data(1, data(1, text.encode()) + single(2, score) + number(3, kind)) for text, score, kind in pieces]
    return b"".join(rows) + data(2, trainer) + data(3, normalizer)


def opened(folder: Path, raw: bytes, name: str = "spiece.model", **config: Any) -> HuggingFaceTokenizer:
    (folder / name).write_bytes(raw)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    return tokenizer


def texts_of(tokenizer: HuggingFaceTokenizer, text: str) -> list[str]:
    names = {index: token for token, index in tokenizer.special_tokens.items()}
    return [names.get(i) or tokenizer.token_bytes(i).decode().replace(" ", "▁") for i in tokenizer.encode(text)]


def test_a_unigram_file_written_by_hand(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, model(PIECES))
    assert texts_of(tokenizer, "lower  low ") == ["▁low", "er", "▁low"]
    assert texts_of(tokenizer, "知行<n>知") == ["▁", "知行", "<n>", "知"]
    assert texts_of(tokenizer, "low zz low") == ["▁low", "▁", "<unk>", "▁low"]
    assert tokenizer.decode(tokenizer.encode("lower low")) == "lower low"
    assert (tokenizer.separator_id, tokenizer.special_ids) == (1, {0, 1, 2})
    ids = tokenizer.encode("lower low 知行 " * 30)
    stream = StreamDecoder(tokenizer)
    assert "".join(map(stream.push, ids)) + stream.finish() == tokenizer.decode(ids)


def test_a_control_piece_is_never_found_in_text(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, model(PIECES))
    assert texts_of(tokenizer, "low</s><pad>")[:1] == ["▁low"]
    assert not {0, 1} & set(tokenizer.encode("low</s><pad> </s>"))
    again = tmp_path / "again"
    tokenizer.save(again)  # the same through tokenizer.json
    read = load_tokenizer(again)
    assert read.encode("low</s><pad> </s> lower") == tokenizer.encode("low</s><pad> </s> lower")


def test_what_it_says_of_blanks_is_done(tmp_path: Path) -> None:
    plain = opened(tmp_path, model(PIECES, normalizer=number(3, 0) + number(4, 0)))
    assert texts_of(plain, "lo  low ") == ["l", "o", "▁", "▁low", "▁"]
    assert plain.decode(plain.encode("lo  low ")) == "lo  low "


def test_t5_has_its_sentinels_behind_the_pieces(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, model(PIECES), model_type="t5")
    assert tokenizer.vocab_size == len(PIECES) + 100
    assert tokenizer.special_id("<extra_id_0>") == len(PIECES) + 99
    assert tokenizer.special_id("<extra_id_99>") == len(PIECES)
    assert not {len(PIECES) + 99} & set(tokenizer.encode("<extra_id_0>"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_ids": 3}), encoding="utf-8")
    assert load_tokenizer(tmp_path).special_id("<extra_id_2>") == len(PIECES)


def test_xlnet_takes_accents_away_and_cuts_a_comma_off_digits(tmp_path: Path) -> None:
    pieces = [*PIECES, ("▁1", -5.0, 1), ("1", -6.0, 1), (",", -6.0, 1), ("▁1,", -4.0, 1), ('"', -6.0, 1)]
    assert texts_of(opened(tmp_path, model(pieces)), "1,") == ["▁1,"]
    tokenizer = opened(tmp_path, model(pieces), model_type="xlnet")
    assert texts_of(tokenizer, "1, ``é''") == ["▁1", ",", "▁", '"', "e", '"']


def test_tokens_that_the_configuration_adds(tmp_path: Path) -> None:
    decoder = {
        "1": {"content": "</s>", "special": True},
        str(len(PIECES)): {"content": "<call>", "special": False},
        str(len(PIECES) + 1): {"content": "<end>", "special": True},
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}), encoding="utf-8")
    tokenizer = opened(tmp_path, model(PIECES), "tokenizer.model")
    assert tokenizer.special_id("<end>") == len(PIECES) + 1
    assert len(PIECES) in tokenizer.encode("low<call>low<end>")
    assert len(PIECES) + 1 not in tokenizer.encode("low<call>low<end>")


def test_byte_pair_encoding_with_bytes_to_fall_back_on(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    pieces += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    joined = ["▁a", "ab", "▁ab"]
    pieces += [(text, -float(rank), 1) for rank, text in enumerate([*joined, "▁", "a", "b", "s", "<", ">"])]
    raw = model(pieces, trainer=number(3, 2) + number(35, 1), normalizer=number(4, 0))
    tokenizer = opened(tmp_path, raw, "tokenizer.model", model_type="llama")
    assert texts_of(tokenizer, "ab bab") == ["▁ab", "▁", "b", "ab"]
    for text in ("ab 知\x00🙂", "  a<s></s>", "<0x41>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
        assert not tokenizer.special_ids & set(tokenizer.encode(text))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "0 pieces"),
        (b"not a model", "damaged"),
        (model(PIECES)[:50], "damaged"),
        (model([*PIECES, ("er", 0.0, 1)]), "stands twice"),
        (model([*PIECES, ("x", float("nan"), 1)]), "no number"),
        (model([row for row in PIECES if row[2] != UNKNOWN]), "unknown piece"),
        (model(PIECES, trainer=number(3, 3)), "whole words"),
        (model(PIECES, trainer=number(24, 1)), "blanks as endings"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, raw: bytes, reason: str) -> None:
    (tmp_path / "spiece.model").write_bytes(raw)
    with pytest.raises(ModelFolderError, match=reason) as error:
        load_tokenizer(tmp_path)
    assert "spiece.model" in str(error.value)


HOSTILE = [
    "def f(x):\n    return x  # 知行合一\n", "  two  blanks 123 don't 🙂 é\u0301\t\r\n\n", "它是 BPE，对吗？", "ﬁ ½ Å",
    "</s><pad> <unk> <s>", "<0x41>", "▁ ▁▁x", "", " ", "a" * 300,
]  # fmt: skip


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("rule", ["nmt_nfkc", "identity"])
@pytest.mark.parametrize("fallback", [False, True])
def test_the_ids_are_those_of_the_program(
    kind: str, rule: str, fallback: bool, texts: list[str], tmp_path: Path
) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("\n".join(texts)[:300_000] + texts[-1], encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "spiece"), vocab_size=900, model_type=kind,
        byte_fallback=fallback, normalization_rule_name=rule, remove_extra_whitespaces=rule != "identity",
        user_defined_symbols=["<n>", "é"] if fallback else [], minloglevel=2, num_threads=1,
        max_sentence_length=100_000, character_coverage=0.9995,
    )  # fmt: skip
    there = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    here = load_tokenizer(tmp_path)
    assert here.vocab_size == there.vocab_size()
    for text in [*HOSTILE, *(line for line in texts[3].split("\n")[:300])]:
        assert here.encode(text) == there.encode(text), text
        if fallback and rule == "identity" and "▁" not in text:
            assert here.decode(here.encode(text)) == text


def test_a_file_alone_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(model(PIECES, trainer=number(35, 1)))
    found = read_sentencepiece(tmp_path / "x.model")
    assert (len(found.pieces), found.unknown, found.byte_fallback) == (len(PIECES), "<unk>", True)


@pytest.mark.parametrize("family", ["t5", "xlnet"])
def test_a_published_folder_opens_whole(family: str, tmp_path: Path) -> None:
    """As T5 and XLNet were published: configuration, weights, and a file of SentencePiece."""
    transformers = pytest.importorskip("transformers")
    from zhixing.models.load import load

    sizes = {"d_model": 16, "num_heads": 2, "num_layers": 1, "d_ff": 16, "d_kv": 8}
    if family == "t5":
        config = transformers.T5Config(vocab_size=len(PIECES) + 111, **sizes)
        model_ = transformers.T5ForConditionalGeneration(config)
    else:
        config = transformers.XLNetConfig(vocab_size=len(PIECES), d_model=16, n_layer=1, n_head=2, d_inner=16)
        model_ = transformers.XLNetLMHeadModel(config)
    model_.save_pretrained(tmp_path)
    (tmp_path / "spiece.model").write_bytes(model(PIECES))
    loaded = load(tmp_path)
    assert loaded.model.family == family
    assert loaded.tokenizer.kind == "hf"
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("lower low")) == "lower low"
    assert (loaded.tokenizer.special_id("<extra_id_0>") is not None) == (family == "t5")
