"""Span corruption: nothing is lost, spans are drawn as published, the same position gives the same spans."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zhixing.config import load_settings
from zhixing.data.windows import Batch
from zhixing.errors import ConfigError
from zhixing.models.t5 import T5, T5Settings
from zhixing.pretraining.cost import flops_per_token
from zhixing.pretraining.neural import training_windows
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.span_corruption import (
    GapsWithLoss,
    SpanLM,
    SpanSettings,
    SpanWindows,
    corrupt,
    draw_spans,
)
from zhixing.tokenizers.bytes import ByteTokenizer

SETTINGS = SpanSettings(sentinels=12)
TOKENIZER = ByteTokenizer(extra_tokens=SETTINGS.tokens)
SENTINELS = np.array([TOKENIZER.special_tokens[name] for name in SETTINGS.tokens])


class Windows:
    """Windows of random bytes; the last position of every seven is short."""

    context_length = 40

    def batch(self, start, count):
        ids = np.stack([np.random.default_rng(p).integers(0, 256, 40) for p in range(start, start + count)])
        weights = np.ones((count, 40), np.float32)
        for row in range(count):
            if (start + row) % 7 == 6:
                weights[row, [9, 1, 0][(start + row) // 7 % 3] :] = 0
        return Batch(ids, ids, weights)


def rebuilt(source, target):
    """The text, from what the network reads and what it is to say."""
    spans, found = np.split(target, np.flatnonzero(np.isin(target, SENTINELS))), []
    filling = {int(span[0]): span[1:] for span in spans if len(span)}
    for token in source:
        found.extend(filling[int(token)] if token in SENTINELS else [token])
    return np.array(found)


def source_of(seed=3):
    return SpanWindows(Windows(), SETTINGS, TOKENIZER, seed, TOKENIZER.separator_id)


def test_source_and_target_together_are_the_window():
    batch, plain = source_of().batch(0, 21), Windows().batch(0, 21)
    for row in range(21):
        size = max(1, int(plain.weights[row].sum()))
        source = batch.source[row, : batch.source_lengths[row]]
        target = batch.targets[row][batch.weights[row] > 0]
        np.testing.assert_array_equal(rebuilt(source, target), plain.inputs[row, :size])
        used = target[np.isin(target, SENTINELS)]
        np.testing.assert_array_equal(used, SENTINELS[: len(used)])  # in order, the last closes
        np.testing.assert_array_equal(source[np.isin(source, SENTINELS)], used[:-1])
        assert batch.in_span[row].sum() == SETTINGS.counts(size)[0]
        np.testing.assert_array_equal(batch.inputs[row, 1:], batch.targets[row, :-1])
        assert batch.inputs[row, 0] == TOKENIZER.separator_id


@pytest.mark.parametrize(("length", "expected"), [(0, (0, 0)), (1, (0, 0)), (2, (1, 1)), (10, (2, 1)), (568, (85, 28))])
def test_how_many_are_dropped(length, expected):
    assert SpanSettings().counts(length) == expected


def test_spans_are_apart_and_every_cut_is_equally_likely():
    draw, seen = np.random.default_rng(0), {}
    for _ in range(6000):
        noise = draw_spans(8, 4, 2, draw)
        assert noise.sum() == 4 and not noise[0] and noise[-1]
        assert (np.diff(noise.astype(int)) == 1).sum() == 2
        seen[noise.tobytes()] = seen.get(noise.tobytes(), 0) + 1
    assert len(seen) == 9  # three ways for each of the two parts
    assert min(seen.values()) > 6000 / 9 * 0.8


def test_a_worked_example():
    noise = np.array([False, True, True, False, True])
    source, target = corrupt(np.array([1, 2, 3, 4, 5]), noise, np.array([90, 91, 92]))
    assert source.tolist() == [1, 90, 4, 91] and target.tolist() == [90, 2, 3, 91, 5, 92]


def test_a_position_decides_the_spans():
    whole, parts = source_of().batch(0, 12), [source_of().batch(start, 4) for start in (0, 4, 8)]
    for name in ("source", "targets", "weights", "inputs", "in_span"):
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole, name), together)
    assert (source_of(seed=4).batch(0, 12).source != whole.source).any()


def test_what_is_shown_is_what_the_network_gets():
    questions = source_of()
    batch = questions.batch(0, 7)
    source, target = questions.shown(batch, 6)
    assert (source.name, target.name) == ("source", "target")
    np.testing.assert_array_equal(source.ids, batch.source[6])
    np.testing.assert_array_equal(target.ids, batch.inputs[6])
    np.testing.assert_array_equal(target.weights, batch.weights[6])
    assert (target.targets[batch.weights[6] == 0] == -1).all() and (source.targets == -1).all()
    assert target.sees_source.any(axis=0).sum() == batch.source_lengths[6]
    assert not np.triu(target.visible, 1).any()


def test_too_few_sentinels_are_refused():
    with pytest.raises(ConfigError, match=r"has 1 sentinels.* 3 are needed"):
        SpanWindows(Windows(), SpanSettings(sentinels=2), ByteTokenizer(extra_tokens=["<extra_id_0>"]), 0, 0)


class Isolated(Windows):
    """The same, with documents of 7 and 33 places; what is read of a window says which."""

    def batch(self, start, count):
        plain = super().batch(start, count)
        documents = np.repeat((np.arange(40) >= 7)[None], count, 0).astype(np.int32)
        ids = plain.inputs % 100 + 100 * documents
        return Batch(ids, ids, plain.weights, documents, np.arange(40) - 7 * documents)


def test_isolated_documents_never_meet():
    source = SpanWindows(Isolated(), SETTINGS, TOKENIZER, 3, TOKENIZER.separator_id)
    batch, plain = source.batch(0, 200), Isolated().batch(0, 200)
    shown = []
    for row in range(200):
        whole = rebuilt(batch.source[row, : batch.source_lengths[row]], batch.targets[row][batch.weights[row] > 0])
        size = max(1, int(plain.weights[row].sum()))
        parts = [plain.inputs[row, :size][plain.documents[row, :size] == number] for number in (0, 1)]
        shown.append(next(number for number, part in enumerate(parts) if np.array_equal(part, whole)))
        assert batch.in_span[row].sum() == SETTINGS.counts(len(whole))[0]
    assert 0.65 < np.mean(shown) < 0.8  # a chance of 33 in 40, but in the short windows, of which most is the first
    again = source.batch(60, 3)
    np.testing.assert_array_equal(again.source, batch.source[60:63])
    assert again.tokens == sum(source.batch(row, 1).tokens for row in (60, 61, 62))


@pytest.mark.parametrize("choice", ["auto", "yes"])
def test_a_run_says_whether_documents_are_kept_apart(choice, tiny_text, tmp_path, caplog):
    """Most windows of this text hold several documents: what ``auto`` would isolate is not, and that is said."""
    overrides = [f"text.paths=[{tiny_text}]", "tokenizer={kind: byte}", f"data.isolate_documents={choice}"]
    overrides += ["model.context_length=256", "objective.sentinels=20"]
    recipe = load_settings(Recipe, "recipes/tiny-t5.yaml", overrides)
    ids = prepare_ids(recipe, tmp_path)
    with caplog.at_level("INFO"):
        windows = training_windows(recipe, ids, recipe.model)
    assert windows.isolate_documents == (choice == "yes")
    assert ("not hidden from each other" in caplog.text) == (choice == "auto")


def test_a_recipe_with_too_few_sentinels_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="a window of 128 tokens needs 7"):
        load_settings(Recipe, "recipes/tiny-t5.yaml", ["model.context_length=128"])


def test_loss_and_accuracy_are_those_of_the_rows_alone():
    torch.manual_seed(0)
    model = T5(T5Settings(vocab_size=TOKENIZER.vocab_size, layers=1, width=16, heads=2, farthest=64)).eval()
    batch, objective, forward = source_of().batch(0, 14), SpanLM("cpu"), GapsWithLoss(model)
    with torch.no_grad():
        found = objective.loss(forward, batch)
        total, right = 0.0, 0
        for row in range(14):
            source = torch.tensor(batch.source[row, : batch.source_lengths[row]])[None]
            real = int(batch.weights[row].sum())
            inputs, targets = (torch.tensor(a[row, :real]) for a in (batch.inputs, batch.targets))
            logits = (model.decode(inputs[None], model.encode(source)) @ model.head_weight.T)[0]
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
            right += int(((logits.argmax(-1) == targets) & torch.tensor(batch.in_span[row, :real])).sum())
    assert float(found.total) == pytest.approx(total, rel=1e-5)
    assert found.metrics["span_accuracy"] == pytest.approx(right / batch.in_span.sum())
    assert objective.weight(batch) == batch.weights.sum()


def test_targets_begin_with_the_models_own_start():
    batch = SpanWindows(Windows(), SETTINGS, TOKENIZER, 3, start_id=7).batch(0, 3)
    assert (batch.inputs[:, 0] == 7).all()


@pytest.mark.parametrize("shape", [{}, {"feed_forward": "gated-gelu", "head_width": 20, "decoder_layers": 1}])
def test_the_cost_is_what_the_network_computes(shape):
    settings = T5Settings(vocab_size=TOKENIZER.vocab_size, context_length=40, layers=3, width=32, heads=2, **shape)
    model, batch = T5(settings), source_of().batch(0, 5)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        SpanLM("cpu").loss(GapsWithLoss(model), batch)
    target, inner = batch.inputs.shape[1], settings.heads * settings.per_head
    hidden_half = settings.writing_layers * 2 * target**2 * inner  # computed, but masked: not counted as needed
    forward = counter.get_total_flops() / 5 - hidden_half
    assert flops_per_token(settings) * 40 == pytest.approx(3 * forward, rel=0.001)
