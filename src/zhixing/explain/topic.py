"""What a topic is: everything a reader is shown about one idea of the field, free of how it is rendered.

A topic is made by a function without arguments, so that its texts are in the language of the moment. Its worked
example and its picture are computed by calling ``theory`` with inputs that the reader may change, never written down
as numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from zhixing.config import Settings
from zhixing.explain.pictures import Picture

InputsT = TypeVar("InputsT", bound=Settings)


@dataclass(frozen=True)
class Step:
    """One step of a worked example: a sentence, optionally the formula it evaluates, and what came out.

    ``value``: a number, a text, or an array of one or two axes; ``rows`` and ``columns`` label its axes (a vector is
    one row: only ``columns``).
    """

    says: str
    value: float | str | NDArray[Any] | None = None
    formula: str = ""
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class Topic(Generic[InputsT]):
    """One idea. Texts are in the reader's language; formulas are LaTeX.

    Attributes:
        name: what ``zhixing explain`` is asked for; lower case, hyphens.
        family: the file of ``theory`` it belongs to, e.g. ``attention``.
        title: its name in words.
        idea: three sentences: the question, the answer, the consequence.
        formula: the defining equations, LaTeX without dollars, one per line shown.
        symbols: LaTeX of a symbol to its meaning, with shape and unit.
        inputs: the worked example's inputs with their defaults; the fields of ``--set``.
        example: the worked example, step by step, computed from the inputs with the functions in ``theory``.
        pitfalls: what people get wrong.
        papers: author, year, title, where in it.
        theory: the functions of ``zhixing.theory`` that state it.
        practice: ``module:name`` of the production code (or ``module:Class.method``); empty: not built yet.
        picture: what to draw from the inputs; None: a picture would not help.
        related: names of other topics.
    """

    name: str
    family: str
    title: str
    idea: tuple[str, str, str]
    formula: tuple[str, ...]
    symbols: Mapping[str, str]
    inputs: type[InputsT]
    example: Callable[[InputsT], Iterator[Step]]
    pitfalls: tuple[str, ...]
    papers: tuple[str, ...]
    theory: tuple[Callable[..., Any], ...]
    practice: tuple[str, ...] = ()
    picture: Callable[[InputsT], Picture] | None = None
    related: tuple[str, ...] = ()
