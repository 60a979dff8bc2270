"""The quickstart: four models in one table, a page, commands; started again it keeps them or refuses other settings."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zhixing.cli.quickstart import app
from zhixing.comparison.settings import CompareRecipe
from zhixing.config import load_settings, to_yaml
from zhixing.errors import ConfigError
from zhixing.main_job import QuickstartResult, gpt_recipe, quickstart, quickstart_recipe
from zhixing.model_folder import read_manifest
from zhixing.pretraining.recipe import Recipe

NAMES = {"gpt", "ngram-5", "ngram-5-same-text", "mixture"}
MINUTES = 0.02


@pytest.fixture(scope="module")
def done(tiny_text: Path, tmp_path_factory: pytest.TempPathFactory) -> QuickstartResult:
    return quickstart(tmp_path_factory.mktemp("quickstart") / "out", text=[str(tiny_text)], minutes=MINUTES)


def test_all_models_stand_in_one_table_beside_a_compressor(done: QuickstartResult) -> None:
    assert set(done.bits_per_byte) == {*NAMES, "xz"}
    assert all(value > 0 for value in done.bits_per_byte.values())
    assert [row.error for row in done.report.rows] == [None] * 4
    assert done.bits_per_byte["mixture"] < 1.001 * min(done.bits_per_byte[name] for name in NAMES)


def test_the_yardstick_has_read_what_the_gpt_has(done: QuickstartResult) -> None:
    read = {name: read_manifest(done.out / "models" / name).facts for name in ("gpt", "ngram-5", "ngram-5-same-text")}
    seen, whole = read["gpt"]["windows_seen"] * 256, read["ngram-5"]["tokens_seen"]
    assert read["ngram-5-same-text"]["tokens_seen"] == pytest.approx(min(seen, whole), abs=256)


def test_the_page_leads_to_the_course_of_the_training_and_to_what_comes_next(done: QuickstartResult) -> None:
    page = (done.out / "report.html").read_text(encoding="utf-8")
    assert '<a href="models/gpt/report.html">gpt</a>' in page and (done.out / "models/gpt/report.html").is_file()
    assert done.commands["serve"] == f"zhixing serve {done.out / 'models' / done.report.choice.best}"
    assert f"--init-from {done.out / 'models' / 'gpt'} --ids {done.out / 'ids'}" in done.commands["continue"]
    assert all(command in page for command in done.commands.values())


def test_its_recipe_makes_the_same_comparison(done: QuickstartResult, tiny_text: Path) -> None:
    recipe = load_settings(CompareRecipe, done.out / "recipe.yaml")
    assert to_yaml(recipe) == to_yaml(quickstart_recipe([str(tiny_text)], MINUTES))


def test_its_gpt_is_that_of_the_recipe(done: QuickstartResult, tiny_text: Path) -> None:
    made = load_settings(Recipe, done.out / "models" / "gpt" / "recipe.yaml")
    looks = {name: getattr(made.training, name) for name in ("validate_every", "validation_windows")}
    wanted = gpt_recipe([str(tiny_text)], MINUTES)
    assert made == wanted.replace(training=wanted.training.replace(**looks))


def test_started_again_it_only_tells(done: QuickstartResult, tiny_text: Path) -> None:
    def stamps() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in (done.out / "models").rglob("*") if path.is_file()}

    before = stamps()
    words = ["--text", str(tiny_text), "--out", str(done.out), "--minutes", str(MINUTES), "--json"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout.splitlines()[-1])
    assert told["bits_per_byte"] == done.bits_per_byte and told["commands"] == dict(done.commands)
    assert stamps() == before


def test_other_minutes_or_another_text_are_refused(done: QuickstartResult, tiny_text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gpt was made with other settings \(training.minutes: 0.02 → 0.5\)"):
        quickstart(done.out, text=[str(tiny_text)], minutes=0.5)
    (tmp_path / "two.txt").write_text("word " * 500, encoding="utf-8")
    with pytest.raises(Exception, match="choose another"):
        quickstart(done.out, text=[str(tmp_path)], minutes=MINUTES)


def test_too_little_text_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a single short text", encoding="utf-8")
    with pytest.raises(ConfigError, match="at least two held-out documents"):
        quickstart(tmp_path / "out", text=[str(tmp_path / "one.txt")], minutes=MINUTES)
    assert not (tmp_path / "out" / "models").exists()
