from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhixing.corpus.document import Document
from zhixing.data import writer
from zhixing.data.prepare import prepare_shards
from zhixing.data.shards import TokenShards
from zhixing.errors import DataError
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
SEPARATOR = TOKENIZER.separator_id


def make(folder: Path, texts: list[str], workers: int = 2) -> TokenShards:
    return prepare_shards((Document(text, "test") for text in texts), TOKENIZER, folder, workers)


def stream(texts: list[str]) -> list[int]:
    return [i for text in texts for i in (SEPARATOR, *text.encode())] + [SEPARATOR]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 64)
    monkeypatch.setattr(writer, "BATCH_BYTES", 16)


@pytest.mark.usefixtures("small_parts")
@settings(max_examples=15, deadline=None)
@given(texts=st.lists(st.text("ab字", min_size=1, max_size=60), min_size=1, max_size=30), data=st.data())
def test_reading_back_is_exact_across_files(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], data: st.DataObject
) -> None:
    writer.PART_BYTES = 64
    shards = make(tmp_path_factory.mktemp("shards"), texts)
    whole = stream(texts)
    assert shards.token_count == len(whole)
    assert shards.document_count == len(texts)
    assert shards.text_bytes == sum(len(text.encode()) for text in texts)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert shards.tokens(start, stop).tolist() == whole[start:stop]
    assert [ids.tolist() for ids in shards.documents()] == [[SEPARATOR, *text.encode()] for text in texts]
    owners = np.cumsum(np.array(whole) == SEPARATOR) - 1
    owners[-1] -= 1
    assert shards.document_index_at(np.arange(len(whole))).tolist() == owners.tolist()


@pytest.mark.usefixtures("small_parts")
def test_more_parts_than_open_files(tmp_path: Path) -> None:
    texts = [f"document {n:04} of several words in a part of its own, it is long" for n in range(150)]
    shards = make(tmp_path, texts)
    assert len(list(tmp_path.glob("*.ids"))) == 150
    order = np.random.default_rng(0).permutation(150)
    assert [TOKENIZER.decode(shards.document(int(n))) for n in order] == [texts[n] for n in order]


@pytest.mark.usefixtures("small_parts")
def test_threads_do_not_change_the_shards(tmp_path: Path) -> None:
    texts = [f"text {n} " * (n % 7 + 1) for n in range(100)]
    assert make(tmp_path / "1", texts, 1).digest == make(tmp_path / "4", texts, 4).digest


def test_out_of_range_is_an_error(tmp_path: Path) -> None:
    shards = make(tmp_path, ["abc"])
    with pytest.raises(IndexError):
        shards.tokens(0, 6)
    with pytest.raises(IndexError):
        shards.document(1)
    with pytest.raises(IndexError):
        shards.document_index_at([5])


def test_missing_and_foreign_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished token shards"):
        TokenShards.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other", "version": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="other 1"):
        TokenShards.open(tmp_path)


def test_wide_ids_take_four_bytes(tmp_path: Path) -> None:
    class Wide(ByteTokenizer):
        @property
        def vocab_size(self) -> int:
            return 70_000

        @property
        def separator_id(self) -> int:
            return 69_999

    shards = prepare_shards([Document("ab", "t")], Wide(), tmp_path)
    assert shards.tokens(0, 4).tolist() == [69_999, 97, 98, 69_999]
    assert (tmp_path / "part-00000.ids").stat().st_size == 16
