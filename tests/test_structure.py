"""The package stays readable in parts: no function is longer than a screen."""

import ast
from pathlib import Path

import zhixing

LONGEST = 60
FOLDER = Path(zhixing.__file__).parent


def test_no_function_is_longer_than_a_screen():
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST:
                    found[f"{path.relative_to(FOLDER)}:{node.name}"] = length
    assert found == {}
