"""The model card: ``README.md`` with the YAML header that the Hugging Face hub reads, from recorded facts.

After Mitchell et al., "Model Cards for Model Reporting" (2019); the header's keys are the hub's. Nothing is
claimed that was not given: an absent fact is an absent line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from zhixing.language import tr

Result = tuple[float, str]
"""A measured value and its unit, such as ``(1.52, "bits per byte")``."""


def model_card(
    name: str,
    *,
    facts: Mapping[str, Any],
    summary: str = "",
    language: Sequence[str] = (),
    license: str | None = None,
    pipeline_tag: str | None = "text-generation",
    tags: Sequence[str] = (),
    datasets: Sequence[str] = (),
    results: Mapping[str, Result] | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Return the text of ``README.md``.

    Args:
        name: the model's title.
        facts: what produced it (recipe digest, data digest, seed, versions, tokens seen, ...), in order.
        summary: a sentence or two on what it is.
        language: ISO 639-1 codes of the text it was trained on.
        license: SPDX identifier in lower case (the hub's spelling), if the user has chosen one.
        pipeline_tag: the hub's name of the task.
        tags: free words; ``zhixing`` is added.
        datasets: hub names of data sets, if any.
        results: metric → (value, unit), measured on held-out data.
        limits: sentences on what it should not be trusted with.
    """
    header = {
        "language": list(language),
        "license": license,
        "library_name": "transformers",
        "pipeline_tag": pipeline_tag,
        "tags": list(dict.fromkeys(["zhixing", *tags])),
        "datasets": list(datasets),
        "metrics": list(results or ()),
    }
    given = {key: value for key, value in header.items() if value}
    front = yaml.safe_dump(given, sort_keys=False, allow_unicode=True)
    sections = [f"---\n{front}---\n", f"# {_one_line(name)}\n"]
    if summary:
        sections.append(f"{summary}\n")
    if results:
        rows: list[Sequence[Any]] = [(metric, f"{value:.6g}", unit) for metric, (value, unit) in results.items()]
        head: Sequence[str] = (tr("metric", "指标"), tr("value", "数值"), tr("unit", "单位"))
        sections.append(f"## {tr('Measured on held-out text', '在留出文本上的测量')}\n\n{_table(head, rows)}")
    if limits:
        sections.append(f"## {tr('Limits', '局限')}\n\n" + "".join(f"- {_one_line(limit)}\n" for limit in limits))
    if facts:
        head = (tr("fact", "事实"), tr("value", "值"))
        sections.append(f"## {tr('What produced it', '由何产生')}\n\n{_table(head, list(facts.items()))}")
    return "\n".join(sections)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(_one_line(cell) for cell in line) + " |\n" for line in lines)


def _one_line(value: Any) -> str:
    """A cell must not end its row or open markup: facts may come from file names."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
