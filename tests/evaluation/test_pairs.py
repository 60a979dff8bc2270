"""Encoder-decoders on held-out pairs: every figure by hand, where pairs come from, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zhixing
from zhixing.cli.evaluate import app
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.errors import ConfigError, DataError, InputError
from zhixing.evaluation.pairs import evaluate_pairs, fitting_tokenisation
from zhixing.evaluation.text_measures import bleu, chrf, rouge
from zhixing.model_folder import write_folder
from zhixing.models.decoders import build_decoder
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.save import companion_files, neural_files
from zhixing.models.transformer import TransformerSettings
from zhixing.tokenizers.bytes import ByteTokenizer

TOKENIZER = ByteTokenizer()
SEPARATOR = TOKENIZER.separator_id
SETTINGS = TransformerSettings(
    vocab_size=TOKENIZER.vocab_size, context_length=39, target_length=20, layers=1, width=32, heads=2
)
KNOWN = {"cat": "it purrs", "dog": "it barks", "owl": "it hoots"}
ROWS = [*KNOWN.items(), ("owl", "it sleeps"), ("a lion far too long to be read", "it roars")]


def save(module, folder: Path, **facts) -> Path:
    files = neural_files(module, module.settings, SEPARATOR)
    write_folder(folder, {**files, **companion_files(TOKENIZER)}, facts=facts)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that has learned by heart what three animals do."""
    torch.manual_seed(0)
    module = build_decoder(SETTINGS)
    sources = torch.tensor([[SEPARATOR, *word.encode()] for word in KNOWN])
    asked = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor([*sound.encode(), SEPARATOR]) for sound in KNOWN.values()], True, -100
    )
    inputs = torch.cat([torch.full((3, 1), SEPARATOR), asked[:, :-1].clamp(min=0)], dim=1)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    for _ in range(80):
        logits = module.decode(inputs, module.encode(sources)) @ module.head_weight.T
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), asked.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    return save(module, tmp_path_factory.mktemp("answers") / "animals", pairs=("who", "what"))


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"who": s, "what": t}) for s, t in ROWS), encoding="utf-8")
    return path


def test_every_figure(folder, file) -> None:
    (row,) = evaluate_pairs([folder], [str(file)]).rows
    answers, references = [answer.answer for answer in row.answers], [target for _, target in ROWS]
    assert answers == [*KNOWN.values(), "it hoots", ""]  # what cannot be read is answered by nothing
    assert [answer.reference for answer in row.answers] == references
    assert (row.pairs, row.too_long, row.exact_match) == (5, 1, 3 / 5)
    assert row.bleu == bleu(answers, references).score
    assert row.chrf == chrf(answers, references)
    assert row.rouge_l == rouge(answers, references).rouge_l.f1
    assert (row.name, row.family) == ("animals", "transformer")
    assert "tokens:13a" in row.signature and "beams:1" in row.signature


def test_the_loss_is_that_of_the_targets_and_their_ends(folder, file) -> None:
    """One pair at a time, without padding."""
    module = zhixing.load(folder).model.module
    total, count = 0.0, 0
    for source, target in ROWS[:4]:
        asked = torch.tensor([[*target.encode(), SEPARATOR]])
        inputs = torch.cat([torch.tensor([[SEPARATOR]]), asked[:, :-1]], dim=1)
        with torch.no_grad():
            read = module.encode(torch.tensor([[SEPARATOR, *source.encode()]]))
            logits = module.decode(inputs, read) @ module.head_weight.T
        total += torch.nn.functional.cross_entropy(logits[0], asked[0], reduction="sum").item()
        count += asked.shape[1]
    (row,) = evaluate_pairs([folder], [str(file)]).rows
    assert row.target_tokens == count
    assert row.nats_per_target_token == pytest.approx(total / count, rel=1e-4)


def test_pairs_from_shards_are_those_of_the_rows(folder, file, tmp_path) -> None:
    text = TextSettings(paths=(str(file),), source_field="who", target_field="what", validation_fraction=0.0)
    shards = prepare(text, TOKENIZER, tmp_path / "shards")
    (row,) = evaluate_pairs([folder], [str(shards.train.folder)]).rows
    (same,) = evaluate_pairs([folder], [str(file)]).rows
    assert row.answers == same.answers and row.bleu == same.bleu
    with pytest.raises(ConfigError, match="one folder"):
        evaluate_pairs([folder], [str(shards.train.folder), str(file)])


def test_several_models_beams_and_the_file_of_results(folder, file, tmp_path) -> None:
    torch.manual_seed(1)
    untaught = save(build_decoder(SETTINGS), tmp_path / "untaught")
    results = tmp_path / "results.jsonl"
    report = evaluate_pairs(
        [untaught, folder], [str(file)], source_field="who", target_field="what", beams=2, results=results
    )
    assert [row.name for row in report.rows] == ["animals", "untaught"]  # the best first
    assert report.rows[0].exact_match == 3 / 5 and "beams:2" in report.rows[0].signature
    assert report.rows[1].nats_per_target_token > 3
    kept = [json.loads(line)["name"] for line in results.read_text(encoding="utf-8").splitlines()]
    assert kept == ["untaught", "animals"]


def test_chinese_references_are_cut_into_characters() -> None:
    assert fitting_tokenisation(["三千零四十二", "A 一二三"]) == "zh"
    assert fitting_tokenisation(["three thousand", "一"]) == "13a"
    assert fitting_tokenisation(["12"]) == "13a"


def test_what_does_not_fit_is_refused(folder, file, tmp_path) -> None:
    with pytest.raises(DataError, match="field 'whose' is missing"):
        evaluate_pairs([folder], [str(file)], source_field="whose")
    with pytest.raises(ConfigError, match="both 'what'"):
        evaluate_pairs([folder], [str(file)], source_field="what")
    with pytest.raises(ConfigError, match="model folder"):
        evaluate_pairs([], [str(file)])
    with pytest.raises(ConfigError, match="evaluate_pairs"):
        rows = TextSettings(paths=(str(file),), source_field="who", target_field="what")
        zhixing.evaluate([folder], text=rows)
    decoder = build_decoder(GPT2Settings(vocab_size=TOKENIZER.vocab_size, context_length=8, layers=1, width=8, heads=1))
    with pytest.raises(InputError, match="encoder-decoder"):
        evaluate_pairs([save(decoder, tmp_path / "gpt2")], [str(file)], source_field="who", target_field="what")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no pairs", encoding="utf-8")
    text = TextSettings(paths=(str(tmp_path / "text"),), validation_fraction=0.0)
    shards = prepare(text, TOKENIZER, tmp_path / "shards")
    with pytest.raises(DataError, match="holds no pairs"):
        evaluate_pairs([folder], [str(shards.train.folder)])


def test_the_command(folder, file) -> None:
    def run(*words: str):
        return CliRunner().invoke(app, [str(folder), *words], env={"ZHIXING_LANG": "en", "COLUMNS": "100"})

    (row,) = json.loads(run("--pairs", str(file), "--json").stdout)["pairs"]
    assert row["exact_match"] == 3 / 5 and len(row["answers"]) == 5
    shown = run("--pairs", str(file)).stdout
    assert "60.0%" in shown and "→ it purrs" in shown and "BLEU-4|" in shown
    for options in (["--text", "x"], ["--training", "x"], ["--part", "fit"], ["--stride", "0.2"], ["--seed", "1"]):
        error = run("--pairs", str(file), *options).exception
        assert isinstance(error, ConfigError) and options[0] in str(error)
    for options in (["--source-field", "x"], ["--target-field", "x"], ["--num-beams", "2"]):
        error = run("--text", "x", *options).exception
        assert isinstance(error, ConfigError) and f"{options[0]}: only with --pairs" in str(error)
    assert np.isfinite(row["nats_per_target_token"])
