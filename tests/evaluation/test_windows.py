import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhixing.errors import DataError
from zhixing.evaluation.documents import HeldOutDocument
from zhixing.evaluation.windows import plan_windows, window_batches


@given(st.integers(2, 400), st.integers(1, 60), st.data())
def test_every_prediction_counts_once_with_enough_context(length, context, data):
    stride = data.draw(st.integers(1, context))
    seen = np.zeros(length, int)
    for number, (start, end, skip) in enumerate(plan_windows(length, context, stride)):
        assert 2 <= end - start <= context + 1
        counted = np.arange(start + 1 + skip, end)
        seen[counted] += 1
        if number:
            assert (counted - start >= context - stride).all()
    assert seen[0] == 0
    assert (seen[1:] == 1).all()


def _documents(lengths):
    return [HeldOutDocument(np.arange(n) % 7, n, str(n)) for n in lengths]


def test_batches_hold_similar_lengths_within_the_limit(cache_model):
    lengths = np.random.default_rng(0).integers(2, 90, 300)
    batches = list(window_batches(_documents(lengths), cache_model(7, 32), 0.5, batch_tokens=256))
    padded = sum(batch.ids.size for batch in batches)
    real = sum(int(batch.lengths.sum()) for batch in batches)
    assert all(batch.ids.size <= 256 for batch in batches)
    assert real / padded > 0.9
    assert sum(int(batch.counted().sum()) for batch in batches) == sum(lengths - 1)
    assert len(batches) < len(lengths) / 2


def test_model_without_limit_reads_whole_documents(cache_model):
    model = cache_model(7)
    batches = list(window_batches(_documents([5000, 3, 40]), model, batch_tokens=64))
    assert sorted(length for batch in batches for length in batch.lengths.tolist()) == [3, 40, 5000]


def test_order_bounds_the_memory_of_an_n_gram(cache_model):
    model = cache_model(7)
    model.order = 4
    batches = list(window_batches(_documents([5000]), model, batch_tokens=64))
    assert max(batch.ids.size for batch in batches) <= 65
    for batch in batches:
        later = batch.skip > 0
        assert (batch.skip[later] + 1 >= model.order - 1).all()
    assert sum(int(batch.counted().sum()) for batch in batches) == 4999


@pytest.mark.parametrize("stride", [0.0, -1.0, 1.5])
def test_stride_out_of_range_is_refused(cache_model, stride):
    with pytest.raises(DataError, match=r"stride|步幅"):
        list(window_batches(_documents([5]), cache_model(7, 4), stride))
