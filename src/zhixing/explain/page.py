"""A lesson as one HTML page that opens offline, loads nothing, and runs no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import PythonLexer  # type: ignore[import-untyped]

from zhixing.explain import svg_charts, svg_maps
from zhixing.explain.families import by_family, family_name
from zhixing.explain.formulas import mathml
from zhixing.explain.lesson import Lesson, describe, example_change
from zhixing.explain.pictures import Bars, HeatMap, Lattice, Lines, Picture, Tree, Valley
from zhixing.explain.places import practice_place, theory_code, theory_place
from zhixing.explain.rounding import number, table
from zhixing.explain.topic import Step, Topic
from zhixing.language import current_language, tr


def lesson_page(lesson: Lesson, links: Mapping[str, str], made_by: str) -> str:
    """Return the page of a lesson.

    Args:
        lesson: what it shows.
        links: address of each topic's page that lies beside this one; ``""`` is the index.
        made_by: the command that made the page.
    """
    topic = lesson.topic
    return _render(
        "page.html.jinja",
        title=topic.title,
        topic=topic,
        family=family_name(topic.family),
        links=links,
        picture=draw(lesson.picture) if lesson.picture else None,
        picture_title=getattr(lesson.picture, "title", ""),
        inputs=describe(topic.inputs, lesson.inputs),
        steps=[_step(step) for step in lesson.steps],
        theory=[(theory_place(f), python(theory_code(f))) for f in topic.theory],
        practice=[practice_place(name) for name in topic.practice],
        made_by=made_by,
        change_command=lesson.command(*example_change(lesson), "--html", f"{topic.name}.html"),
    )


def index_page(known: Mapping[str, Topic[Any]], links: Mapping[str, str], made_by: str) -> str:
    """Return the page that leads to all others, by family."""
    families = [(family_name(family), members) for family, members in by_family(known.values()).items()]
    title = tr("The ideas of the field", "领域要义")
    return _render("index.html.jinja", title=title, families=families, links=links, made_by=made_by)


def draw(picture: Picture) -> Markup:
    """Draw a picture as inline SVG, with its legend above it."""
    match picture:
        case HeatMap():
            return svg_maps.heat_map(picture)
        case Lines():
            return svg_charts.lines(picture)
        case Bars():
            return svg_charts.bars(picture)
        case Valley():
            return svg_charts.valley(picture)
        case Lattice():
            return svg_maps.lattice(picture)
        case Tree():
            return svg_maps.tree(picture)


def python(code: str) -> Markup:
    """Return Python code with its kinds of words marked by class."""
    return Markup(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n"))  # it escapes the code


def _step(step: Step) -> dict[str, Any]:
    """Return a step as the template wants it: a table's cells, or one result."""
    is_array = isinstance(step.value, np.ndarray)
    return {
        "says": step.says,
        "formula": step.formula,
        "cells": table(step.value) if isinstance(step.value, np.ndarray) else None,
        "rows": list(step.rows),
        "columns": list(step.columns),
        "result": None if is_array or step.value is None else number(step.value),  # type: ignore[arg-type]
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("zhixing.explain", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"tr": tr, "mathml": mathml}
    return environment


def _render(template: str, **values: Any) -> str:
    style = files("zhixing.explain").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            language="zh-Hans" if current_language() == "zh" else "en",
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
            style=Markup(style),
            **values,
        )
    )
