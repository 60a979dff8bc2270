"""The permutation objective: its orders, its loss, and what a small XLNet learns by it, through every verb."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import zhixing
from zhixing.config import load_settings
from zhixing.data.windows import Batch
from zhixing.errors import ConfigError
from zhixing.generation.generate import generate
from zhixing.generation.settings import GenerationSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.load import load
from zhixing.models.xlnet import XLNetSettings
from zhixing.nn.relative_attention import two_stream_masks
from zhixing.pretraining.causal import CausalLM, DecoderWithLoss
from zhixing.pretraining.masked import MaskedSettings
from zhixing.pretraining.objectives import resolve
from zhixing.pretraining.permutation import (
    PermutationLM,
    PermutationSettings,
    PermutationWindows,
    StreamsWithLoss,
    choose_spans,
)
from zhixing.pretraining.recipe import Recipe
from zhixing.theory import relative_attention as theory
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
SEPARATOR = TOKENIZER.separator_id
LENGTH, EPOCH = 40, 50
SETTINGS = XLNetSettings(vocab_size=TOKENIZER.vocab_size, context_length=LENGTH, layers=2, width=16, heads=2)


class Windows:
    """Fifty windows of a text of letters, over and over, one of them short; a separator in each opens a document."""

    def __init__(self, isolate=False) -> None:
        self.ids = np.random.default_rng(0).integers(97, 123, (EPOCH, LENGTH + 1))
        self.ids[:, 5] = self.ids[3, LENGTH] = SEPARATOR
        self.isolate = isolate

    def batch(self, start: int, count: int) -> Batch:
        places = np.arange(start, start + count) % EPOCH
        weights = np.ones((count, LENGTH), np.float32)
        weights[places == 7, 30:] = 0
        documents = positions = None
        if self.isolate:
            documents = np.repeat((np.arange(LENGTH) >= 5)[None], count, 0).astype(np.int32)
            positions = np.arange(LENGTH) - 5 * documents
        return Batch(self.ids[places, :-1], self.ids[places, 1:], weights, documents, positions)


def windows(seed=0, isolate=False, **fields) -> PermutationWindows:
    return PermutationWindows(Windows(isolate), PermutationSettings(**fields), TOKENIZER, seed)


def network(**fields):
    """Random, with opinions."""
    torch.manual_seed(0)
    module = build_decoder(SETTINGS.replace(**fields))
    with torch.no_grad():
        for name, weights in module.named_parameters():
            weights.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.3)
    return module.eval()


# ---------------------------------------------------------------- orders


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_orders_are_a_pure_function_of_seed_and_position(share):
    first, again = windows(left_to_right=share), windows(left_to_right=share)
    whole = first.batch(0, 60)
    again.batch(17, 3)  # what was asked before does not matter
    for start, count in ((0, 4), (31, 9), (59, 1)):
        part = again.batch(start, count)
        for name in ("inputs", "ranks", "places", "place_ranks", "targets", "weights"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start : start + count])
    assert (whole.ranks[0] != whole.ranks[50]).any()  # another reading, another order
    assert (windows(seed=1).batch(0, 4).places != windows().batch(0, 4).places).any()


def test_the_last_of_each_order_is_predicted_at_its_own_place():
    found = windows().batch(0, 50)
    for row in range(50):
        real = 30 if row == 7 else LENGTH
        asked = found.places[row][found.weights[row] > 0]
        assert len(set(asked.tolist())) == len(asked) == real // 6
        assert 5 not in asked and (asked < real).all()  # no special token, no padding
        np.testing.assert_array_equal(found.targets[row][: len(asked)], found.inputs[row, asked])
        np.testing.assert_array_equal(found.ranks[row, asked], np.arange(1, len(asked) + 1))
        np.testing.assert_array_equal(found.place_ranks[row][: len(asked)], found.ranks[row, asked])
        given = np.setdiff1d(np.arange(real), asked)
        assert (found.ranks[row, given] == 0).all() and (found.ranks[row, real:] > LENGTH).all()
    order = np.concatenate([given, asked])[None]
    np.testing.assert_array_equal(theory.given_rank(order, len(asked))[0], found.ranks[49])


def test_every_place_is_predicted_as_often_as_any_other():
    found = windows(one_in=4).batch(0, 2000)
    often = np.bincount(found.places[found.weights > 0], minlength=LENGTH)
    assert often[5] == 0
    rest = np.delete(often, [5, *range(30, LENGTH)])  # the short window lacks the last
    assert 0.8 * rest.mean() < rest.min() and rest.max() < 1.2 * rest.mean()


def test_spans_are_neighbours():
    draw = np.random.default_rng(0)
    candidates = np.arange(100)
    alone, spans = (
        np.mean([np.diff(choose_spans(candidates, 20, longest, draw)).tolist().count(1) for _ in range(200)])
        for longest in (1, 5)
    )
    assert alone < 6 and spans > 11
    for longest in (1, 3, 50):
        chosen = choose_spans(candidates, 20, longest, draw)
        assert len(chosen) == 20 and (np.diff(chosen) > 0).all()
    assert choose_spans(candidates[:3], 3, 5, draw).tolist() == [0, 1, 2]


def test_a_window_of_separators_only_asks_nothing():
    source = windows()
    source._windows.ids[:] = SEPARATOR
    found = source.batch(0, 3)
    assert found.weights.sum() == 0
    total = PermutationLM("cpu").loss(StreamsWithLoss(network()), found)
    assert float(total.total.detach()) == 0 and total.metrics["predicted_accuracy"] == 0


def test_a_share_is_read_from_left_to_right_to_the_end():
    found = windows(left_to_right=0.3).batch(0, 400)
    causal = found.ranks[:, 1] == 1
    causal &= found.ranks[:, 2] == 2
    assert 0.2 < causal.mean() < 0.4
    assert found.weights[causal].sum(axis=1).min() == 30  # the short one: up to the id behind its last input
    row = int(np.flatnonzero(causal)[0])
    np.testing.assert_array_equal(found.places[row], np.arange(1, LENGTH + 1))
    np.testing.assert_array_equal(found.targets[row], Windows().ids[row % EPOCH, 1:])


# ---------------------------------------------------------------- loss and visibility


@pytest.mark.parametrize("isolate", [False, True])
def test_from_left_to_right_it_is_the_causal_loss(isolate):
    module, source = network(), Windows(isolate)
    found = PermutationWindows(source, PermutationSettings(left_to_right=1.0), TOKENIZER, 0).batch(0, 9)
    plain = source.batch(0, 9)
    ours = PermutationLM("cpu").loss(StreamsWithLoss(module), found).total
    theirs = CausalLM("cpu").loss(DecoderWithLoss(module), plain).total
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert PermutationLM("cpu").weight(found) == CausalLM("cpu").weight(plain)


def test_the_loss_is_the_mean_surprise_of_the_predicted():
    """And accuracy counts those named right; computed by hand from the logits of the network."""
    module, found = network(), windows(left_to_right=0.5).batch(4, 6)  # the short window is among them
    result = PermutationLM("cpu").loss(StreamsWithLoss(module), found)
    total, right = 0.0, 0
    for row in range(6):
        part = windows(left_to_right=0.5).batch(4 + row, 1)
        content = theory.content_mask(part.ranks)[:, None]
        query = theory.query_mask(part.ranks, part.place_ranks)[:, None]
        hidden = module.predict(*map(torch.from_numpy, (part.inputs, part.places, content, query)))
        says = torch.log_softmax(hidden @ module.head_weight.T, -1).detach().numpy()[0]
        for place in np.flatnonzero(part.weights[0]):
            total -= says[place, part.targets[0, place]]
            right += says[place].argmax() == part.targets[0, place]
    assert float(result.total.detach()) == pytest.approx(total, rel=1e-5)
    assert result.metrics["predicted_accuracy"] == pytest.approx(right / found.weights.sum())


@pytest.mark.parametrize("isolate", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_is_shown_is_what_the_network_sees(share, isolate):
    """Changing an id changes the answer exactly where it is shown to be visible; nobody sees the answer to itself.

    Visibility passes on: what sees a place that sees the id depends on it too, so the network has one block here.
    """
    module, source = network(layers=1), windows(isolate=isolate, left_to_right=share, one_in=3)
    for row in (0, 2, 7):
        batch = source.batch(row, 1)
        (part,) = source.shown(batch, 0)
        asked = np.flatnonzero(part.targets >= 0)
        assert not part.visible[asked, asked].any()
        if isolate and not share:
            assert not part.visible[6:LENGTH, :5].any() and not part.visible[:5, 6:].any()
        places = batch.places[0][batch.weights[0] > 0]

        def answers(ids, batch=batch):
            given = (ids, batch.ranks, batch.places, batch.place_ranks, batch.documents, batch.place_documents)
            given = [None if each is None else torch.from_numpy(each) for each in given]
            content, query = two_stream_masks(given[1], *given[3:])
            with torch.no_grad():
                return module.predict(given[0], given[2], content, query)[0]

        before = answers(batch.inputs)
        for place in range(LENGTH):
            changed = batch.inputs.copy()
            changed[0, place] = 97 + (changed[0, place] - 96) % 26
            moved = (answers(changed) - before).abs().amax(-1).numpy()[: len(places)] > 1e-7
            np.testing.assert_array_equal(moved, part.visible[places, place])


def test_what_is_shown_has_the_arrays_of_the_batch():
    source = windows(isolate=True)
    batch = source.batch(1, 2)
    (part,) = source.shown(batch, 1)
    np.testing.assert_array_equal(part.ids, batch.inputs[1])
    np.testing.assert_array_equal(part.targets[batch.places[1]], batch.targets[1])
    assert part.weights.sum() == batch.weights[1].sum() and (part.weights > 0).sum() == (part.targets >= 0).sum()
    np.testing.assert_array_equal(part.documents, batch.documents[1])
    np.testing.assert_array_equal(part.positions, batch.positions[1])
    (causal,) = windows(left_to_right=1.0).shown(windows(left_to_right=1.0).batch(0, 1), 0)
    np.testing.assert_array_equal(causal.ids, Windows().ids[0])
    np.testing.assert_array_equal(causal.targets[1:], Windows().ids[0, 1:])
    np.testing.assert_array_equal(causal.visible, np.tril(np.ones((LENGTH + 1, LENGTH + 1), bool), -1) | first(LENGTH))


def first(length):
    """The first place is not predicted, so what is shown of it is its content, which knows itself."""
    seen = np.zeros((length + 1, length + 1), bool)
    seen[0, 0] = True
    return seen


# ---------------------------------------------------------------- settings


def test_which_families_learn_by_it():
    assert resolve(Recipe().objective, "xlnet") == PermutationSettings()
    assert resolve(PermutationSettings(one_in=3), "xlnet").one_in == 3
    with pytest.raises(ValueError, match="use auto or causal"):
        resolve(PermutationSettings(), "llama")
    with pytest.raises(ValueError, match="use auto or permutation, causal"):
        resolve(MaskedSettings(), "xlnet")


def test_a_model_that_never_looks_right_learns_causally():
    with pytest.raises(ConfigError, match=r"objective\.kind: causal"):
        load_settings(Recipe, "recipes/tiny-xlnet.yaml", ["model.attention=uni"])
    causal = ["model.attention=uni", "objective={kind: causal}"]
    assert load_settings(Recipe, "recipes/tiny-xlnet.yaml", causal).objective.kind == "causal"


# ---------------------------------------------------------------- a small run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences in which every word is told by those around it, and half of the words by those before."""
    folder = tmp_path_factory.mktemp("permutation_text")
    draw = np.random.default_rng(0)
    animals = {"cat": "purrs", "dog": "barks", "cow": "moos", "owl": "hoots", "duck": "quacks", "lion": "roars"}
    for index in range(30):
        names = draw.choice(list(animals), 25)
        words = " ".join(f"the {name} {animals[name]} and the {name} sleeps ." for name in names)
        (folder / f"{index:02}.txt").write_text(words + "\n", encoding="utf-8")
    return folder


RUN = ["training.steps=110", "training.batch_windows=8", "training.validate_every=55", "training.log_every=25"]


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("permutation_run") / "xlnet"
    zhixing.train("recipes/tiny-xlnet.yaml", out, overrides=[f"text.paths=[{text}]", *RUN], announce=False)
    return out


def test_the_log_says_how_many_were_named_right(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    training = [record["predicted_accuracy"] for record in records if "loss" in record]
    held_out = [record for record in records if "validation_loss" in record]
    assert training[0] < 0.4 < 0.6 < training[-1]
    assert held_out[-1]["validation_predicted_accuracy"] > 0.6
    assert held_out[-1]["validation_loss"] < held_out[0]["validation_loss"]
    last = [record for record in records if "loss" in record][-1]
    assert last["tokens"] == pytest.approx(110 * 8 * 32, rel=0.02)  # tokens read, not tokens predicted


def test_it_is_evaluated_as_a_language_model_and_writes(run):
    report = zhixing.evaluate([run], data=run / "shards")
    (row,) = (row for row in report.rows if row.family == "xlnet")
    assert row.bits_per_byte < 1.5  # the words' frequencies alone: above 2
    loaded = load(run)
    chosen = GenerationSettings(max_new_tokens=40, temperature=0.0)
    (written,) = generate(loaded.model, loaded.tokenizer, ["the cat"], chosen)
    assert "purrs" in written.text or "sleeps" in written.text


def test_score_is_the_product_of_the_steps(run):
    model = load(run).model
    ids = np.random.default_rng(0).integers(0, model.vocab_size, (2, 20))
    scores, state = model.score(ids), model.initial_state(2)
    for place in range(19):
        said, state = model.next_log_probs(ids[:, place : place + 1], state)
        np.testing.assert_allclose(said[np.arange(2), ids[:, place + 1]], scores[:, place], rtol=1e-4, atol=1e-4)


def test_resume_draws_the_same_orders(text, resumes_exactly):
    """Stopped in the middle and continued, the run ends in the same weights."""
    overrides = [f"text.paths=[{text}]", "training.steps=16", "training.validate_every=0", "model.dropout=0.1"]
    resumes_exactly("recipes/tiny-xlnet.yaml", overrides, stop_at=7)


@pytest.mark.parametrize(
    "changes", [["objective={kind: causal}"], ["objective={kind: auto}", "data.isolate_documents=yes"]]
)
def test_the_other_ways_to_train_it(changes, text, tmp_path):
    overrides = [f"text.paths=[{text}]", "training.steps=4", *changes]
    out = tmp_path / "run"
    zhixing.train("recipes/tiny-xlnet.yaml", out, overrides=overrides, announce=False)
    assert load(out).model.family == "xlnet"
