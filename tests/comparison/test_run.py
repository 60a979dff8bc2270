"""A comparison from recipe to folder: figures, failures, starting again, other settings."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from zhixing.comparison.choice import Limits
from zhixing.comparison.run import compare
from zhixing.comparison.settings import Budget, CompareRecipe
from zhixing.comparison.table import CompareReport
from zhixing.errors import ConfigError, DataError
from zhixing.model_folder import verify_folder


def only(recipe: CompareRecipe, *names: str) -> CompareRecipe:
    return recipe.replace(models=tuple(one for one in recipe.models if one.name in names))


def test_every_model_has_its_figures(report: CompareReport) -> None:
    assert {row.model for row in report.finished} == {"trigram", "hmm", "gru", "llama"}
    bits = [row.bits_per_byte for row in report.finished]
    assert bits == sorted(bits, key=float)  # type: ignore[arg-type]
    for row in report.finished:
        assert all(value is not None for name, value in row.as_dict().items() if name != "flops"), row
        assert row.low <= row.bits_per_byte <= row.high  # type: ignore[operator]
        assert 0 < row.accuracy < 1 and row.guesses > 50  # type: ignore[operator]
        assert verify_folder(Path(str(row.folder))) == []
    rows = {row.model: row for row in report.finished}
    assert rows["gru"].tokens_seen == rows["llama"].tokens_seen == pytest.approx(1600, abs=64)
    assert rows["trigram"].flops is None and rows["gru"].flops > 0  # type: ignore[operator]
    assert len({row.guesses for row in report.finished}) == 1


def test_a_model_that_fails_is_a_row_that_says_why(report: CompareReport) -> None:
    last = report.rows[-1]
    assert last.model == "elsewhere" and "training.device = 'quantum' cannot be used here" in str(last.error)
    assert set(last.as_dict()) == {"model", "family", "error"}


def test_neighbours_are_tested_in_the_order_of_the_ranking(report: CompareReport) -> None:
    names = [row.model for row in report.finished]
    assert [(pair.a, pair.b) for pair in report.neighbours] == list(pairwise(names))
    assert all(pair.difference <= 0 for pair in report.neighbours)


def test_neural_models_have_curves_and_every_model_wrote(report: CompareReport) -> None:
    assert {curve.model for curve in report.curves} == {"gru", "llama"}
    for curve in report.curves:
        assert len(curve.seconds) == len(curve.flops) > 15
        assert curve.seconds[0][1] > curve.seconds[-1][1]  # type: ignore[operator]
        assert [x for x, _ in curve.flops] == sorted(x for x, _ in curve.flops)
    assert [sample.model for sample in report.samples] == [row.model for row in report.finished]
    assert all(sample.text for sample in report.samples)


def test_files_of_the_folder(report: CompareReport) -> None:
    assert {path.name for path in report.out.iterdir()} == {
        "ids", "models", "measured", "recipe.yaml", "report.html", "compare.json",
    }  # fmt: skip
    told = json.loads((report.out / "compare.json").read_text(encoding="utf-8"))
    assert told["best"] == report.choice.best == report.finished[0].model
    assert {row["model"] for row in told["rows"]} == {row.model for row in report.rows}


def test_started_again_nothing_is_made_twice_and_limits_choose_anew(
    report: CompareReport, recipe: CompareRecipe
) -> None:
    def stamps() -> dict[str, int]:
        found = [*report.out.rglob("model.safetensors"), *report.out.glob("measured/*")]
        return {str(path): path.stat().st_mtime_ns for path in found}

    before = stamps()
    last = report.finished[-1]
    limits = Limits(max_params=last.parameters) if last.model != "trigram" else Limits(max_params=1)
    again = compare(recipe, report.out, limits=limits)
    assert stamps() == before
    assert again.rows == report.rows
    assert set(again.choice.excluded) == {
        row.model
        for row in report.finished
        if row.parameters > limits.max_params  # type: ignore[operator]
    }


def test_an_interrupted_one_goes_on_to_the_same_bits(
    report: CompareReport, recipe: CompareRecipe, tmp_path: Path
) -> None:
    class Cut(BaseException):
        pass

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        from zhixing.pretraining.neural import NeuralRun

        looks = []

        def validate(self: NeuralRun, own=NeuralRun.validate):  # type: ignore[no-untyped-def]
            looks.append(self.state.step)
            if len(looks) == 5:
                raise Cut
            return own(self)

        patch.setattr(NeuralRun, "validate", validate)
        compare(only(recipe, "gru"), tmp_path / "out")
    assert not (tmp_path / "out" / "models" / "gru" / "MANIFEST.json").exists()
    again = compare(only(recipe, "gru"), tmp_path / "out")
    weights = Path("models") / "gru" / "model.safetensors"
    assert (tmp_path / "out" / weights).read_bytes() == (report.out / weights).read_bytes()
    before = next(row for row in report.rows if row.model == "gru")
    assert again.rows[0].bits_per_byte == before.bits_per_byte
    assert again.choice.sentences[0].endswith("the only model.")


def test_other_settings_in_the_same_folder_are_refused(report: CompareReport, recipe: CompareRecipe) -> None:
    changed = recipe.replace(
        models=tuple(
            one.replace(model=one.model.replace(order=4)) if one.name == "trigram" else one for one in recipe.models
        )
    )
    with pytest.raises(ConfigError, match=r"trigram was made with other settings \(model.order: 3 → 4\)"):
        compare(changed, report.out)


def test_text_without_held_out_documents(recipe: CompareRecipe, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a single short text", encoding="utf-8")
    text = recipe.text.replace(paths=(str(tmp_path / "one.txt"),), validation_fraction=0.0)
    with pytest.raises(DataError, match="held-out"):
        compare(recipe.replace(text=text), tmp_path / "out")


def test_a_mixture_of_models_of_the_comparison(recipe: CompareRecipe, tmp_path: Path) -> None:
    from zhixing.comparison.settings import ComparedModel
    from zhixing.models.mixture import MixtureSettings

    pair = only(recipe, "trigram", "hmm").models
    mixture = ComparedModel(name="both", model=MixtureSettings(members=("trigram", "hmm")))
    evaluation = recipe.evaluation.replace(part="report")
    text = recipe.text.replace(validation_fraction=0.5)
    found = compare(recipe.replace(models=(*pair, mixture), evaluation=evaluation, text=text), tmp_path / "out")
    assert [row.error for row in found.rows] == [None] * 3
    rows = {row.model: row for row in found.rows}
    assert rows["both"].parameters >= rows["trigram"].parameters + rows["hmm"].parameters  # type: ignore[operator]


def test_an_ngram_of_the_text_that_another_model_has_read(recipe: CompareRecipe, tmp_path: Path) -> None:
    from zhixing.comparison.settings import ComparedModel
    from zhixing.models.ngram import NgramSettings

    counted = ComparedModel(name="same", model=NgramSettings(order=3), same_text_as="gru")
    wanted = recipe.replace(models=(*only(recipe, "gru", "trigram").models, counted), budget=Budget(tokens=320))
    rows = {row.model: row for row in compare(wanted, tmp_path / "out").finished}
    assert rows["gru"].tokens_seen == pytest.approx(320, abs=64)
    assert rows["same"].tokens_seen == rows["gru"].tokens_seen < rows["trigram"].tokens_seen  # type: ignore[operator]
    assert rows["same"].bits_per_byte > rows["trigram"].bits_per_byte  # type: ignore[operator]
    assert rows["same"].seconds is not None
    weights = tmp_path / "out" / "models" / "same" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    compare(wanted, tmp_path / "out")
    assert weights.stat().st_mtime_ns == before


def test_what_to_do_next(report: CompareReport) -> None:
    best, trained = report.choice.best, next(row for row in report.finished if row.flops is not None)
    models = report.out / "models"
    assert report.commands["serve"] == f"zhixing serve {models / str(best)}"
    assert report.commands["continue"] == (
        f"zhixing train {models / trained.model / 'recipe.yaml'} --init-from {models / trained.model} "
        f"--ids {report.out / 'ids'} --out {models / trained.model}-2"
    )


def test_few_documents_are_said(report: CompareReport) -> None:
    assert report.notes == ()
    few = replace(report, neighbours=tuple(replace(pair, documents=3) for pair in report.neighbours))
    assert "With 3 held-out documents no difference can be certain" in few.notes[0]
