"""The masked objective: its masks, its loss, and what a small BERT learns by it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import zhixing
from zhixing.cli.app import main
from zhixing.config import load_settings
from zhixing.data.windows import Batch
from zhixing.errors import ConfigError
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.pretraining.masked import EncoderWithLoss, MaskedLM, MaskedSettings, MaskedWindows, choose_words
from zhixing.pretraining.objectives import extra_tokens, resolve
from zhixing.pretraining.recipe import Recipe
from zhixing.theory.losses import masked_lm_loss
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import MASK
from zhixing.tokenizers.train import TokenizerSettings, train_tokenizer

TOKENIZER = ByteTokenizer(extra_tokens=(MASK,))
MASK_ID, SEPARATOR = TOKENIZER.special_id(MASK), TOKENIZER.separator_id
LENGTH, EPOCH = 40, 50


class Windows:
    """Fifty windows of a text of letters, over and over, one of them short; a separator in each."""

    def __init__(self, ids=None) -> None:
        self.ids = np.random.default_rng(0).integers(97, 123, (EPOCH, LENGTH)) if ids is None else ids
        if ids is None:
            self.ids[:, 5] = SEPARATOR

    def batch(self, start: int, count: int) -> Batch:
        places = np.arange(start, start + count) % len(self.ids)
        weights = np.ones((count, self.ids.shape[1]), np.float32)
        weights[places == 7, 30:] = 0
        return Batch(self.ids[places], self.ids[places], weights)


def masked_windows(seed=0, windows=None, tokenizer=TOKENIZER, **fields) -> MaskedWindows:
    return MaskedWindows(windows or Windows(), MaskedSettings(**fields), tokenizer, seed)


# ---------------------------------------------------------------- masks


def test_masks_are_a_pure_function_of_seed_and_position():
    first, again = masked_windows(), masked_windows()
    whole = first.batch(0, 60)
    again.batch(17, 3)  # what was asked before does not matter
    for start, count in ((0, 4), (31, 9), (59, 1)):
        part = again.batch(start, count)
        for name in ("inputs", "places", "targets", "weights"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start : start + count])
    assert (masked_windows(seed=1).batch(0, 60).places != whole.places).any(axis=1).mean() > 0.9


def test_each_epoch_masks_anew():
    found = masked_windows()
    first, second = found.batch(0, EPOCH), found.batch(EPOCH, EPOCH)
    assert (first.places != second.places).any(axis=1).mean() > 0.9


def test_every_place_is_masked_in_the_end():
    found = masked_windows().batch(0, 80 * EPOCH)
    often = Counter(found.places[found.weights > 0].tolist())
    ordinary = [often[place] for place in range(30) if place != 5]
    assert min(ordinary) / np.mean(ordinary) > 0.75 and max(ordinary) / np.mean(ordinary) < 1.25


def test_what_is_predicted_and_what_is_shown():
    source = Windows()
    found = masked_windows(windows=source).batch(0, 20 * EPOCH)
    plain = source.batch(0, 20 * EPOCH)
    counted = found.weights > 0
    rows = np.repeat(np.arange(len(counted)), counted.sum(axis=1))
    places, targets = found.places[counted], found.targets[counted]
    assert found.places.shape == (20 * EPOCH, 6) and counted.sum(axis=1).tolist() == [
        4 if index % EPOCH == 7 else 6 for index in range(20 * EPOCH)
    ]  # 15 % of 39 tokens that are not special; of 29 in the short window
    assert (targets == plain.inputs[rows, places]).all() and SEPARATOR not in targets
    assert (plain.weights[rows, places] == 1).all()
    assert (np.diff(found.places[0]) > 0).all()  # no place twice
    shown = found.inputs[rows, places]
    assert (shown == MASK_ID).mean() == pytest.approx(0.8, abs=0.02)
    assert (shown == targets).mean() == pytest.approx(0.1, abs=0.02)
    others = shown[(shown != MASK_ID) & (shown != targets)]
    assert len(others) / len(shown) == pytest.approx(0.1, abs=0.02)
    assert not set(others.tolist()) & TOKENIZER.special_ids and len(set(others.tolist())) > 100
    untouched = np.ones_like(found.inputs, dtype=bool)
    untouched[rows, places] = False
    assert (found.inputs[untouched] == plain.inputs[untouched]).all()
    assert found.lengths is not None and set(found.lengths.tolist()) == {30, LENGTH}
    assert masked_windows().batch(0, 3).lengths is None


def test_settings_of_share_and_fate():
    found = masked_windows(share=0.5, hidden=0.0, random=0.0).batch(0, 5)
    assert found.weights.sum(axis=1).tolist() == [20] * 5 and (found.inputs == Windows().ids[:5]).all()
    with pytest.raises(ConfigError, match="share"):
        load_settings(Recipe, "recipes/tiny-bert.yaml", ["objective.kind=masked", "objective.share=1.5"])


def test_a_window_of_separators_only_asks_nothing():
    found = masked_windows(windows=Windows(np.full((3, 8), SEPARATOR))).batch(0, 3)
    assert found.weights.sum() == 0 and (found.inputs == SEPARATOR).all()


def test_whole_words_are_masked_together():
    text = "the international understanding of reproducibility 知行合一 naïve déjà-vu x1y2. " * 40
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=290), [text], (MASK,))
    ids = np.array(tokenizer.encode(text)[:1200]).reshape(20, 60)
    found = masked_windows(windows=Windows(ids), tokenizer=tokenizer, whole_words=True, share=0.3).batch(0, 20)
    cut = words = 0
    for row in range(20):
        places = set(found.places[row][found.weights[row] > 0].tolist())
        assert 0 < len(places) <= 18
        pieces = [tokenizer.token_bytes(int(i)).decode("utf-8", "replace") for i in ids[row]]
        start = 0
        for place in range(1, 61):
            inside = place < 60 and pieces[place][:1].isascii() and pieces[place][:1].isalnum()
            if inside and pieces[place - 1][-1:].isalnum():
                continue
            word = set(range(start, place))
            cut += 0 < len(word & places) < len(word)
            words += len(word & places) > 1
            start = place
    assert cut == 0 and words >= 20


def test_choose_words():
    joins = np.array([False, True, False, False, True, True, False])
    draw = np.random.default_rng(0)
    for _ in range(50):
        chosen = choose_words(np.arange(7), joins, 3, draw).tolist()
        for word in ([0, 1], [3, 4, 5]):
            assert len(set(word) & set(chosen)) in (0, len(word))
        assert 0 < len(chosen) <= 3
    assert choose_words(np.array([3, 4, 5]), joins, 2, draw).tolist() == [3, 4]  # no word is that short: one is cut
    assert choose_words(np.array([4, 6]), joins, 1, draw).tolist() in ([4], [6])  # 5 is special: 6 is no part of 4


# ---------------------------------------------------------------- the loss


class Echo(torch.nn.Module):
    """An encoder whose hidden states are given logits."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.given = torch.nn.Parameter(logits)

    def forward(self, ids, **_):
        return self.given

    def logits(self, hidden):
        return hidden


def test_the_loss_is_the_formulas_and_counts_masked_tokens_only():
    found = masked_windows().batch(5, 4)  # the short window among them
    logits = torch.randn(4, LENGTH, TOKENIZER.vocab_size, generator=torch.Generator().manual_seed(0))
    masked = np.zeros((4, LENGTH), dtype=bool)
    true = found.inputs.copy()
    for row in range(4):
        places = found.places[row][found.weights[row] > 0]
        masked[row, places] = True
        true[row, places] = found.targets[row][found.weights[row] > 0]
    objective = MaskedLM("cpu")
    assert objective.weight(found) == masked.sum() == 22
    echo = Echo(logits)
    loss = objective.loss(EncoderWithLoss(echo), found)
    expected = masked_lm_loss(logits.double().numpy(), true, masked)
    assert loss.total.item() / 22 == pytest.approx(expected, rel=1e-5)
    right = (logits.numpy().argmax(-1) == true)[masked].mean()
    assert loss.metrics["masked_accuracy"] == pytest.approx(right)
    loss.total.backward()
    assert (echo.given.grad.abs().sum(-1).numpy() > 0).tolist() == masked.tolist()


def test_only_what_is_shown_reaches_the_network():
    """Changing what stood at a place that shows the mask changes the targets, nothing else."""
    torch.manual_seed(0)
    encoder = build_decoder(
        BertSettings(vocab_size=TOKENIZER.vocab_size, context_length=LENGTH, layers=1, width=8, heads=2)
    )
    found = masked_windows(hidden=1.0, random=0.0).batch(0, 2)
    forward = EncoderWithLoss(encoder)
    first = MaskedLM("cpu").loss(forward, found).total.item()
    again = type(found)(found.inputs, found.places, (found.targets + 1 - 97) % 26 + 97, found.weights)
    assert MaskedLM("cpu").loss(forward, again).total.item() != pytest.approx(first, rel=1e-6)
    assert (found.inputs[np.arange(2)[:, None], found.places] == MASK_ID).all()


# ---------------------------------------------------------------- choice by family


def test_each_family_has_its_objective():
    auto, masked = Recipe().objective, MaskedSettings()
    assert resolve(auto, "bert").kind == "masked" and resolve(auto, "llama").kind == "causal"
    assert extra_tokens(auto, "bert") == (MASK,) and extra_tokens(auto, "gpt2") == ()
    assert resolve(masked, "bert") is masked
    with pytest.raises(ValueError, match="auto or causal"):
        resolve(masked, "gpt2")


@pytest.mark.parametrize("recipe, kind, fits", [("tiny-bert", "causal", "masked"), ("tiny-gpt", "masked", "causal")])
def test_what_does_not_fit_is_refused_with_what_does(recipe, kind, fits, tmp_path, capfd):
    words = ["train", f"recipes/{recipe}.yaml", "--set", f"objective.kind={kind}", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capfd.readouterr().err
    assert ended.value.code == 2 and f"use auto or {fits}" in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- a small run


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences in which what stands on both sides tells every word."""
    folder = tmp_path_factory.mktemp("masked_text")
    draw = np.random.default_rng(0)
    animals = {"cat": "purrs", "dog": "barks", "cow": "moos", "owl": "hoots", "duck": "quacks", "lion": "roars"}
    for index in range(40):
        names = draw.choice(list(animals), 25)
        words = " ".join(f"the {name} {animals[name]} and the {name} sleeps ." for name in names)
        (folder / f"{index:02}.txt").write_text(words + "\n", encoding="utf-8")
    return folder


SETTINGS = [
    "tokenizer.vocab_size=319", "model.context_length=24", "model.width=48", "model.segments=1", "training.steps=160",
    "training.batch_windows=8", "training.threads=1", "training.compile=no", "training.validate_every=80",
    "training.optimizer.kind=muon", "training.optimizer.learning_rate=0.004", "text.validation_fraction=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("masked_run") / "bert"
    zhixing.train("recipes/tiny-bert.yaml", out, overrides=[f"text.paths=[{text}]", *SETTINGS], announce=False)
    return out


def test_a_tiny_bert_names_masked_tokens_far_better_than_any_unigram(run):
    report = zhixing.evaluate([run], data=run / "shards")
    (row,) = report.masked
    assert report.rows == () and report.comparisons == ()
    assert row.masked > 50 and row.unigram_accuracy < 0.4
    assert row.accuracy > row.unigram_accuracy + 0.3
    assert row.nats_per_token < 0.6 * row.unigram_nats
    assert row.accuracy <= row.top5 <= 1


def test_the_log_and_the_report_show_the_accuracy(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    training = [record["masked_accuracy"] for record in records if "loss" in record]
    held_out = [record["validation_masked_accuracy"] for record in records if "validation_loss" in record]
    assert training[0] < 0.3 < 0.5 < training[-1] and len(held_out) >= 2 and held_out[-1] > 0.5
    last = [record for record in records if "loss" in record][-1]
    assert last["tokens"] == pytest.approx(160 * 8 * 24, rel=0.02)  # tokens read, not tokens masked
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Masked tokens named right" in page and "&lt;|mask|&gt;" in page and "zhixing evaluate" in page
    assert "pipeline_tag: fill-mask" in (run / "README.md").read_text(encoding="utf-8")


def test_it_fills_masks_from_both_sides(run):
    fill = zhixing.pipeline("fill-mask", run)
    text = "the owl hoots and the owl sleeps . the cow moos and the<|mask|> sleeps ."
    ids = fill.encode(text)
    assert (ids == fill.tokenizer.special_id(MASK)).sum() == 1
    best = fill(text, top_k=3)
    assert len(best) == 3 and best[0]["score"] >= best[1]["score"] >= best[2]["score"] > 0
    assert best[0]["sequence"] == text.replace(MASK, best[0]["token_str"])


def test_resume_draws_the_same_masks(text, resumes_exactly):
    """Stopped in the middle and continued, the run ends in the same weights."""
    overrides = [f"text.paths=[{text}]", *SETTINGS, "training.steps=20", "training.validate_every=0"]
    resumes_exactly("recipes/tiny-bert.yaml", overrides, stop_at=9)
