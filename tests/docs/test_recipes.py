"""Every recipe loads, says what its fields mean, and the small GPT's is the quickstart's."""

import re
from pathlib import Path

import pytest

from zhixing.comparison.settings import CompareRecipe
from zhixing.config import load_settings
from zhixing.pretraining.recipe import Recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
SCHEMA = "# yaml-language-server: $schema="


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_loads_and_is_named_like_its_file(path):
    kind = CompareRecipe if path.stem.endswith("compare") else Recipe
    assert load_settings(kind, path).name == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_begins_with_its_schema_and_explains_its_fields(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith(SCHEMA)
    assert (path.parent / lines[0].removeprefix(SCHEMA)).is_file()
    silent = [line for line in lines[1:] if re.match(r"\s+\w+: \S", line) and "#" not in line]
    # The family is named by the file; "kind" below optimizer and schedule is its own explanation.
    assert [line for line in silent if line.split(":")[0].strip() not in ("family", "kind")] == []


def test_every_recipe_has_a_tiny_variant():
    names = {path.stem for path in RECIPES}
    assert {f"tiny-{name}" for name in names if not name.startswith("tiny-")} <= names


@pytest.mark.parametrize("page", ["train.md", "train.zh.md"])
def test_the_pages_of_train_name_every_recipe(page):
    text = (ROOT / "docs" / "verbs" / page).read_text(encoding="utf-8")
    names = {path.stem for path in RECIPES if not path.stem.startswith("tiny-")} - {"compare"}
    assert {name for name in names if f"](../../recipes/{name}.yaml)" not in text} == set()


@pytest.mark.parametrize("name", ["contrastive", "tiny-contrastive"])
def test_sentences_begin_with_the_shape_of_the_masked_model(name):
    ours, start = (
        load_settings(Recipe, ROOT / "recipes" / f"{n}.yaml") for n in (name, name.replace("contrastive", "bert"))
    )
    same = ("text", "tokenizer", "model") if not name.startswith("tiny") else ("tokenizer", "model")
    for part in same:
        left, right = (one.model_dump()[part] for one in (ours, start))
        assert {k for k in left if left[k] != right[k]} <= {"dropout"}


def test_gpt_recipe_is_the_quickstarts():
    from zhixing.main_job import gpt_recipe

    assert load_settings(Recipe, ROOT / "recipes" / "gpt.yaml") == gpt_recipe()


@pytest.mark.parametrize("members", [("gpt", "ngram", "mixture"), ("tiny-gpt", "tiny-ngram", "tiny-mixture")])
def test_what_is_mixed_shares_text_and_tokenizer(members):
    first, *others = (load_settings(Recipe, ROOT / "recipes" / f"{name}.yaml") for name in members)
    assert all(other.text == first.text and other.tokenizer == first.tokenizer for other in others)
