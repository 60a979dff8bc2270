"""The contrastive objective: its sentences, its loss, and what a small BERT learns by it."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zhixing
from zhixing.cli.app import main
from zhixing.cli.run import app
from zhixing.config import load_settings
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.data.windows import TokenWindows
from zhixing.errors import ConfigError
from zhixing.models.bert import BertSettings
from zhixing.models.decoders import build_decoder
from zhixing.models.encoder import wrap
from zhixing.models.sentence_embedding import Pooling, pool, read_pooling
from zhixing.pretraining.closing import closing_words
from zhixing.pretraining.contrastive import (
    ContrastiveLoss,
    ContrastiveSettings,
    SentenceBatch,
    SentenceIndex,
    TwoViewsWithLoss,
    tokens_read,
)
from zhixing.pretraining.objectives import extra_tokens, resolve
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.preview import preview
from zhixing.pretraining.recipe import Recipe
from zhixing.pretraining.run_folder import TrainResult
from zhixing.theory import contrastive_losses as theory
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.specials import MASK

TOKENIZER = ByteTokenizer(extra_tokens=(MASK,))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Sentences about animals and about numbers."""
    folder = tmp_path_factory.mktemp("sentence_text")
    draw = np.random.default_rng(0)
    animals, verbs = ["cat", "dog", "cow", "owl", "duck", "lion"], ["sleeps", "eats", "runs", "waits"]
    for index in range(40):
        lines = []
        for _ in range(12):
            if draw.random() < 0.5:
                lines.append(f"the {draw.choice(animals)} {draw.choice(verbs)} near the {draw.choice(animals)} .")
            else:
                lines.append(f"{draw.integers(10, 99)} plus {draw.integers(10, 99)} is {draw.integers(10, 199)} .")
        (folder / f"{index:02}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def shards(text, tmp_path_factory):
    settings = TextSettings(paths=(str(text),), validation_fraction=0.1)
    return prepare(settings, TOKENIZER, tmp_path_factory.mktemp("sentence_shards")).train


def questions(shards, length=40, seed=0, shuffle=True, **fields):
    return SentenceIndex(ContrastiveSettings(**fields), TOKENIZER)(TokenWindows(shards, length, seed, shuffle))


# ---------------------------------------------------------------- sentences


def test_batches_are_a_pure_function_of_seed_and_position(shards):
    first, again = questions(shards), questions(shards)
    whole = first.batch(0, 40)
    again.batch(17, 3)  # what was asked before does not matter
    for start, count in ((0, 4), (31, 9)):
        part = again.batch(start, count)
        assert part.numbers.tolist() == whole.numbers[start : start + count].tolist()
        assert part.lengths.tolist() == whole.lengths[start : start + count].tolist()
    assert (questions(shards, seed=1).batch(0, 40).numbers != whole.numbers).mean() > 0.9


def test_an_epoch_has_each_distinct_sentence_once(shards):
    source = questions(shards)
    size = source.items_per_epoch
    batch = source.batch(0, size)
    assert sorted(batch.numbers.tolist()) == list(range(size))
    texts = {TOKENIZER.decode(ids[:length].tolist()) for ids, length in zip(batch.inputs, batch.lengths, strict=True)}
    assert len(texts) == size and tokens_read(batch) == batch.lengths.sum()


def test_a_sentence_is_read_as_it_will_be_in_use(shards):
    batch = questions(shards).batch(0, 30)
    for ids, length in zip(batch.inputs, batch.lengths, strict=True):
        text = TOKENIZER.decode(ids[:length].tolist())
        assert text == text.strip() and text
        assert ids[:length].tolist() == wrap(TOKENIZER, np.array(TOKENIZER.encode(text))).tolist()
        assert (ids[length:] == TOKENIZER.separator_id).all()
    assert batch.inputs.shape[1] % 8 == 0 or batch.inputs.shape[1] == 40
    short = questions(shards, length=12).batch(0, 30)
    assert short.inputs.shape[1] <= 12 and short.lengths.max() == 12


# ---------------------------------------------------------------- the loss


def encoder(dropout=0.1, length=40):
    torch.manual_seed(0)
    settings = BertSettings(vocab_size=TOKENIZER.vocab_size, context_length=length, layers=2, width=16, heads=2)
    return build_decoder(settings.replace(dropout=dropout))


def test_the_loss_is_the_formulas(shards):
    batch = questions(shards).batch(0, 6)
    network, settings = encoder(), ContrastiveSettings(temperature=0.1)
    views = TwoViewsWithLoss(network, settings)
    seen = []
    views.encoder.register_forward_hook(lambda _module, _given, hidden: seen.append(hidden.detach()))
    objective = ContrastiveLoss("cpu")
    loss = objective.loss(views, batch)
    (hidden,) = seen
    assert hidden.shape[0] == 12 and objective.weight(batch) == 6
    vectors = pool(hidden, torch.as_tensor(batch.lengths).repeat(2), "mean").double().numpy()
    first, second = vectors[:6], vectors[6:]
    assert (np.abs(first - second).max(axis=1) > 1e-3).all()  # dropout made two views of each
    assert loss.total.item() / 6 == pytest.approx(theory.info_nce(first, second, 0.1), rel=1e-4)
    assert loss.metrics["alignment"] == pytest.approx(theory.alignment(first, second), rel=1e-4)
    assert loss.metrics["uniformity"] == pytest.approx(theory.uniformity(first), rel=1e-4, abs=1e-5)
    assert loss.metrics["retrieval_accuracy"] == pytest.approx(theory.retrieval_accuracy(first, second))
    loss.total.backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert {name for name, _ in network.named_parameters()} - reached == {
        name for name, _ in network.named_parameters() if name.startswith("head.")
    }


def test_padding_says_nothing(shards):
    batch = questions(shards).batch(0, 5)
    network = encoder(dropout=0.0)
    wider = SentenceBatch(np.pad(batch.inputs, ((0, 0), (0, 40 - batch.inputs.shape[1])), constant_values=7),
                          batch.lengths, batch.numbers)  # fmt: skip
    found = [ContrastiveLoss("cpu").loss(TwoViewsWithLoss(network, ContrastiveSettings()), b) for b in (batch, wider)]
    assert found[0].total.item() == pytest.approx(found[1].total.item(), rel=1e-4)


def test_held_out_sentences_have_two_views_too_and_random_state_is_left_alone(shards):
    batch, network = questions(shards).batch(0, 8), encoder().eval()
    views, objective = TwoViewsWithLoss(network, ContrastiveSettings()), ContrastiveLoss("cpu")
    before = torch.random.get_rng_state()
    first, second = objective.loss(views, batch), objective.loss(views, batch)
    assert torch.equal(before, torch.random.get_rng_state()) and not network.training
    assert not any(module.training for module in network.modules())
    assert first.total.item() == second.total.item() and first.metrics["alignment"] > 1e-3


def test_one_sentence_alone_asks_nothing(shards):
    batch = questions(shards).batch(0, 1)
    assert ContrastiveLoss("cpu").weight(batch) == 0
    loss = ContrastiveLoss("cpu").loss(TwoViewsWithLoss(encoder(), ContrastiveSettings()), batch)
    assert loss.total.item() == pytest.approx(0, abs=1e-5) and loss.metrics["uniformity"] == 0.0


# ---------------------------------------------------------------- choice


def test_it_is_chosen_for_encoders_only_and_needs_dropout():
    contrastive = ContrastiveSettings()
    assert resolve(contrastive, "bert") is contrastive and extra_tokens(contrastive, "bert") == (MASK,)
    with pytest.raises(ValueError, match="does not fit"):
        resolve(contrastive, "gpt2")
    with pytest.raises(ConfigError, match=r"two views.*model\.dropout"):
        load_settings(Recipe, "recipes/tiny-contrastive.yaml", ["model.dropout=0"])
    with pytest.raises(ConfigError, match="temperature"):
        load_settings(Recipe, "recipes/tiny-contrastive.yaml", ["objective.temperature=0"])


# ---------------------------------------------------------------- a small run


SETTINGS = [
    "tokenizer.vocab_size=319", "training.threads=1", "training.compile=no", "training.validate_every=40",
    "text.validation_fraction=0.1",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive_run")
    overrides = [f"text.paths=[{text}]", *SETTINGS]
    zhixing.train(
        "recipes/tiny-bert.yaml", folder / "bert", overrides=[*overrides, "training.steps=20"], announce=False
    )
    zhixing.train(
        "recipes/tiny-contrastive.yaml", folder / "out", overrides=[*overrides, "training.steps=120"],
        init_from=folder / "bert", ids_folder=folder / "bert", announce=False,
    )  # fmt: skip
    return folder / "out"


def test_a_tiny_bert_finds_its_sentences_again(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    held_out = [record for record in records if "validation_loss" in record]
    assert losses[-1] < 0.7 * losses[0]
    assert held_out[-1]["validation_loss"] < held_out[0]["validation_loss"]
    assert held_out[-1]["validation_retrieval_accuracy"] > 0.8
    assert held_out[-1]["validation_uniformity"] < held_out[0]["validation_uniformity"] < 0
    assert 0 < held_out[-1]["validation_alignment"] < 1


def test_the_folder_is_one_of_sentences(run):
    assert read_pooling(run) == Pooling("mean", longest=32)
    encoder = zhixing.pipeline("sentence-embedding", model=run)
    names = ["dog", "cow", "owl", "lion", "cat"]
    animals = [f"the {one} eats near the {other} ." for one, other in zip(names, names[::-1], strict=True)]
    numbers = [f"{one} plus {one + 7} is {2 * one + 7} ." for one in (31, 77, 12, 58, 40)]
    cosines = encoder.similarity([*animals, *numbers], [*animals, *numbers])
    alike = np.arange(10)[:, None] // 5 == np.arange(10) // 5
    assert cosines[alike & ~np.eye(10, dtype=bool)].mean() > cosines[~alike].mean() + 0.2
    np.fill_diagonal(cosines, -2)
    assert (cosines.argmax(axis=1) // 5 == np.arange(10) // 5).mean() >= 0.9
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "zhixing run similarity" in page and " → " in page
    assert "Sentences found again" in page and "Uniformity" in page and "nats per sentence</strong>" in page
    words = closing_words(TrainResult(run, {"family": "bert"}))
    assert "nats per sentence" in words and f"zhixing run similarity {run} 'one sentence' another" in words
    assert "pipeline_tag: sentence-similarity" in (run / "README.md").read_text(encoding="utf-8")
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(run), device="cpu").encode(animals, show_progress_bar=False)
    np.testing.assert_allclose(encoder(animals), theirs, atol=1e-5)


def test_it_can_still_be_evaluated_as_a_masked_model(run):
    (row,) = zhixing.evaluate([run], data=run.parent / "bert" / "shards").masked
    assert row.masked > 50 and 0 <= row.accuracy <= 1


def test_a_batch_can_be_shown(text, tmp_path):
    recipe = load_settings(Recipe, "recipes/tiny-contrastive.yaml", [f"text.paths=[{text}]"])
    ids = prepare_ids(recipe, tmp_path / "ids")
    shown = preview(recipe, ids, 1)
    (part,) = shown.rows[0]
    real = int(part.visible[0].sum())
    assert shown.objective == "contrastive" and shown.first == 16 and (part.weights == 0).all()
    assert part.visible[:, :real].all() and not part.visible[:, real:].any()


def test_resume_reads_the_same_sentences(text, resumes_exactly):
    """Stopped in the middle and continued, the run ends in the same weights."""
    overrides = [f"text.paths=[{text}]", *SETTINGS, "training.steps=16", "training.validate_every=5"]
    resumes_exactly("recipes/tiny-contrastive.yaml", overrides, stop_at=9)


# ---------------------------------------------------------------- asking it


def asked(*words):
    result = CliRunner().invoke(app, ["similarity", *map(str, words)])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def test_similarity_on_the_command_line(run, tmp_path, capfd):
    three = ["the dog eats .", "11 plus 22 is 33 .", "the cow eats ."]
    payload = json.loads(asked(run, *three, "--json"))
    assert payload["text"] == three[0] and [one["text"] for one in payload["similar"]] == [three[2], three[1]]
    assert float(asked(run, three[0], three[2])) == pytest.approx(payload["similar"][0]["similarity"], abs=1e-3)
    assert asked(run, *three).splitlines()[0].endswith(f"  {three[2]}")
    pairs = [(three[0], three[2], 5), (three[0], three[1], 0)]
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\t{s}\n" for a, b, s in pairs), encoding="utf-8")
    result = json.loads(asked(run, "--file", tmp_path / "pairs.tsv", "--json"))
    assert result["spearman"] == pytest.approx(1.0) and result["covered"] == 2
    with pytest.raises(SystemExit) as ended:
        main(["run", "similarity", str(run), "alone"])
    assert ended.value.code == 2 and "two texts or more" in capfd.readouterr().err
