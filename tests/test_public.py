"""The public names of ``zhixing``: there, the right ones, and of no cost before use."""

import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zhixing

ROOT = Path(__file__).parents[1]


def modules_after(program: str) -> set[str]:
    code = f"{program}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    loaded = modules_after("import zhixing; dir(zhixing)")
    assert not loaded & {"torch", "pydantic", "numpy", "typer", "rich", "yaml", "tokenizers"}


def test_every_public_name_is_a_documented_function() -> None:
    for name in set(zhixing.__all__) - {"__version__"}:
        found = getattr(zhixing, name)
        assert inspect.isfunction(found), name
        assert found.__doc__, name
        signature = inspect.signature(found)
        assert signature.return_annotation is not inspect.Signature.empty, name
    assert dir(zhixing) == zhixing.__all__


def test_no_module_bears_the_name_of_a_public_function() -> None:
    """Importing such a module would put it in the function's place."""
    import importlib.util

    for name in set(zhixing.__all__) - {"__version__"}:
        assert importlib.util.find_spec(f"zhixing.{name}") is None, name


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        zhixing.trian  # noqa: B018


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert zhixing.__version__ == project["version"]
