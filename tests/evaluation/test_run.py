import json
import json as source
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from zhixing.cli.evaluate import app
from zhixing.corpus.settings import TextSettings
from zhixing.data.prepare import prepare
from zhixing.data.shards import TokenShards
from zhixing.errors import ConfigError, DataError
from zhixing.evaluation.documents import split_fit_report
from zhixing.evaluation.fit_mixture import fit_mixture
from zhixing.evaluation.heldout import HeldOutFiles, HeldOutTexts
from zhixing.evaluation.perplexity import score_documents
from zhixing.evaluation.run import evaluate, evaluate_loaded
from zhixing.model_folder import write_folder
from zhixing.models.mixture import MixtureModel
from zhixing.models.ngram import NgramModel
from zhixing.models.save import companion_files, ngram_files
from zhixing.tokenizers.bytes import ByteTokenizer
from zhixing.tokenizers.characters import CharacterTokenizer

LIBRARY = Path(source.__file__).parents[1]
TRAINING = [path.read_text(encoding="utf-8") for path in sorted((LIBRARY / "email").glob("*.py"))]
HELD_OUT = TextSettings(paths=(str(LIBRARY / "json"), str(LIBRARY / "wsgiref")))


@dataclass
class InMemory:
    model: Any
    tokenizer: Any
    facts: dict[str, Any] = field(default_factory=dict)


def _ngram(tokenizer, order):
    ids = [np.array([tokenizer.separator_id, *tokenizer.encode(t), tokenizer.separator_id]) for t in TRAINING]
    return NgramModel.fit(ids, tokenizer.vocab_size, tokenizer.separator_id, order)


@pytest.fixture(scope="module")
def models():
    tokenizer, characters = ByteTokenizer(), CharacterTokenizer.train(TRAINING, 300)
    return {
        "ngram-2": InMemory(_ngram(tokenizer, 2), tokenizer, {"recipe_digest": "r"}),
        "ngram-5": InMemory(_ngram(tokenizer, 5), tokenizer),
        "characters-5": InMemory(_ngram(characters, 5), characters),
    }


def test_models_and_yardsticks_stand_in_one_table(models, tmp_path):
    results = tmp_path / "results.jsonl"
    report = evaluate_loaded(models, HeldOutFiles(HELD_OUT), yardsticks=("xz", "zlib"), results=results)
    figures = report.bits_per_byte
    assert list(figures.values()) == sorted(figures.values())
    assert set(figures) == {"ngram-2", "ngram-5", "characters-5", "xz -9", "zlib -9"}
    assert 1 < figures["ngram-5"] < figures["ngram-2"] < 6
    assert figures["characters-5"] == pytest.approx(figures["ngram-5"], rel=0.05)
    assert len({row.text_bytes for row in report.rows}) == 1
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    assert {line["name"]: line["bits_per_byte"] for line in lines} == pytest.approx(figures)
    assert lines[0]["facts"]["made_by"] == {"recipe_digest": "r"}
    assert lines[0]["facts"]["held_out_digest"] == report.facts["held_out_digest"]
    assert len(report.comparisons) == 2


def test_the_same_evaluation_gives_the_same_figures(models):
    first, second = (evaluate_loaded(models, HeldOutFiles(HELD_OUT)) for _ in range(2))
    assert first.bits_per_byte == second.bits_per_byte
    assert first.comparisons == second.comparisons


def test_mixture_of_real_n_grams_is_better_than_each_and_uses_the_order(models):
    tokenizer = models["ngram-5"].tokenizer
    fit, report = split_fit_report(HeldOutFiles(HELD_OUT).documents(tokenizer))
    members = [models["ngram-2"].model, models["ngram-5"].model]
    mixture = fit_mixture(members, fit)
    mixed, *alone = (score_documents(m, report).bits_per_byte for m in (mixture, *members))
    assert mixed < min(alone)
    assert mixture.context_length is None
    again = MixtureModel.from_tensors(mixture.config(), mixture.save_tensors(), members)
    assert score_documents(again, report).bits_per_byte == mixed
    ids = report[0].ids[None, :200]
    expected, _ = mixture.next_log_probs(ids[:, :150], mixture.initial_state(1))
    assert float(expected[0, ids[0, 150]]) == pytest.approx(float(mixture.score(ids)[0, 149]), rel=1e-4)
    assert np.exp(expected.astype(float)).sum() == pytest.approx(1, rel=1e-5)


def test_n_gram_scored_in_pieces_equals_whole_documents(models):
    model, tokenizer = models["ngram-5"].model, models["ngram-5"].tokenizer
    documents = list(HeldOutFiles(HELD_OUT).documents(tokenizer))
    whole = score_documents(model, documents, batch_tokens=10**7)
    pieces = score_documents(model, documents, batch_tokens=300)
    np.testing.assert_allclose(pieces.losses, whole.losses, rtol=1e-9)


def test_no_text_is_an_error(models):
    with pytest.raises(DataError):
        evaluate_loaded(models, HeldOutTexts([]))


def test_exactly_one_source_of_text_is_asked_for():
    with pytest.raises(ConfigError, match=r"--data"):
        evaluate(["model"])
    with pytest.raises(ConfigError, match=r"--data"):
        evaluate(["model"], data="x", text=["y"])
    with pytest.raises(ConfigError, match=r"model folder|模型文件夹"):
        evaluate([], text=["y"])


@pytest.fixture
def folders(models, tmp_path):
    for name in ("ngram-2", "ngram-5"):
        files = {**ngram_files(models[name].model), **companion_files(models[name].tokenizer)}
        write_folder(tmp_path / name, files, facts={"seed": 7})
    return [tmp_path / "ngram-2", tmp_path / "ngram-5"]


def test_model_folders_on_files(folders, models):
    text = [str(LIBRARY / "json"), str(LIBRARY / "wsgiref")]
    report = evaluate(folders, text=text)
    in_memory = evaluate_loaded({name: models[name] for name in ("ngram-2", "ngram-5")}, HeldOutFiles(HELD_OUT))
    assert report.bits_per_byte == pytest.approx(in_memory.bits_per_byte)
    rows = {row.name: row for row in report.rows}
    assert rows["ngram-5"].facts["made_by"] == {"seed": 7}
    half = evaluate(folders, text=text, part="report")
    assert 0 < half.rows[-1].documents < report.rows[0].documents


def test_folders_on_shards_and_a_document_of_the_training_text(folders, tmp_path):
    tokenizer = ByteTokenizer()
    prepare(HELD_OUT.replace(validation_fraction=0.4), tokenizer, tmp_path / "shards")
    report = evaluate(folders, data=tmp_path / "shards")
    assert report.rows[0].documents == TokenShards.open(tmp_path / "shards" / "validation").document_count
    with pytest.raises(DataError, match=r"take them out|请将其移除"):
        evaluate(folders, data=tmp_path / "shards" / "train", training=tmp_path / "shards")


def test_the_command_prints_one_line_of_json(folders):
    runner = CliRunner()
    arguments = [str(folder) for folder in folders] + ["--text", str(LIBRARY / "json"), "--json"]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert [row["name"] for row in values["rows"]] == ["xz -9", "ngram-5", "ngram-2"]
    shown = runner.invoke(app, arguments[:-1], catch_exceptions=False)
    assert "ngram-5" in shown.stdout
