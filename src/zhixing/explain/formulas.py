r"""Formulas: LaTeX once, MathML for the page; the terminal lays the same tree out in characters.

The tree is latex2mathml's, mended where browsers would set it badly: ``\log p`` needs a space, a named function is a
name and not an operator, ``\sim`` is not the tilde of the keyboard, bars of a norm are not stretched by what follows.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup, escape

Element = ElementTree.Element

_SPACE = "{http://www.w3.org/1998/Math/MathML}"
_SCRIPTED = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
_UNSTRETCHED = "|‖"


def tree(latex: str, *, block: bool = False) -> Element:
    """Return the mended MathML tree of a formula; ``block``: limits stand above and below a sum.

    Raises:
        ValueError: the LaTeX cannot be read.
    """
    return _tree(latex, block)


@lru_cache(maxsize=2048)
def _tree(latex: str, block: bool) -> Element:
    try:
        root = ElementTree.fromstring(convert(_escaped(latex), display="block" if block else "inline"))
    except Exception as error:  # the library raises a class of its own for each fault
        raise ValueError(f"not a formula: {latex!r}: {type(error).__name__} {error}") from error
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SPACE)
        element.attrib.pop("style", None)  # the page's policy admits no style attribute
        _mend(element)
    for element in list(root.iter()):
        if element.tag not in (*_SCRIPTED, "mfrac", "mroot"):
            _group(element)
    for element in list(root.iter()):
        if element.tag not in (*_SCRIPTED, "mfrac", "mroot"):
            _set_apart(element)
    return root


def _escaped(latex: str) -> str:
    """Escape the words in a formula, which the library copies into the markup as they are."""
    return re.sub(r"(?<=\\text\{)[^{}]*", lambda words: str(escape(words.group())), latex)


def mathml(latex: str, *, block: bool = False) -> Markup:
    """Return a ``<math>`` element, with the LaTeX as its accessible alternative."""
    root = tree(latex, block=block)
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    display = Markup(' display="block"') if block else Markup()
    return Markup("<math{} aria-label={}>{}</math>").format(display, _quoted(latex), Markup(inner))


def _quoted(text: str) -> Markup:
    return Markup('"{}"').format(text)


def _mend(element: Element) -> None:
    text = element.text or ""
    most = {"msub": 2, "msup": 2, "msubsup": 3}.get(element.tag, len(element))
    if len(element) > most:  # a matrix in parentheses with an index: the library leaves them apart
        row = ElementTree.Element("mrow")
        row.extend(element[: len(element) - most + 1])
        element[:] = [row, *element[len(row) :]]
    if element.tag == "mo" and len(text) > 1 and text.isalpha():
        element.tag = "mi"
        element.attrib.clear()
    elif element.tag in ("mo", "mi") and text == "~":
        element.tag = "mo"
        element.text = "∼"
    elif element.tag == "mo" and text in _UNSTRETCHED and "fence" not in element.attrib:
        element.set("stretchy", "false")


def _group(row: Element) -> None:
    """Put what stands between parentheses into a row of its own, so that they grow with that and nothing else."""
    opened: list[int] = []
    children: list[Element] = []
    for child in list(row):
        closing = child[0] if child.tag in ("msup", "msub", "msubsup") else child
        mark = (closing.text or "") if closing.tag == "mo" else ""
        children.append(child)
        if mark == "(" and closing is child:
            opened.append(len(children) - 1)
        elif mark == ")" and opened:
            start = opened.pop()
            group = ElementTree.Element("mrow")
            group.extend([*children[start:-1], closing])
            for fence in (group[0], group[-1]):
                fence.attrib.pop("stretchy", None)
            del children[start:]
            if closing is not child:  # the closing parenthesis carries an index: now the group does
                child.remove(closing)
                child.insert(0, group)
            children.append(group if closing is child else child)
    row[:] = children


def _set_apart(row: Element) -> None:
    """Put a thin space between a function's name and an argument without parentheses, and before the name."""
    children = list(row)
    for left, right in pairwise(children):
        beside = (is_function(left) and not _opens(right)) or (is_function(right) and _is_operand(left))
        if beside and right.tag != "mo" and left.tag != "mspace" and right.tag != "mspace":
            row.insert(list(row).index(right), ElementTree.Element("mspace", width="0.1667em"))


def is_function(element: Element) -> bool:
    """Say whether an element is the name of a function, with or without indices."""
    if element.tag in _SCRIPTED and len(element):
        return is_function(element[0])
    text = element.text or ""
    return element.tag == "mi" and len(text) > 1 and text.isalpha() and text.isascii()


def _opens(element: Element) -> bool:
    if element.tag in ("mrow", *_SCRIPTED) and len(element):
        return _opens(element[0])
    return element.tag == "mo" and (element.text or "") in tuple("([{|‖⟨⌊⌈")


def _is_operand(element: Element) -> bool:
    return element.tag in ("mi", "mn", "mfrac", "msqrt", *_SCRIPTED) or (
        element.tag == "mo" and (element.text or "") in tuple(")]}⟩⌋⌉")
    )
