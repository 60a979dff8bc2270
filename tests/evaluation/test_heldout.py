import json as source
from pathlib import Path

import pytest

from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.errors import DataError
from zhixing.evaluation.documents import half_of, text_digest
from zhixing.evaluation.heldout import (
    HeldOutFiles,
    HeldOutShards,
    HeldOutTexts,
    digest_of,
    open_shards,
    refuse_leaks,
    tokens_known,
)
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer

TEXTS = [f"第{n}篇: {'spam ' * (n % 7)}egg\n" for n in range(200)]


@pytest.fixture
def folder(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(source.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return rows


@pytest.fixture
def prepared(folder, tmp_path):
    settings = TextSettings(paths=(str(folder),), validation_fraction=0.3)
    return prepare(settings, ByteTokenizer(), tmp_path / "shards")


def test_files_and_shards_give_the_same_documents(folder, prepared, tmp_path):
    files = HeldOutFiles(TextSettings(paths=(str(folder),)))
    shards = open_shards(tmp_path / "shards", [ByteTokenizer()])
    assert list(files.texts()) == TEXTS
    held_out = list(shards.texts())
    assert 20 < len(held_out) < 110
    assert set(held_out) < set(TEXTS)
    by_digest = {d.digest: d for d in files.documents(ByteTokenizer())}
    for document in shards.documents(ByteTokenizer()):
        twin = by_digest[document.digest]
        assert document.text_bytes == twin.text_bytes
        assert document.ids.tolist() == twin.ids.tolist()
    assert sum(d.text_bytes for d in shards.documents(ByteTokenizer())) == prepared.validation.text_bytes


def test_the_total_is_known_where_nothing_must_be_read(prepared, tmp_path):
    shards = open_shards(tmp_path / "shards", [ByteTokenizer()])
    counted = sum(len(document.ids) - 1 for document in shards.documents(ByteTokenizer()))
    assert tokens_known(shards, ByteTokenizer()) == counted
    assert tokens_known(shards, CharacterTokenizer.train(TEXTS, 400)) is None
    half = open_shards(tmp_path / "shards", [ByteTokenizer()], "report")
    assert tokens_known(half, ByteTokenizer()) is None and tokens_known(HeldOutTexts(TEXTS), ByteTokenizer()) is None


def test_another_tokenizer_reads_the_same_texts_in_the_same_order(prepared, tmp_path):
    characters = CharacterTokenizer.train(TEXTS, 400)
    shards = open_shards(tmp_path / "shards", [characters, ByteTokenizer()])
    ours, theirs = shards.documents(characters), shards.documents(ByteTokenizer())
    for a, b in zip(ours, theirs, strict=True):
        assert (a.digest, a.text_bytes) == (b.digest, b.text_bytes)
        assert len(a.ids) < len(b.ids)


@pytest.mark.parametrize("kind", ["files", "shards"])
def test_halves_share_nothing_and_miss_nothing(kind, folder, prepared, tmp_path):
    def held_out(part):
        if kind == "shards":
            return HeldOutShards(prepared.validation, ByteTokenizer(), part)
        return HeldOutFiles(TextSettings(paths=(str(folder),)), part)

    fit, report, everything = (list(held_out(part).texts()) for part in ("fit", "report", "all"))
    assert sorted(fit + report) == sorted(everything)
    assert fit and report
    assert all(half_of(text_digest(text)) == "fit" for text in fit)
    assert [d.digest for d in held_out("fit").documents(ByteTokenizer())] == [text_digest(t) for t in fit]


def test_shards_of_an_unknown_tokenizer_are_refused(prepared, tmp_path):
    with pytest.raises(DataError, match=r"--text"):
        open_shards(tmp_path / "shards", [CharacterTokenizer.train(TEXTS, 400)])


def test_a_document_of_the_training_text_is_refused_by_number(folder, prepared, tmp_path):
    clean = open_shards(tmp_path / "shards", [ByteTokenizer()])
    refuse_leaks(clean, prepared.train, ByteTokenizer())
    leaking = HeldOutFiles(TextSettings(paths=(str(folder),)))
    count = prepared.train.document_count
    with pytest.raises(DataError, match=f"{count} held-out|有 {count} "):
        refuse_leaks(leaking, prepared.train, ByteTokenizer())
    with pytest.raises(DataError, match=r"another tokenizer|另一个分词器"):
        refuse_leaks(clean, prepared.train, CharacterTokenizer.train(TEXTS, 400))


def test_digest_depends_on_every_document_and_the_order():
    documents = [d.digest for d in HeldOutTexts(TEXTS[:5]).documents(ByteTokenizer())]
    assert digest_of(documents) == digest_of(list(documents))
    assert len({digest_of(documents), digest_of(documents[::-1]), digest_of(documents[:4])}) == 3


def test_a_missing_folder_says_what_to_do():
    with pytest.raises(DataError, match=r"zhixing data prepare"):
        open_shards(Path("nowhere"), [ByteTokenizer()])
