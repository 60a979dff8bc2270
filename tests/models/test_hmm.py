"""The hidden Markov model: agreement with theory, what Baum-Welch promises, batches, tagging, saving, damage."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from zhixing.config import load_settings
from zhixing.errors import ConfigError, DataError, ModelFolderError
from zhixing.model_folder import write_folder
from zhixing.models import hmm_passes
from zhixing.models.hmm import HmmModel, HmmSettings, count_tagged, maximise
from zhixing.models.hmm_passes import Parameters, best_paths, cut_windows, expected_counts
from zhixing.models.load import load, load_model
from zhixing.models.protocol import LanguageModel
from zhixing.models.save import companion_files, hmm_files
from zhixing.theory import hmm as theory
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
V, SEPARATOR = TOKENIZER.vocab_size, TOKENIZER.separator_id
NEVER = TOKENIZER.special_ids - {SEPARATOR}
SMALL = HmmSettings(states=8, iterations=6, tolerance=0.0, window=64)


def text_ids(lines: int = 200) -> np.ndarray:
    """Return Python source as bytes, one document per line: separator, bytes, separator, ..."""
    found = [line for line in pathlib.Path(json.__file__).read_bytes().split(b"\n") if line][:lines]
    return np.array([SEPARATOR, *(i for line in found for i in (*line, SEPARATOR))], np.int64)


def random_parameters(states: int = 4, vocab_size: int = 9, seed: int = 0) -> Parameters:
    rng = np.random.default_rng(seed)
    return Parameters(
        rng.dirichlet(np.ones(states)),
        rng.dirichlet(np.ones(states), states),
        rng.dirichlet(np.ones(vocab_size), states),
    )


def stated(parameters: Parameters) -> theory.HiddenMarkovModel:
    return theory.HiddenMarkovModel(parameters.start, parameters.transition, parameters.emission)


@pytest.fixture(scope="module")
def model() -> HmmModel:
    return HmmModel.fit([text_ids()], V, SMALL, unpredictable=NEVER)


@pytest.fixture(scope="module")
def rows() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Texts of several lengths, and the same as one padded matrix with its lengths."""
    texts = [text_ids()[a : a + n] for a, n in ((0, 30), (77, 2), (500, 17), (300, 1))]
    padded = np.full((len(texts), 30), -100)  # padding may hold anything
    for row, ids in zip(padded, texts, strict=True):
        row[: len(ids)] = ids
    return texts, padded, np.array([len(ids) for ids in texts])


# ---------------------------------------------------------------- agreement with theory


def test_counts_are_the_theorys_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, rng = random_parameters(), np.random.default_rng(1)
    texts = [rng.integers(9, size=length) for length in (20, 20, 7, 1, 33)]
    pieces = [text[a : a + 20] for text in texts for a in range(0, len(text), 20)]
    expected = theory.expected_counts(stated(parameters), pieces)
    for block in (1, 500, 1 << 20):
        monkeypatch.setattr(hmm_passes, "_BLOCK_NUMBERS", block)
        counts = expected_counts(parameters, cut_windows(texts, 20, 9))
        for found, right in zip((counts.start, counts.transition, counts.emission), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-10)
        assert counts.nats == pytest.approx(sum(theory.log_likelihood(stated(parameters), piece) for piece in pieces))


def test_best_paths_are_the_theorys(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters, ids = random_parameters(), np.random.default_rng(2).integers(9, size=(11, 40))
    for block in (1, 60, 1 << 16):
        monkeypatch.setattr(hmm_passes, "_ARRIVING_NUMBERS", block)
        found = best_paths(parameters, ids)
        for path, text in zip(found, ids, strict=True):
            np.testing.assert_array_equal(path, theory.viterbi(stated(parameters), text))


def test_probabilities_are_the_theorys(model: HmmModel) -> None:
    ids = text_ids()[200:240]
    log_probs, _ = model.next_log_probs(ids[None], model.initial_state(1))
    expected = theory.next_symbol(stated(model.parameters), ids)
    np.testing.assert_allclose(np.exp(log_probs[0]), expected, rtol=1e-5)


# ---------------------------------------------------------------- a language model


def test_is_a_language_model(model: HmmModel) -> None:
    assert isinstance(model, LanguageModel)
    assert (model.family, model.vocab_size, model.context_length, model.states) == ("hmm", V, None, 8)


def test_sums_to_one_and_never_expects_what_never_comes(model: HmmModel) -> None:
    contexts = np.random.default_rng(0).integers(0, V, (40, 6))
    log_probs, _ = model.next_log_probs(contexts, model.initial_state(40))
    np.testing.assert_allclose(np.exp(log_probs.astype(np.float64)).sum(axis=1), 1, atol=1e-6)
    possible = np.setdiff1d(np.arange(V), sorted(NEVER))
    assert np.isfinite(log_probs[:, possible]).all()
    assert np.isneginf(log_probs[:, sorted(NEVER)]).all()


def test_an_id_that_never_comes_is_read_and_scored(model: HmmModel) -> None:
    never = min(NEVER)
    ids = np.array([[SEPARATOR, 100, never, 101]])
    scores = model.score(ids)
    assert np.isneginf(scores[0, 1]) and np.isfinite(scores[0, [0, 2]]).all()


def test_score_equals_next_log_probs_one_by_one(model: HmmModel) -> None:
    ids, state = text_ids()[300:360][None], model.initial_state(1)
    scores = model.score(ids)
    for i in range(ids.shape[1] - 1):
        log_probs, state = model.next_log_probs(ids[:, i : i + 1], state)
        assert scores[0, i] == pytest.approx(log_probs[0, ids[0, i + 1]], abs=1e-5)


def test_a_later_id_changes_nothing_before_it(model: HmmModel) -> None:
    ids = text_ids()[:60].reshape(3, 20)
    changed = ids.copy()
    changed[:, 12:] = text_ids()[200:224].reshape(3, 8)
    np.testing.assert_array_equal(model.score(ids)[:, :11], model.score(changed)[:, :11])
    assert np.abs(model.score(ids)[:, 12:] - model.score(changed)[:, 12:]).max() > 0.1


def test_padded_batch_equals_rows(model: HmmModel, rows) -> None:
    texts, padded, lengths = rows
    scores, together = model.score(padded, lengths), model.next_log_probs(padded, model.initial_state(4), lengths)[0]
    paths = model.tag(padded, lengths)
    for i, ids in enumerate(texts):
        np.testing.assert_allclose(scores[i, : len(ids) - 1], model.score(ids[None])[0], rtol=1e-5)
        assert not scores[i, len(ids) - 1 :].any()
        alone, _ = model.next_log_probs(ids[None], model.initial_state(1))
        np.testing.assert_allclose(together[i], alone[0], rtol=1e-5)
        np.testing.assert_array_equal(paths[i, : len(ids)], model.tag(ids[None])[0])
        assert (paths[i, len(ids) :] == -1).all()


def test_states_are_kept_and_joined(model: HmmModel) -> None:
    ids = text_ids()[:40].reshape(4, 10)
    _, state = model.next_log_probs(ids, model.initial_state(4))
    picked = model.join_states([model.keep_rows(state, [2, 0]), model.keep_rows(state, [2])])
    more = np.array([[100], [101], [100]])
    log_probs, _ = model.next_log_probs(more, picked)
    whole = np.concatenate([ids[[2, 0, 2]], more], axis=1)
    np.testing.assert_allclose(log_probs, model.next_log_probs(whole, model.initial_state(3))[0], rtol=1e-5)
    assert not np.array_equal(log_probs[0], log_probs[1])


def test_ids_outside_the_vocabulary_are_refused(model: HmmModel) -> None:
    with pytest.raises(DataError, match="outside 0 to"):
        model.score(np.array([[1, V]]))
    with pytest.raises(DataError, match="outside 0 to"):
        HmmModel.fit([np.array([1, V])], V, SMALL)


# ---------------------------------------------------------------- learning


def test_likelihood_rises(model: HmmModel) -> None:
    assert len(model.history) == 6
    assert max(np.diff(model.history)) < 0
    longer = HmmModel.fit([text_ids()], V, SMALL.replace(iterations=40), unpredictable=NEVER)
    unigram = HmmModel.fit([text_ids()], V, SMALL.replace(states=1, iterations=2), unpredictable=NEVER)
    assert longer.history[-1] < unigram.history[-1] - 0.3


def test_the_same_seed_gives_the_same_bits(model: HmmModel) -> None:
    again = HmmModel.fit([text_ids()], V, SMALL, unpredictable=NEVER)
    other = HmmModel.fit([text_ids()], V, SMALL, seed=1, unpredictable=NEVER)
    for name, tensor in model.save_tensors().items():
        np.testing.assert_array_equal(again.save_tensors()[name], tensor)
    assert np.abs(other.parameters.emission - model.parameters.emission).max() > 0.01


def test_it_stops_where_it_gains_nothing_or_time_is_up() -> None:
    text = [text_ids(40)]
    patient = HmmModel.fit(text, V, SMALL.replace(states=1, iterations=50, tolerance=1e-6))
    assert len(patient.history) < 5
    assert HmmModel.fit(text, V, SMALL, seconds=0.0).history == ()


def test_a_long_text_is_warmed_up_on_a_sample(model: HmmModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhixing.models.hmm._SAMPLE", len(text_ids()) // 3)
    warmed = HmmModel.fit([text_ids()], V, SMALL, unpredictable=NEVER)
    assert warmed.history[0] < model.history[-1]
    assert len(warmed.history) == 6 and max(np.diff(warmed.history)) < 0
    monkeypatch.undo()
    cold = HmmModel.fit([text_ids()], V, SMALL.replace(warm_up=0), unpredictable=NEVER)
    assert cold.history == model.history


def test_it_finds_the_hidden_states_of_an_alternating_text() -> None:
    """Two states take turns, each with symbols of its own: after one the other's symbols are certain."""
    rng = np.random.default_rng(0)
    text = np.where(np.arange(2000) % 2 == 0, rng.integers(0, 3, 2000), rng.integers(3, 6, 2000))
    model = HmmModel.fit([text], 6, HmmSettings(states=2, iterations=60, tolerance=0.0), seed=3)
    log_probs, _ = model.next_log_probs(np.array([[1], [4]]), model.initial_state(2))
    np.testing.assert_allclose(np.exp(log_probs), [[0, 0, 0, 1 / 3, 1 / 3, 1 / 3], [1 / 3] * 3 + [0] * 3], atol=0.05)


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(DataError, match="no text"):
        HmmModel.fit([np.zeros(0, np.int64)], V, SMALL)
    with pytest.raises(DataError, match="never comes next"):
        HmmModel.fit([np.array([1, 2, 1])], V, SMALL, unpredictable=frozenset({2}))


def test_windows_hold_every_id_once() -> None:
    windows = cut_windows([np.arange(5), np.arange(3), np.zeros(0, np.int64)], 4, 9)
    assert windows.tolist() == [[0, 1, 2, 3], [4, 9, 9, 9], [0, 1, 2, 9]]
    assert cut_windows([np.arange(2)], 100, 9).shape == (1, 2)


# ---------------------------------------------------------------- the tagger


def test_tagged_counts_are_the_theorys() -> None:
    rng = np.random.default_rng(5)
    texts = [rng.integers(9, size=length) for length in (6, 1, 12)]
    tags = [rng.integers(4, size=len(text)) for text in texts]
    found = maximise(count_tagged(tags, texts, 4, 9), 0.1)
    right = theory.count_tagged(tags, texts, 4, 9, smoothing=0.1)
    for name in ("start", "transition", "emission"):
        np.testing.assert_allclose(getattr(found, name), getattr(right, name), rtol=1e-12)
    assert count_tagged([*tags, np.zeros(0, np.int64)], [*texts, np.zeros(0, np.int64)], 4, 9).start.sum() == 3


def test_a_tagger_uses_the_neighbours() -> None:
    """'can' is a verb after a pronoun and a noun after an article."""
    words = {"she": 0, "can": 1, "swim": 2, "the": 3, "rusts": 4}
    names = ("PRON", "VERB", "NOUN", "DET")
    texts = [np.array([words[w] for w in text.split()]) for text in ("she can swim", "the can rusts")]
    tags = [np.array([0, 1, 1]), np.array([3, 2, 1])]
    tagger = HmmModel.fit_tagged(tags, texts, 4, len(words), state_names=names)
    assert [[names[state] for state in path] for path in tagger.tag(np.array(texts))] == [
        ["PRON", "VERB", "VERB"],
        ["DET", "NOUN", "VERB"],
    ]


def test_tags_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one tag per id"):
        HmmModel.fit_tagged([np.array([0])], [np.array([1, 2])], 2, 3)
    with pytest.raises(DataError, match="the tags: id 2 is outside 0 to 1"):
        HmmModel.fit_tagged([np.array([0, 2])], [np.array([1, 2])], 2, 3)


# ---------------------------------------------------------------- the folder


def save(model: HmmModel, folder: pathlib.Path) -> None:
    write_folder(folder, hmm_files(model) | companion_files(TOKENIZER), facts={"seed": 1})


def test_a_saved_model_is_the_same_model(model: HmmModel, tmp_path: pathlib.Path, rows) -> None:
    _, padded, lengths = rows
    save(model, tmp_path / "m")
    again = load(tmp_path / "m").model
    assert isinstance(again, HmmModel) and again.history == model.history
    np.testing.assert_array_equal(again.score(padded, lengths), model.score(padded, lengths))
    named = HmmModel.fit_tagged([np.array([0, 1])], [np.array([1, 2])], 2, V, state_names=("NOUN", "VERB"))
    save(named, tmp_path / "tagger")
    assert load(tmp_path / "tagger").model.state_names == ("NOUN", "VERB")


@pytest.mark.parametrize(
    "what, change",
    [
        ("names or shapes", lambda tensors: tensors.pop("start")),
        ("names or shapes", lambda tensors: tensors.update(start=tensors["start"][1:])),
        ("float64", lambda tensors: tensors.update(start=tensors["start"].astype(np.float32))),
        ("sum to one", lambda tensors: tensors.update(emission=tensors["emission"] * 2)),
        ("above zero", lambda tensors: tensors.update(start=np.eye(8)[0])),
    ],
)
def test_a_damaged_folder_is_refused(model: HmmModel, tmp_path: pathlib.Path, what: str, change) -> None:
    save(model, tmp_path / "m")
    (tmp_path / "m" / "MANIFEST.json").unlink()  # as if another program had written it
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(ModelFolderError, match=what):
        load_model(tmp_path / "m")


def test_settings_say_what_they_take() -> None:
    with pytest.raises(ConfigError, match="more than 0"):
        load_settings(HmmSettings, None, ["smoothing=0"])
    assert load_settings(HmmSettings, None, ["states=4"]).states == 4
