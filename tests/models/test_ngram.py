"""The n-gram model: sums, batches, states, separators, tiny corpora, saving, damage; KenLM is the oracle."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from zhixing.errors import DataError, ModelFolderError
from zhixing.models import ngram_counts
from zhixing.models.interop.arpa import to_arpa
from zhixing.models.ngram import NgramModel, NgramSettings
from zhixing.models.ngram_tables import HashIndex, sort_order
from zhixing.models.protocol import LanguageModel

SEPARATOR = 256


def text_ids(documents: int = 200) -> np.ndarray:
    """Return Python source as bytes, one document per line: separator, bytes, separator, ..."""
    lines = [line for line in pathlib.Path(json.__file__).read_bytes().split(b"\n") if line][:documents]
    ids = [SEPARATOR]
    for line in lines:
        ids += [*line, SEPARATOR]
    return np.array(ids, np.uint16)


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return NgramModel.fit(text_ids(), 257, SEPARATOR, 5)


def test_is_a_language_model(model: NgramModel) -> None:
    assert isinstance(model, LanguageModel)
    assert (model.family, model.vocab_size, model.context_length, model.order) == ("ngram", 257, None, 5)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("documents", [0, 1, 10, 200])
def test_sums_to_one_in_every_context(order: int, documents: int) -> None:
    model = NgramModel.fit(text_ids(documents), 257, SEPARATOR, order)
    rng = np.random.default_rng(0)
    seen = text_ids(200)[:600].reshape(-1, 6)
    contexts = np.concatenate([seen, rng.integers(0, 257, (50, 6)), np.full((1, 6), SEPARATOR)]).astype(np.int64)
    log_probs, _ = model.next_log_probs(contexts, model.initial_state(len(contexts)))
    assert np.isfinite(log_probs).all()
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(1), 1, atol=1e-6)


def test_score_equals_next_log_probs_one_by_one(model: NgramModel) -> None:
    ids = text_ids()[300:420].astype(np.int64)[None]
    scores, orders = model.score_with_order(ids)
    state = model.initial_state(1)
    for i in range(ids.shape[1] - 1):
        log_probs, matched, state = model.next_with_order(ids[:, i : i + 1], state)
        assert scores[0, i] == pytest.approx(log_probs[0, ids[0, i + 1]], abs=1e-5)
        assert orders[0, i] == matched[0]
    assert orders.max() == 4


def test_padded_batch_equals_rows(model: NgramModel) -> None:
    rows = [text_ids()[a : a + n].astype(np.int64) for a, n in ((0, 30), (77, 2), (500, 17))]
    lengths = np.array([len(row) for row in rows])
    batch = np.full((3, 30), -100)  # padding may hold anything
    for row, ids in zip(batch, rows, strict=True):
        row[: len(ids)] = ids
    scores, orders = model.score_with_order(batch, lengths)
    for i, ids in enumerate(rows):
        alone, alone_orders = model.score_with_order(ids[None])
        np.testing.assert_array_equal(scores[i, : len(ids) - 1], alone[0])
        np.testing.assert_array_equal(orders[i, : len(ids) - 1], alone_orders[0])
        assert not scores[i, len(ids) - 1 :].any()
    together, _ = model.next_log_probs(batch, model.initial_state(3), lengths)
    for i, ids in enumerate(rows):
        np.testing.assert_array_equal(together[i], model.next_log_probs(ids[None], model.initial_state(1))[0][0])


def test_states_are_kept_and_joined(model: NgramModel) -> None:
    ids = text_ids()[:40].astype(np.int64).reshape(4, 10)
    _, state = model.next_log_probs(ids, model.initial_state(4))
    picked = model.join_states([model.keep_rows(state, [2, 0]), model.keep_rows(state, [2])])
    more = np.array([[100], [101], [100]])
    log_probs, _ = model.next_log_probs(more, picked)
    whole = np.concatenate([ids[[2, 0, 2]], more], axis=1)
    np.testing.assert_array_equal(log_probs, model.next_log_probs(whole, model.initial_state(3))[0])
    assert not np.array_equal(log_probs[0], log_probs[1])


def test_blocks_and_threads_change_nothing(model: NgramModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = text_ids().astype(np.int64)[None]
    whole = model.score(ids)
    monkeypatch.setattr("zhixing.models.ngram._SCORE_BLOCK", 50)
    monkeypatch.setattr(ngram_counts, "BLOCK", 64)
    np.testing.assert_array_equal(model.score(ids), whole)
    again = NgramModel.fit(text_ids(), 257, SEPARATOR, 5)
    for name, tensor in model.save_tensors().items():
        np.testing.assert_array_equal(again.save_tensors()[name], tensor)


def test_context_stops_at_the_separator(model: NgramModel) -> None:
    after = np.array([[ord("a"), ord("b"), SEPARATOR], [ord("x"), ord("y"), SEPARATOR]])
    log_probs, orders, _ = model.next_with_order(after, model.initial_state(2))
    np.testing.assert_array_equal(log_probs[0], log_probs[1])
    assert orders.tolist() == [1, 1]


def test_memory_map_is_one_sequence(tmp_path: pathlib.Path, model: NgramModel) -> None:
    text_ids().tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", np.uint16, "r")
    stream = ngram_counts.join_sequences(mapped, 257, SEPARATOR)
    assert np.shares_memory(stream.ids, mapped)
    again = NgramModel.fit(mapped, 257, SEPARATOR, 5)
    np.testing.assert_array_equal(again.tables[3].probs, model.tables[3].probs)
    parts = [text_ids().astype(np.int64), np.array([SEPARATOR]), np.array([], np.int32)]
    np.testing.assert_array_equal(NgramModel.fit(iter(parts), 257, SEPARATOR, 5).unigram, model.unigram)


def test_unpredictable_ids_get_nothing() -> None:
    model = NgramModel.fit(text_ids(), 260, SEPARATOR, 3, frozenset({257, 259}))
    log_probs, _ = model.next_log_probs(np.array([[SEPARATOR, 257]]), model.initial_state(1))
    assert np.isneginf(log_probs[0, [257, 259]]).all() and np.isfinite(log_probs[0, 258])
    assert np.exp(log_probs.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(DataError, match="101"):
        NgramModel.fit(text_ids(), 260, SEPARATOR, 3, frozenset({101}))


@pytest.mark.parametrize("bad", [np.array([0, 300]), np.array([0, -1]), np.array([0.0, 1.0])])
def test_wrong_ids_are_refused(bad: np.ndarray, model: NgramModel) -> None:
    with pytest.raises(DataError):
        NgramModel.fit([bad], 257, SEPARATOR, 2)
    with pytest.raises(DataError):
        model.score(bad[None])
    with pytest.raises(DataError):
        model.next_log_probs(bad[None], model.initial_state(1))


@pytest.mark.parametrize("order", [0, 11])
def test_order_is_limited(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        NgramSettings(order=order)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_saved_and_restored(order: int) -> None:
    model = NgramModel.fit(text_ids(), 257, SEPARATOR, order)
    config = json.loads(json.dumps(model.config()))
    again = NgramModel.from_tensors(config, model.save_tensors())
    ids = text_ids()[None].astype(np.int64)
    np.testing.assert_array_equal(again.score(ids), model.score(ids))
    assert again.config() == config


def damage(tensors: dict[str, Any], name: str, place: int, value: float) -> None:
    tensors[name] = tensors[name].copy()
    tensors[name][place] = value


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("2.probs", 3, np.nan),
        ("3.probs", 0, 1.5),
        ("3.probs", 0, 0.0),
        ("1.probs", 101, 0.9),
        ("2.backoffs", 1, -0.5),
        ("3.words", 4, 257),
        ("3.words", 1, 0),
        ("2.starts", 40, 60_000),
        ("2.starts", 0, 1),
    ],
)
def test_damaged_tables_are_refused(name: str, place: int, value: float, model: NgramModel) -> None:
    tensors = model.save_tensors()
    if (name, place) == ("3.words", 1):
        starts = tensors["3.starts"]
        place = int(starts[np.flatnonzero(np.diff(starts.astype(np.int64)) > 1)[0]]) + 1
    damage(tensors, name, place, value)
    with pytest.raises(ModelFolderError, match=name):
        NgramModel.from_tensors(model.config(), tensors)


def test_missing_parts_are_refused(model: NgramModel) -> None:
    tensors = model.save_tensors()
    del tensors["4.words"]
    with pytest.raises(ModelFolderError, match=r"4\.words"):
        NgramModel.from_tensors(model.config(), tensors)
    with pytest.raises(ModelFolderError, match="vocab_size"):
        NgramModel.from_tensors({**model.config(), "vocab_size": "many"}, model.save_tensors())
    with pytest.raises(ModelFolderError, match=r"1\.\*"):
        NgramModel.from_tensors({**model.config(), "vocab_size": 300}, model.save_tensors())


def test_discounts_fall_back_in_two_steps() -> None:
    plenty = np.repeat([1, 2, 3, 4], [100, 40, 20, 10])
    assert ngram_counts.modified_discounts(plenty) == pytest.approx(
        (1 - 2 * (100 / 180) * 0.4, 2 - 3 * (100 / 180) * 0.5, 3 - 4 * (100 / 180) * 0.5)
    )
    assert ngram_counts.modified_discounts(np.array([1, 1, 2])) == (0.5, 0.5, 0.5)
    rising = np.repeat([1, 2, 3, 4], [1, 1, 100, 1])  # D2 would be negative
    assert ngram_counts.modified_discounts(rising) == pytest.approx((1 / 3,) * 3)
    assert ngram_counts.modified_discounts(np.array([7, 7])) == (0.5, 1.0, 1.5)


def test_small_corpus_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        NgramModel.fit(text_ids(2), 257, SEPARATOR, 4)
    assert any("4" in record.getMessage() for record in caplog.records)


def test_hash_index_finds_all_and_only_what_is_there() -> None:
    rng = np.random.default_rng(0)
    keys = np.unique(rng.integers(0, 50 * 1000, 20_000))
    starts = np.searchsorted(keys, np.arange(51) * 1000)
    probs = rng.random(len(keys), dtype=np.float32)
    index = HashIndex(starts, keys % 1000, probs, 1000)
    nodes, found = index.find(np.arange(50_000))
    expected = np.full(50_000, -1)
    expected[keys] = np.arange(len(keys))
    np.testing.assert_array_equal(nodes, expected)
    np.testing.assert_array_equal(found[keys], probs)


def test_sort_order_is_a_stable_argsort() -> None:
    rng = np.random.default_rng(0)
    for high in (5, 1 << 40, 1 << 62):
        keys = rng.integers(0, high, 1000)
        np.testing.assert_array_equal(sort_order(keys), np.argsort(keys, kind="stable"))


def test_arpa_gives_kenlm_the_same_probabilities(tmp_path: pathlib.Path, model: NgramModel) -> None:
    kenlm = pytest.importorskip("kenlm")
    names = [f"b{i}" for i in range(257)]
    to_arpa(model, tmp_path / "model.arpa", names)
    oracle = kenlm.Model(str(tmp_path / "model.arpa"))
    held_out = [line for line in pathlib.Path(json.decoder.__file__).read_bytes().split(b"\n") if line][:50]
    for line in held_out:
        ids = np.array([[SEPARATOR, *line, SEPARATOR]])
        theirs = [score for score, _, _ in oracle.full_scores(" ".join(f"b{i}" for i in line))]
        np.testing.assert_allclose(model.score(ids)[0] / np.log(10), theirs, atol=1e-4)


def test_arpa_names_are_checked(tmp_path: pathlib.Path, model: NgramModel) -> None:
    for names in (["a"] * 257, [f"{i} x" for i in range(257)], [str(i) for i in range(256)]):
        with pytest.raises(DataError):
            to_arpa(model, tmp_path / "model.arpa", names)


def test_no_context_reaches_into_the_row_before():
    text = np.random.default_rng(3).choice([1, 2, 3, 0], size=400)
    model = NgramModel.fit([text], vocab_size=9, separator_id=0, order=5)
    rows = np.random.default_rng(4).integers(1, 9, (6, 7))
    alone = np.concatenate([model.score(row[None]) for row in rows])
    np.testing.assert_array_equal(model.score(rows), alone)


def test_an_order_that_lies_is_refused_at_once(model: NgramModel) -> None:
    with pytest.raises(ModelFolderError, match="order is 1000000000, more than there are tensors"):
        NgramModel.from_tensors({**model.config(), "order": 10**9}, model.save_tensors())
