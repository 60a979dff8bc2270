"""The pages of theory and the functions of ``zhixing.theory`` cite each other, equation by equation.

A page is ``docs/theory/<family>.md`` and ``.zh.md``, the family being the name of the file of theory. Its equations are
numbered ``\\tag{family.n}``, and a function names in its docstring those it computes: "Equation (family.n)."
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
from pathlib import Path

import pytest

import zhixing.theory

FOLDER = Path(__file__).parents[2] / "docs" / "theory"
FAMILIES = sorted(module.name for module in pkgutil.iter_modules(zhixing.theory.__path__))
PAGES_TO_COME: set[str] = set()
"""Families whose page is still to be written."""
PAGES = [family for family in FAMILIES if family not in PAGES_TO_COME]
TAG = re.compile(r"\\tag\{([a-z_]+)\.(\d+)\}")
CITED = re.compile(r"\(([a-z_]+\.\d+)\)")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DISPLAY = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.MULTILINE | re.DOTALL)
VERIFIED = re.compile(r"`zhixing verify --only (\w+)`")
TEXT = re.compile(r"\\text\{[^}]*\}")


def page(family: str, language: str = "") -> str:
    return (FOLDER / f"{family}{language}.md").read_text(encoding="utf-8")


def tags(text: str) -> list[str]:
    return [".".join(found) for found in TAG.findall(text)]


def public_functions(family: str) -> dict[str, str]:
    """Return the docstring of every public function of a file, those of its classes included."""
    module = importlib.import_module(f"zhixing.theory.{family}")
    own = [member for _, member in inspect.getmembers(module) if getattr(member, "__module__", "") == module.__name__]
    classes = [member for member in own if inspect.isclass(member)]
    methods = [member for owner in classes for member in vars(owner).values() if inspect.isfunction(member)]
    functions = [member for member in (*own, *methods) if inspect.isfunction(member)]
    public = [f for f in functions if not f.__name__.startswith("_") and f.__module__ == module.__name__]
    return {f.__qualname__: inspect.getdoc(f) or "" for f in public}


@pytest.mark.parametrize("family", PAGES)
@pytest.mark.parametrize("language", ["", ".zh"])
def test_equations_are_numbered_in_order(family, language):
    text = page(family, language)
    found = tags(text)
    assert found == [f"{family}.{n}" for n in range(1, len(found) + 1)] != []
    assert [display for display in DISPLAY.findall(text) if len(TAG.findall(display)) != 1] == []
    assert text.count("$$") == 2 * len(found)


@pytest.mark.parametrize("family", PAGES)
def test_both_languages_state_the_same_equations(family):
    ours, theirs = ([TEXT.sub("", display) for display in DISPLAY.findall(page(family, zh))] for zh in ("", ".zh"))
    assert ours == theirs


@pytest.mark.parametrize("family", PAGES)
def test_every_function_cites_an_equation_and_every_equation_is_cited(family):
    functions, stated = public_functions(family), set(tags(page(family)))
    cited = {
        name: {ref for ref in CITED.findall(doc) if ref.startswith(f"{family}.")} for name, doc in functions.items()
    }
    assert [name for name, refs in cited.items() if not refs] == []
    assert {name: refs - stated for name, refs in cited.items() if refs - stated} == {}
    assert stated - set().union(*cited.values()) == set()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.name)
def test_equations_mentioned_exist(path):
    mentioned = set(CITED.findall(path.read_text(encoding="utf-8")))
    known = {ref for ref in mentioned if ref.split(".")[0] in PAGES and ref in tags(page(ref.split(".")[0]))}
    assert {ref for ref in mentioned if ref.split(".")[0] in FAMILIES} == known == mentioned


@pytest.mark.parametrize("family", PAGES)
@pytest.mark.parametrize("language", ["", ".zh"])
def test_examples_print_what_the_page_shows(family, language):
    (code,) = BLOCK.findall(page(family, language))
    shown = [line.partition("  # ")[2] for line in code.splitlines() if line.lstrip().startswith("print(")]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, f"{family}{language}.md", "exec"), {})
    assert out.getvalue().splitlines() == shown != []


@pytest.mark.parametrize("family", PAGES)
def test_page_names_where_it_lives(family):
    table = page("README")
    for language in ("", ".zh"):
        text = page(family, language)
        assert f"src/zhixing/theory/{family}.py" in text and f"`tests/theory/test_{family}.py`" in text
        assert VERIFIED.search(text) or "to come" in text or "尚待实现" in text
        assert f"({family}{language}.md)" in table


@pytest.mark.parametrize("family", PAGES)
@pytest.mark.parametrize("language", ["", ".zh"])
def test_topics_named_exist_and_show_the_family(family, language):
    from zhixing.explain.topics import topics

    listed = re.search(r"`zhixing explain NAME`(?::|：)(.*?)(?=\n- )", page(family, language), re.DOTALL)
    named = re.findall(r"`([\w-]+)`", listed[1]) if listed else []
    known = topics()
    assert set(named) <= set(known)
    shown = {name: {function.__module__ for function in known[name].theory} for name in named}
    assert [name for name, modules in shown.items() if f"zhixing.theory.{family}" not in modules] == []
    assert bool(named) == bool(listed)


def test_no_page_without_theory():
    known = {f"{family}{language}.md" for family in PAGES for language in ("", ".zh")}
    assert {path.name for path in FOLDER.glob("*.md")} == known | {"README.md", "errata.md", "errata.zh.md"}
    assert set(FAMILIES) >= PAGES_TO_COME
