"""Sentences of a text in shards: where they begin and end, each distinct one once."""

import logging

import numpy as np
import pytest

from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.data.sentences import find_sentences
from zhixing.errors import DataError
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

TEXTS = [
    'The cat sat. "Did it?" she asked (again!) and left.\nA line without a mark\n\n  indented line  \n',
    "知行合一。“知是行之始！”行是知之成？是的……后来呢",
    "Version 3.14 of a.b is out! The cat sat.\nx\n",
    "naïve café – déjà vu " * 12,
]
EXPECTED = [
    "The cat sat.", '"Did it?"', "she asked (again!)", "and left.", "A line without a mark", "indented line",
    "知行合一。", "“知是行之始！”", "行是知之成？", "是的……", "后来呢", "Version 3.14 of a.b is out!",
]  # fmt: skip


@pytest.fixture(scope="module", params=["byte", "bpe"])
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "text").mkdir()
    for index, text in enumerate(TEXTS):
        (folder / "text" / f"{index}.txt").write_text(text, encoding="utf-8")
    tokenizer = (
        ByteTokenizer() if request.param == "byte" else train_tokenizer(TokenizerSettings(vocab_size=300), TEXTS)
    )
    text = TextSettings(paths=(str(folder / "text"),), validation_fraction=0.0)
    return prepare(text, tokenizer, folder / "shards").train, tokenizer


def sentences(made, shortest=2, longest=1000):
    shards, tokenizer = made
    found = find_sentences(shards, tokenizer, shortest, longest)
    return [
        tokenizer.decode(shards.tokens(int(start), int(start) + int(length)).tolist())
        for start, length in zip(found.starts, found.lengths, strict=True)
    ]


def test_sentences_end_at_marks_and_lines(made):
    found = [text.strip() for text in sentences(made)]
    assert [text for text in EXPECTED if text not in found] == []
    assert sorted(found) == sorted([*EXPECTED, TEXTS[3].strip()])  # "x" is too short; "The cat sat." stands twice


def test_long_ones_are_cut_between_characters_and_nothing_is_lost(made):
    longest = 17
    found = sentences(made, shortest=1, longest=longest)
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in found)
    lengths = find_sentences(*made, 1, longest).lengths
    assert lengths.max() <= longest and len(lengths) > len(EXPECTED) + 5
    for word in ("naïve", "déjà", "indented", "知行"):
        assert any(word in text for text in found)


def test_short_ones_are_left_out_and_counted(made, caplog):
    caplog.set_level(logging.INFO)
    assert len(sentences(made, shortest=12)) < len(sentences(made, shortest=2))
    assert "distinct sentences" in caplog.text and "shorter than 12 tokens left out" in caplog.text
    with pytest.raises(DataError, match=r"no sentence has 5000 tokens.*objective\.shortest"):
        sentences(made, shortest=5000)


def test_memory_is_twelve_bytes_a_sentence(made):
    found = find_sentences(*made, 2, 1000)
    assert found.starts.dtype == np.int64 and found.lengths.dtype == np.int32 and len(found) == len(EXPECTED) + 1
