"""A foreign ``config.json`` is read strictly, and what is wrong is named."""

import pytest

from zhixing.errors import ModelFolderError
from zhixing.models.interop.fields import ConfigReader
from zhixing.models.llama import LlamaSettings

READ = ConfigReader({"n": 7, "x": 0.5, "yes": True, "text": "7", "nothing": None, "kinds": ["a", "b"]})


def test_good_values():
    assert READ.integer("n") == 7 and READ.integer("absent", 3) == 3
    assert READ.number("x") == 0.5 and READ.number("n") == 7.0 and READ.number("absent", 1e-5) == 1e-5
    assert READ.optional_integer("nothing") is None and READ.optional_integer("absent") is None
    assert READ.optional_integer("n") == 7
    READ.require("yes", (True,), default=False)
    READ.require("absent", (False,), default=False)
    READ.require_each("kinds", ("a", "b", "c"))
    READ.require_each("absent", ("a",))
    READ.require_each("nothing", ("a",))


@pytest.mark.parametrize("name", ["yes", "text", "x", "nothing", "kinds", "absent"])
def test_no_whole_number(name):
    with pytest.raises(ModelFolderError, match=rf"config\.json: {name} should be a whole number"):
        READ.integer(name)


@pytest.mark.parametrize("name", ["yes", "text", "nothing", "kinds", "absent"])
def test_no_number(name):
    with pytest.raises(ModelFolderError, match=rf"config\.json: {name} should be a number"):
        READ.number(name)


def test_a_value_that_is_not_supported():
    with pytest.raises(ModelFolderError, match=r"text = '7' is not supported \(only 'relu', 'silu'\)"):
        READ.require("text", ("relu", "silu"), default="relu")
    with pytest.raises(ModelFolderError, match="kinds = 'b'"):
        READ.require_each("kinds", ("a",))
    with pytest.raises(ModelFolderError, match="n = 7"):
        READ.require_each("n", ("a",))


def test_settings_that_do_not_fit_together():
    with pytest.raises(ModelFolderError, match=r"config\.json: heads \(4\) must be a multiple"):
        READ.build(LlamaSettings, heads=4, key_value_heads=3)
    with pytest.raises(ModelFolderError, match=r"config\.json: layers: .* 1; width: .* 1"):
        READ.build(LlamaSettings, layers=0, width=-4)
