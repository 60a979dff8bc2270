"""What is measured is what the evaluation measures; it is kept, and not taken for another model's."""

import json
from pathlib import Path

import numpy as np
import pytest

from zhixing.comparison.measured import held_out, measure, stored_numbers
from zhixing.comparison.settings import CompareRecipe
from zhixing.comparison.table import CompareReport, byte_interval
from zhixing.evaluation.perplexity import Scores
from zhixing.evaluation.run import evaluate
from zhixing.models.load import load
from zhixing.pretraining.prepare import prepare_ids
from zhixing.pretraining.recipe import Recipe


def test_bits_per_byte_are_the_evaluations(report: CompareReport) -> None:
    folders = [str(row.folder) for row in report.finished]
    found = evaluate(folders, data=report.out / "ids" / "shards").bits_per_byte
    for row in report.finished:
        assert row.bits_per_byte == pytest.approx(found[row.model], abs=1e-9)
    assert report.yardsticks["xz -9"] == pytest.approx(found["xz -9"])


def test_parameters_are_the_models(report: CompareReport) -> None:
    rows = {row.model: row for row in report.finished}
    trigram, hmm = (load(str(rows[name].folder)).model for name in ("trigram", "hmm"))
    tables = trigram.save_tensors()  # type: ignore[attr-defined]
    assert rows["trigram"].parameters == sum(t.size for n, t in tables.items() if n.endswith(("probs", "backoffs")))
    S, V = 4, hmm.vocab_size
    assert rows["hmm"].parameters == S + S * S + S * V
    network = load(str(rows["llama"].folder)).model.module  # type: ignore[attr-defined]
    assert rows["llama"].parameters == sum(p.numel() for p in network.parameters())
    assert stored_numbers(Path(str(rows["llama"].folder))) == rows["llama"].parameters


def test_a_record_is_used_for_the_same_model_only(report: CompareReport, recipe: CompareRecipe, tmp_path: Path) -> None:
    base = Recipe(seed=recipe.seed, text=recipe.text, tokenizer=recipe.tokenizer, data=recipe.data)
    ids = prepare_ids(base, report.out / "ids")
    question, record = held_out(ids, recipe.evaluation, 16), tmp_path / "trigram.json"
    folder = report.out / "models" / "trigram"
    first = measure(folder, record, ids, question, 0)
    kept = json.loads(record.read_text(encoding="utf-8"))
    kept["measured"]["right"] = -1
    record.write_text(json.dumps(kept), encoding="utf-8")
    assert measure(folder, record, ids, question, 0).right == -1
    other = held_out(ids, recipe.evaluation.replace(predictions=50), 16)
    assert measure(folder, record, ids, other, 0).guesses < first.guesses
    record.write_text('{"key": ', encoding="utf-8")
    assert measure(folder, record, ids, question, 0).right == first.right


def test_the_interval_holds_the_figure_and_narrows() -> None:
    draw = np.random.default_rng(1)

    def scores(count: int) -> Scores:
        size = draw.integers(50, 500, count)
        return Scores(size * draw.normal(1.0, 0.2, count), size // 3, size)

    few, many = scores(20), scores(2000)
    for one in (few, many):
        low, high = byte_interval(one, 0)
        assert low < one.bits_per_byte < high
    widths = [high - low for low, high in (byte_interval(few, 0), byte_interval(many, 0))]
    assert widths[1] < widths[0] / 4
    # The interval of a mean of equal sizes: 1.96 standard errors on each side.
    equal = Scores(draw.normal(100, 20, 2000), np.full(2000, 30), np.full(2000, 100))
    low, high = byte_interval(equal, 0)
    assert (high - low) / 2 == pytest.approx(1.96 * 0.2 / np.sqrt(2000) / np.log(2), rel=0.1)
