"""Recipes: what is refused and how it is said, what goes round, what is documented."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from zhixing.comparison.settings import CompareRecipe
from zhixing.config import (
    Settings,
    brought_up,
    describe_fields,
    differences,
    digest,
    load_settings,
    setting,
    to_yaml,
)
from zhixing.errors import ConfigError
from zhixing.models.gpt2 import GPT2Settings
from zhixing.pretraining.recipe import Recipe, schema

ROOT = Path(__file__).parents[1]
STEPS = "training: {steps: 3}\n"


def refusal(tmp_path: Path, text: str | bytes, *overrides: str) -> str:
    path = tmp_path / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_settings(Recipe, path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(path), "r.yaml")


def accepted(tmp_path: Path, text: str, *overrides: str) -> Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(Recipe, path, overrides)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (STEPS + "nmae: x", (), "r.yaml:2: unknown key 'nmae'; did you mean 'name'?"),
        (
            "training:\n  steps: 3\n  optimizer:\n    lerning_rate: 1",
            (),
            "r.yaml:4: unknown key 'training.optimizer.lerning_rate'; did you mean 'learning_rate'?",
        ),
        (
            STEPS + "model:\n  family: gpt2\n  layrs: 2",
            (),
            "r.yaml:4: unknown key 'model.layrs'; did you mean 'layers'?",
        ),
        # the names offered are those of the family that was chosen
        (
            STEPS + "model: {family: ngram, width: 3}",
            (),
            "r.yaml:2: unknown key 'model.width'; known: family, order",
        ),
        (STEPS + "model: {family: lama}", (), "r.yaml:2: 'model.family' = \"lama\": did you mean 'llama'?"),
        (STEPS + "model: {layers: 2}", (), "r.yaml:2: 'model.family' is missing; add it"),
        (
            STEPS,
            ("trainnig.steps=3",),
            "--set trainnig.steps: unknown key 'trainnig'; did you mean 'training'?",
        ),
        (
            STEPS,
            ("model.family=gpt2", "model.layrs=3"),
            "--set model.layrs: unknown key 'model.layrs'; did you mean 'layers'?",
        ),
        (
            STEPS,
            ("training.optimizer.beta3=1",),
            "--set training.optimizer.beta3: unknown key 'training.optimizer.beta3'; did you mean 'beta2'?",
        ),
        (STEPS + "1: 2", (), "r.yaml:2: unknown key '1'; known: data, model, name"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, overrides: tuple[str, ...], message: str) -> None:
    assert refusal(tmp_path, text, *overrides).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  steps: 3\n  steps: 4", "r.yaml:3: 'steps' is given twice (first on line 2); keep one"),
        ("training:\n  steps: 3.5", "r.yaml:2: 'training.steps' = 3.5: must be a whole number"),
        ("training:\n  steps: 1e3", "r.yaml:2: 'training.steps' = 1000.0: must be a whole number"),
        ("training:\n  steps: '3'", "r.yaml:2: 'training.steps' = \"3\": must be a whole number"),
        ("training:\n  steps: 0", "r.yaml:2: 'training.steps' = 0: must be at least 1"),
        ("training:\n  steps: true", "r.yaml:2: 'training.steps' = true: must be a whole number"),
        ("training: {minutes: .inf}", "r.yaml:1: 'training.minutes' = Infinity: must be a finite number"),
        ("training: {minutes: 1:30}", "r.yaml:1: 'training.minutes' = \"1:30\": must be a number"),
        ("training: [1]", "r.yaml:1: 'training' = [1]: must be 'name: value' lines"),
        ("training:", "r.yaml:1: 'training' = null: must be 'name: value' lines"),
        (STEPS + "data: {shuffle: yes}", "r.yaml:2: 'data.shuffle' = \"yes\": must be true or false"),
        (STEPS + "name: 3", "r.yaml:2: 'name' = 3: must be text"),
        (STEPS + "seed: 010", "r.yaml:2: 'seed' = \"010\": must be a whole number"),
        (STEPS + "seed: 9223372036854775808", "r.yaml:2: 'seed' = 9223372036854775808: must be less than"),
        (STEPS + "text: {paths: abc}", "r.yaml:2: 'text.paths' = \"abc\": must be a list"),
        (STEPS + "text:\n  paths:\n  - a\n  - 3", "r.yaml:5: 'text.paths.1' = 3: must be text"),
        (
            STEPS + "text: {on_error: ignore}",
            "r.yaml:2: 'text.on_error' = \"ignore\": must be one of: 'fail'",
        ),
        (STEPS + "model: {family: llama, heads: 3, width: 32}", "r.yaml:2: 'model' = {"),
        ("training: {clip_norm: 1}", "r.yaml:1: 'training' = {\"clip_norm\": 1}: give at least one budget"),
        ("training: {steps: 1, patience: 2}", "r.yaml:1: 'training' = "),
        (
            "training:\n  steps: 1\n  schedule: {warmup: 0.6, decay: 0.5}",
            'r.yaml:3: \'training.schedule\' = {"warmup": 0.6, "decay": 0.5}: warmup and decay together',
        ),
    ],
)
def test_a_value_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "r.yaml:1: not valid YAML: mapping values are not allowed here"),
        ("name: x\nb: 'c", "r.yaml:2: not valid YAML"),
        ("name: x\n\tseed: 1", "r.yaml:2: not valid YAML"),
        ("name: x\n# fine\nseed: \x00", "r.yaml:3: not valid YAML: special characters are not allowed"),
        ("name: a\n---\nname: b", "r.yaml:2: not valid YAML"),
        ("name: *x", "r.yaml:1: not valid YAML: found undefined alias"),
        ("a: &x {b: *x}", "r.yaml:1: not valid YAML: it is nested too deeply, or an anchor holds itself"),
        ("? [a]\n: 3", "r.yaml:1: not valid YAML: a key must be one word"),
        ("name: !!python/object/apply:os.getcwd []", "r.yaml:1: not valid YAML: could not determine"),
        ("- a", "r.yaml: a recipe is a list of 'name: value' lines"),
        ("name: !!binary aGVsbG8=", "r.yaml: only plain values can stand in a recipe"),
        (b"\xff\xfea", "cannot read the recipe r.yaml: 'utf-8' codec can't decode"),
        ("training: {steps: " + "9" * 5000 + "}", "r.yaml:1: not valid YAML: Exceeds the limit"),
    ],
)
def test_what_is_not_yaml(tmp_path: Path, text: str | bytes, message: str) -> None:
    said = refusal(tmp_path, text)
    assert said.startswith(message)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.steps", "--set training.steps: write it as name=value"),
        ("=3", "--set =3: write it as name=value"),
        ("training..steps=3", "--set training..steps=3: write it as name=value"),
        ("training.steps=[1", "--set training.steps=[1: not a YAML value"),
        ("name.first=x", '--set name.first: \'name\' = {"first": "x"}: must be text'),
        ("training.steps=many", "--set training.steps: 'training.steps' = \"many\": must be a whole number"),
    ],
)
def test_an_override_that_does_not_fit(tmp_path: Path, override: str, message: str) -> None:
    assert refusal(tmp_path, STEPS, override).startswith(message)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, STEPS + "nmae: x\nseed: -1\nmodel: {family: gpt2, layrs: 1}")
    assert [line.split(":")[1] for line in said.splitlines()] == ["3", "4", "2"]


def test_messages_are_in_chinese_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", "zh")
    assert refusal(tmp_path, STEPS + "nmae: x") == "r.yaml:2：未知的键 'nmae'；是否想写 'name'？"
    assert refusal(tmp_path, "training:\n  steps: 0") == "r.yaml:2：'training.steps' = 0：须不小于 1"


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"cannot read the recipe .*"):
            load_settings(Recipe, path)


def test_values_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    recipe = accepted(
        tmp_path,
        "\ufeffname: 'off'\nseed: 1_000\ndata: {isolate_documents: no}\n"
        "training: {compile: yes, tokens: 0x10, optimizer: {learning_rate: 1e-3, epsilon: 1E-8, l1: .5}}",
        "training.optimizer.l2=2e-05",
        "model.family=gpt2",
    )
    assert (recipe.name, recipe.seed, recipe.data.isolate_documents) == ("off", 1000, "no")
    assert (recipe.training.compile, recipe.training.tokens) == ("yes", 16)
    optimizer = recipe.training.optimizer
    assert (optimizer.learning_rate, optimizer.epsilon, optimizer.l1, optimizer.l2) == (1e-3, 1e-8, 0.5, 2e-5)
    assert isinstance(recipe.model, GPT2Settings)


def test_anchors_and_merges(tmp_path: Path) -> None:
    recipe = accepted(
        tmp_path,
        "training:\n  steps: &n 7\n  batch_windows: *n\n  optimizer: &o {kind: adam}\n  <<: {log_every: 2}\n",
    )
    assert (recipe.training.steps, recipe.training.batch_windows, recipe.training.log_every) == (7, 7, 2)


def test_an_empty_file_is_the_default_recipe(tmp_path: Path) -> None:
    assert accepted(tmp_path, "# nothing\n") == Recipe() == load_settings(Recipe, None)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_loads(path: Path, tmp_path: Path) -> None:
    kind = CompareRecipe if path.stem.endswith("compare") else Recipe
    recipe = load_settings(kind, path)
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(recipe), encoding="utf-8")
    assert load_settings(kind, again) == recipe
    assert digest(load_settings(kind, again)) == digest(recipe)


class Odd(Settings):
    """Every kind of value."""

    text: str = setting("", "text", "文本")
    maybe: str | None = setting(None, "maybe", "或许")
    whole: int = setting(0, "whole", "整数")
    real: float = setting(0.0, "real", "实数")
    names: tuple[str, ...] = setting((), "names", "名称")


ODD_TEXT = st.text(st.characters(blacklist_categories=("Cs",))) | st.sampled_from(
    [
        "yes",
        "no",
        "off",
        "1e-3",
        "0x1f",
        "010",
        "0o17",
        "1_0",
        "1:30",
        "~",
        "null",
        "<<",
        "2026-01-31",
        ".inf",
    ]
)


@given(ODD_TEXT, st.none() | ODD_TEXT, st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, text: str, maybe: str | None, whole: int, real: float
) -> None:
    odd = Odd(text=text, maybe=maybe, whole=whole, real=real, names=(text, "b"))
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_text(to_yaml(odd), encoding="utf-8")
    assert load_settings(Odd, path) == odd
    assert yaml.safe_load(to_yaml(odd))["text"] == text  # other programs read the same


def test_settings_cannot_be_changed_only_replaced() -> None:
    odd = Odd(text="a")
    with pytest.raises(ValueError, match="frozen"):
        odd.text = "b"  # type: ignore[misc]
    assert (odd.replace(whole=3), odd.text) == (Odd(text="a", whole=3), "a")
    with pytest.raises(ValueError, match="whole"):
        odd.replace(whole="3")
    assert digest(odd) == digest(Odd(text="a")) != digest(odd.replace(whole=3))


def test_differences_are_named_with_both_values() -> None:
    before = {"a": {"b": 1, "c": 2}, "d": 3, "gone": 4}
    after = {"a": {"b": 1, "c": 5}, "d": 3, "new": 6}
    assert differences(before, after) == {"a.c": (2, 5), "gone": (4, None), "new": (None, 6)}
    assert differences(before, before) == {}


def test_settings_of_an_earlier_version_are_brought_up() -> None:
    now = Recipe(model=GPT2Settings(layers=3)).model_dump(mode="json")
    before = json.loads(json.dumps(now))
    del before["text"]["encoding"], before["model"]["dropout"], before["training"]
    assert brought_up(Recipe, before) == now
    unknown = {**now, "gone": 1}
    assert brought_up(Recipe, unknown) == unknown  # and a comparison will name it


def test_the_shipped_schema_is_current() -> None:
    shipped = ROOT / "src/zhixing/pretraining/recipe.schema.json"
    assert json.loads(shipped.read_text(encoding="utf-8")) == schema(), "run: make schema"


def fields(kind: type[Settings], where: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf field of a settings tree, all the families of models included."""
    for name, field in kind.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, Settings)]
        for option in inner:
            yield from fields(option, f"{where}{name}.")
        if not inner:
            yield where + name, field


def test_every_field_says_what_it_means_in_both_languages() -> None:
    found = [(name, field) for name, field in fields(Recipe, "") if name != "model.family"]
    assert len(found) > 60
    for name, field in found:
        assert field.description, name
        assert any("\u4e00" <= letter <= "\u9fff" for letter in field.json_schema_extra["zh"]), name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_field_is_described(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHIXING_LANG", language)
    rows = describe_fields(schema())
    assert {name for name, *_ in rows} == {name for name, _ in fields(Recipe, "")}
    described = {name: (default, unit, meaning) for name, default, unit, meaning in rows}
    default, _, meaning = described["training.clip_norm"]
    assert (default, meaning) == ("1.0", "全局梯度范数上限；0 表示不裁剪" if language == "zh" else meaning)
    assert described["training.minutes"][1] == "minutes"
    assert "[sgd | momentum | rmsprop | adam | adamw | muon]" in described["training.optimizer.kind"][2]
