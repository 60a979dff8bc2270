"""A folder of ours opens in transformers with equal ids and equal text; theirs open here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers

from zhixing.tokenizers.bpe import BpeTokenizer
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer
from zhixing.tokenizers.chat_template import ChatTemplate, load_chat_template
from zhixing.tokenizers.layout import GPT2_PATTERN
from zhixing.tokenizers.load import load_tokenizer
from zhixing.tokenizers.pieces import PieceTokenizer

transformers = pytest.importorskip("transformers")

TEXTS = [
    "def f(x):\n    return x  # 知行合一\n",
    "  two  blanks 123 don't 🙂 é\u0301\t\r\n\n",
    "它是 BPE，对吗？",
]


@pytest.mark.parametrize("family", [None, "gpt2", "llama"])
def test_ours_opens_there(tokenizer: PieceTokenizer, family: str | None, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    if family:  # the folder of a whole model: transformers then knows classes of its own for the family
        (tmp_path / "config.json").write_text(json.dumps({"model_type": family}), encoding="utf-8")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(there) == tokenizer.vocab_size
    assert there.eos_token_id == there.bos_token_id == tokenizer.separator_id
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert there(text, add_special_tokens=False)["input_ids"] == ids
        assert there(text)["input_ids"] == ids
        assert there.decode(ids) == text
        assert there.decode([tokenizer.separator_id, *ids], skip_special_tokens=True) == text


def test_saved_again_there_it_is_still_ours(tokenizer: PieceTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "ours")
    transformers.AutoTokenizer.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = load_tokenizer(tmp_path / "theirs")
    assert (type(again), again.fingerprint) == (type(tokenizer), tokenizer.fingerprint)
    assert again.separator_id == tokenizer.separator_id


def test_the_chat_template_gives_the_same_ids_there(bpe: BpeTokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    ChatTemplate(bpe).save(tmp_path)
    there = transformers.AutoTokenizer.from_pretrained(tmp_path)
    messages = [
        {"role": "system", "content": "Be brief. 简短。"},
        {"role": "user", "content": "What is  知行?\n"},
        {"role": "assistant", "content": "Knowing and doing."},
        {"role": "user", "content": "<b>more</b>"},
    ]
    ours = load_chat_template(tmp_path)
    assert ours is not None
    for asked in (True, False):
        expected = there.apply_chat_template(messages, add_generation_prompt=asked, tokenize=True)
        expected = expected["input_ids"] if not isinstance(expected, list) else expected
        assert ours.render_ids(messages, asked) == expected


def llama3_like(folder: Path, bpe: BpeTokenizer) -> None:
    """Write a folder as Llama 3's is: a split, ``ignore_merges``, other names."""
    bpe.save(folder)
    document = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    names = {"<|endoftext|>": "<|end_of_text|>", "<|system|>": "<|begin_of_text|>", "<|end|>": "<|eot_id|>"}
    vocab = document["model"]["vocab"]
    for token in document["added_tokens"]:
        del vocab[token["content"]]
        token["content"] = names.get(token["content"], token["content"])
    document["model"]["ignore_merges"] = True
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": GPT2_PATTERN}, "behavior": "Isolated", "invert": False}
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": {"__type": "AddedToken", "content": "<|begin_of_text|>"},
        "eos_token": "<|eot_id|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def test_a_llama_3_like_folder_opens_here(bpe: BpeTokenizer, tmp_path: Path, texts: list[str]) -> None:
    llama3_like(tmp_path, bpe)
    here, there = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(here, BpeTokenizer)
    assert here._fast is not None
    for text in [*TEXTS, texts[0]]:
        assert here.encode(text) == there(text, add_special_tokens=False)["input_ids"]
    assert here.separator_id == there.eos_token_id
    assert here.opening_id == there.bos_token_id
    assert here.decode(here.encode("<|eot_id|>")) == "<|eot_id|>"


def test_a_token_that_is_not_special_is_found_in_text_as_there(bpe: BpeTokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path / "ours")
    there = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    there.add_tokens(["<tool_call>"])
    there.save_pretrained(tmp_path / "theirs")
    here = load_tokenizer(tmp_path / "theirs")
    ids = here.encode("a<tool_call>b<|end|>")
    assert ids[1] == len(there) - 1
    assert here.decode(ids) == "a<tool_call>b<|end|>"
    assert not here.special_ids & set(ids)


def test_a_wordpiece_folder_runs_through_the_library(tmp_path: Path) -> None:
    words = ["[UNK]", "[CLS]", "[SEP]", "un", "##happy", "##ly", "the", "知", "行"]
    library = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(vocab={word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    library.normalizer = tokenizers.normalizers.BertNormalizer()
    library.decoder = tokenizers.decoders.WordPiece()
    library.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    library.save(str(tmp_path / "tokenizer.json"))
    here = load_tokenizer(tmp_path)
    assert here.kind == "hf"
    assert here.encode("The unhappyly 知行 [SEP] zebra")[:5] == [6, 3, 4, 5, 7]
    assert here.separator_id == 2
    assert 2 not in here.encode("[SEP]")
    assert here.decode([6, 3, 4, 5]) == "the unhappyly"
    from zhixing.tokenizers.stream import StreamDecoder

    stream = StreamDecoder(here)
    assert "".join(map(stream.push, [6, 3, 4, 5] * 40)) + stream.finish() == here.decode([6, 3, 4, 5] * 40)


def test_a_sentencepiece_like_folder_runs_through_the_library(tmp_path: Path) -> None:
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    vocab |= {"▁": 259, "a": 260, "▁a": 261}
    model = tokenizers.models.BPE(
        vocab=vocab, merges=[("▁", "a")], byte_fallback=True, unk_token="<unk>", fuse_unk=True
    )
    library = tokenizers.Tokenizer(model)
    library.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    library.decoder = tokenizers.decoders.Sequence(
        [
            tokenizers.decoders.Replace("▁", " "),
            tokenizers.decoders.ByteFallback(),
            tokenizers.decoders.Fuse(),
            tokenizers.decoders.Strip(" ", 1, 0),
        ]
    )
    library.add_special_tokens(["<unk>", "<s>", "</s>"])
    library.save(str(tmp_path / "tokenizer.json"))
    here = load_tokenizer(tmp_path)
    assert here.kind == "hf"
    text = "a a 知</s>"
    assert here.decode(here.encode(text)) == text
    assert here.separator_id == 2
    assert not here.special_ids & set(here.encode(text))
    from zhixing.tokenizers.stream import StreamDecoder

    stream = StreamDecoder(here)
    ids = here.encode("a 知行 " * 60)
    assert "".join(map(stream.push, ids)) + stream.finish() == here.decode(ids)


def test_byte_and_character_kinds_are_recognised_by_their_files(tmp_path: Path) -> None:
    for made in (ByteTokenizer(), CharacterTokenizer(["知"])):
        made.save(tmp_path)
        (tmp_path / "tokenizer_config.json").unlink()
        assert type(load_tokenizer(tmp_path)) is type(made)
