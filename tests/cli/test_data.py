"""``zhixing data show``: a recipe, a run's folder, or shards."""

import json

import pytest
from typer.testing import CliRunner

import zhixing
from zhixing.cli.app import main
from zhixing.cli.data import app


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown_text")
    for index in range(20):
        (folder / f"{index}.txt").write_text(f"Note {index}: the cat sat on the mat.\n", encoding="utf-8")
    return folder


def show(*words):
    result = CliRunner().invoke(app, ["show", *map(str, words)])
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.stdout


def test_a_recipe_prints_the_batch_and_keeps_the_ids_only_where_asked(text, tmp_path):
    words = ["recipes/tiny-bert.yaml", "--set", f"text.paths=[{text}]", "--batch", 1, "--rows", 1]
    printed = show(*words)
    assert "objective masked" in printed and "[<|mask|>→" in printed and "and 3 more rows" in printed
    assert "batch 1: positions 4 to 7" in printed
    assert show(*words, "--ids", tmp_path / "ids") == printed
    assert (tmp_path / "ids" / "shards" / "train").is_dir()
    written = (tmp_path / "ids" / "shards" / "train").stat().st_mtime_ns
    assert show(*words, "--out", tmp_path / "ids", "--places", "0:4", "--attention").count("█") >= 4
    assert (tmp_path / "ids" / "shards" / "train").stat().st_mtime_ns == written


def test_json_and_the_folder_of_a_run(text, tmp_path):
    settings = [f"text.paths=[{text}]", "training.steps=2", "training.threads=1", "training.compile=no"]
    zhixing.train("recipes/tiny-gpt.yaml", tmp_path / "run", overrides=settings, announce=False)
    of_run = json.loads(show(tmp_path / "run", "--json"))
    of_recipe = json.loads(show("recipes/tiny-gpt.yaml", "--set", settings[0], "--json"))
    assert of_run == of_recipe and of_run["objective"] == "causal" and len(of_run["rows"]) == 2
    (part,) = of_run["rows"][0]["parts"]
    asked = [place for place, weight in enumerate(part["weights"][:-1]) if weight]
    assert asked and all(part["targets"][place] == part["ids"][place + 1] for place in asked)
    assert part["visible"][1][:3] == [1, 1, 0]


@pytest.mark.parametrize(
    "words, said",
    [
        (["recipes/tiny-gpt.yaml", "--batch-size", "3"], "--batch-size: set these in the recipe"),
        (["recipes/tiny-gpt.yaml", "--places", "4"], "FROM:TO"),
        (["recipes/tiny-ngram.yaml"], "reads the whole text in one go"),
        (["recipes/no-such.yaml"], "no-such.yaml"),
        (["src", "--tokenizer", "src", "--ids", "x"], "--ids: these go with a recipe"),
        (["src"], "needs --tokenizer"),
        (["src", "--batch-size", "1000000000"], "at most 1,048,576 tokens are shown"),
        (["src", "--context-length", "100000000"], "at most 1,048,576 tokens are shown"),
        (["n" * 300], "File name too long"),
    ],
)
def test_what_does_not_fit_is_said_in_one_sentence(words, said, capfd):
    with pytest.raises(SystemExit) as ended:
        main(["data", "show", *words])
    assert ended.value.code == 2
    message = capfd.readouterr().err
    assert said in message and "Traceback" not in message
