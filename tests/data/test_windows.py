import itertools
from pathlib import Path

import numpy as np
import pytest

from zhixing.corpus.document import Document
from zhixing.data.prepare import prepare_shards
from zhixing.data.settings import isolates
from zhixing.data.shards import TokenShards
from zhixing.data.windows import TokenWindows
from zhixing.errors import DataError
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
TEXTS = ["the first document", "2nd", "a third one that is longer than a window of ids", "x", "five"]


@pytest.fixture
def shards(tmp_path: Path) -> TokenShards:
    return prepare_shards([Document(text, "test") for text in TEXTS], TOKENIZER, tmp_path)


def test_every_id_but_the_first_is_predicted_once_per_epoch(shards: TokenShards) -> None:
    windows = TokenWindows(shards, 8, seed=0)
    batch = windows.batch(0, windows.windows_per_epoch)
    assert batch.weights.sum() == shards.token_count - 1
    counted = np.sort(batch.targets[batch.weights == 1])
    assert counted.tolist() == np.sort(shards.tokens(1, shards.token_count)).tolist()


def test_in_order_the_windows_are_the_stream(shards: TokenShards) -> None:
    windows = TokenWindows(shards, 8, seed=0, shuffle=False)
    batch = windows.batch(0, windows.windows_per_epoch)
    real = batch.weights.reshape(-1) == 1
    assert batch.inputs.reshape(-1)[real].tolist() == shards.tokens(0, shards.token_count - 1).tolist()
    assert batch.documents is None
    assert batch.positions is None
    assert (batch.inputs.dtype, batch.weights.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("layout", [(1,), (2,), (5, 1, 3), (16,)])
def test_the_order_does_not_depend_on_the_batch_layout(shards: TokenShards, layout: tuple[int, ...]) -> None:
    windows = TokenWindows(shards, 8, seed=1)
    total = 5 * windows.windows_per_epoch
    together = windows.batch(0, total).inputs
    start, rows = 0, []
    for count in itertools.cycle(layout):
        count = min(count, total - start)
        rows.append(windows.batch(start, count).inputs)
        start += count
        if start == total:
            break
    assert np.array_equal(np.concatenate(rows), together)


def test_epochs_hold_the_same_windows_in_another_order(shards: TokenShards) -> None:
    windows = TokenWindows(shards, 4, seed=1)
    size = windows.windows_per_epoch
    first, second = windows.batch(0, size).inputs, windows.batch(size, size).inputs
    assert not np.array_equal(first, second)
    assert sorted(first.tolist()) == sorted(second.tolist())


def test_isolation_matches_the_recorded_boundaries(shards: TokenShards) -> None:
    windows = TokenWindows(shards, 16, seed=0, shuffle=False, isolate_documents=True)
    batch = windows.batch(0, windows.windows_per_epoch)
    assert batch.documents is not None
    assert batch.positions is not None
    for row in range(windows.windows_per_epoch):
        size = int(batch.weights[row].sum())
        owners = shards.document_index_at(np.arange(row * 16, row * 16 + size))
        assert batch.documents[row, :size].tolist() == (owners - owners[0]).tolist()
        starts = [np.flatnonzero(owners == owner)[0] for owner in owners]
        assert batch.positions[row, :size].tolist() == (np.arange(size) - starts).tolist()
    assert (batch.documents.dtype, batch.positions.dtype) == (np.int32, np.int64)


def test_no_boundary_in_the_batch_needs_no_isolation(tmp_path: Path) -> None:
    shards = prepare_shards([Document("one long document " * 4, "test")], TOKENIZER, tmp_path)
    batch = TokenWindows(shards, 100, seed=0, isolate_documents=True).batch(0, 2)
    assert batch.documents is None
    assert batch.weights.sum(axis=1).tolist() == [shards.token_count - 1] * 2


def test_the_separator_is_predicted_from_the_document_before_it(shards: TokenShards) -> None:
    batch = TokenWindows(shards, 16, seed=0, shuffle=False, isolate_documents=True).batch(1, 1)
    assert batch.documents is not None
    column = int(np.flatnonzero(batch.targets[0] == shards.separator_id)[0])
    assert batch.weights[0, column] == 1
    assert batch.documents[0, column] == 0
    assert batch.documents[0, column + 1] == 1


def test_seen_ids_are_the_batches(shards: TokenShards) -> None:
    windows = TokenWindows(shards, 8, seed=3)
    start, stop = 2, 3 * windows.windows_per_epoch
    batch = windows.batch(start, stop - start)
    for ids, inputs, targets, weights in zip(
        windows.seen_ids(start, stop), batch.inputs, batch.targets, batch.weights, strict=True
    ):
        size = int(weights.sum())
        assert ids.tolist() == [*inputs[:size], targets[size - 1]]


def test_ten_short_documents_train_and_one_token_does_not(tmp_path: Path) -> None:
    ten = prepare_shards([Document(f"row {n}", "test") for n in range(10)], TOKENIZER, tmp_path / "ten")
    batch = TokenWindows(ten, 1024, seed=0).batch(0, 8)
    assert batch.inputs.shape == (8, 1024)
    assert batch.weights.sum() == 8 * (ten.token_count - 1)
    empty = prepare_shards([], TOKENIZER, tmp_path / "empty")
    assert empty.token_count == 0
    with pytest.raises(DataError, match="too few"):
        TokenWindows(empty, 8, seed=0)


def test_auto_isolation_is_for_short_documents() -> None:
    assert isolates("auto", documents=100, tokens=1000, context_length=256)
    assert not isolates("auto", documents=10, tokens=100_000, context_length=256)
    assert isolates("yes", 1, 10**9, 8)
    assert not isolates("no", 10**9, 10**9, 8)
