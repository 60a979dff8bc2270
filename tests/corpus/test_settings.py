"""Settings of the reading that have to fit each other."""

import pytest

from zhixing.config import load_settings
from zhixing.corpus.settings import TextSettings
from zhixing.errors import ConfigError


@pytest.mark.parametrize("given", [["source_field=en"], ["target_field=de"], ["source_field=''", "target_field=de"]])
def test_a_pair_has_two_fields(given: list[str]) -> None:
    with pytest.raises(ConfigError, match="go together"):
        load_settings(TextSettings, None, given)


def test_the_two_fields_differ() -> None:
    with pytest.raises(ConfigError, match="both 'en'"):
        load_settings(TextSettings, None, ["source_field=en", "target_field=en"])
    assert load_settings(TextSettings, None, ["source_field=en", "target_field=de"]).pair_fields == ("en", "de")
    assert TextSettings().pair_fields == ()
