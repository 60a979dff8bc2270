"""The recipe's tree."""

import pytest

from zhixing.config import digest
from zhixing.models.gpt2 import GPT2Settings
from zhixing.models.llama import LlamaSettings
from zhixing.models.mixture import MixtureSettings
from zhixing.models.ngram import NgramSettings
from zhixing.pretraining.recipe import Recipe, schema


def test_the_family_chooses_the_settings() -> None:
    kinds = {"llama": LlamaSettings, "gpt2": GPT2Settings, "ngram": NgramSettings, "mixture": MixtureSettings}
    for family, kind in kinds.items():
        assert type(Recipe.model_validate_json(f'{{"model": {{"family": "{family}"}}}}').model) is kind


def test_equal_recipes_have_equal_digests() -> None:
    assert digest(Recipe()) == digest(Recipe(seed=0)) != digest(Recipe(seed=1))
    assert len(digest(Recipe())) == 64


def test_the_schema_is_for_editors() -> None:
    found = schema()
    assert found["$schema"].startswith("https://json-schema.org/")
    assert found["additionalProperties"] is False
    assert found["properties"]["model"]["discriminator"]["propertyName"] == "family"


def test_a_name_must_not_be_empty() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Recipe(name="")
