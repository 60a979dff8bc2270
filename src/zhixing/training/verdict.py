"""The result of a run in words: which model is best, whether that is certain, and what it means.

A model is called better than another only where the evaluation's paired tests say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from zhixing.language import tr
from zhixing.training.charts import in_bytes

Record = Mapping[str, Any]


def sentences(evaluation: Mapping[str, Any], metrics: Sequence[Record]) -> list[Markup]:
    """Say the result in words: what was evaluated, else how the loss fell.

    The first sentence is the headline. What stands in ``evaluation`` is escaped.
    """
    rows = evaluation.get("rows", ())
    best = best_model(rows)
    if best is None:
        return _loss_in_words(metrics)
    held_out = {
        "documents": best.get("documents", 0),
        "size": in_bytes(best.get("text_bytes", 0)).replace(" ", "\u00a0"),
    }
    measured = tr("Measured on {documents:,} held-out documents, {size} of text.",
                  "在 {documents:,} 篇留出文档（{size} 文本）上测得。")  # fmt: skip
    return [
        _headline(evaluation, best),
        Markup(measured).format(**held_out),
        *_tests_in_words(evaluation, best),
        *(_yardstick_in_words(row, best) for row in rows if not is_model(row) and row.get("bits_per_byte")),
    ]


def _headline(evaluation: Mapping[str, Any], best: Record) -> Markup:
    """Name the best model; "best" is said only if every test finds it better."""
    models = sum(map(is_model, evaluation["rows"]))
    clear, unclear = _tested(evaluation, best)
    if models == 1:
        words = tr("<strong>{name}</strong> needs <strong>{bits:.3f} bits per byte</strong>.",
                   "<strong>{name}</strong> 每字节需要 <strong>{bits:.3f} 比特</strong>。")  # fmt: skip
    elif clear and not unclear:
        words = tr(
            "<strong>{name}</strong> is the best of {models} models: <strong>{bits:.3f} bits per byte</strong>.",
            "{models} 个模型中最好的是 <strong>{name}</strong>：<strong>每字节 {bits:.3f} 比特</strong>。",
        )
    else:
        words = tr(
            "Lowest of {models} models: <strong>{name}</strong>, <strong>{bits:.3f} bits per byte</strong>.",
            "{models} 个模型中最低的是 <strong>{name}</strong>：<strong>每字节 {bits:.3f} 比特</strong>。",
        )
    return Markup(words).format(name=best["name"], models=models, bits=best["bits_per_byte"])


def best_model(rows: Sequence[Record]) -> Record | None:
    """Return the model's row with the fewest bits per byte, None if there is none."""
    models = [row for row in rows if is_model(row) and is_number(row.get("bits_per_byte"))]
    return min(models, key=lambda row: float(row["bits_per_byte"]), default=None)


def is_model(row: Record) -> bool:
    """Return whether a row of the evaluation is a model's, not a compressor's."""
    return row.get("family") != "compressor"


def is_number(value: Any) -> bool:
    """Return whether a value read from JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tested(evaluation: Mapping[str, Any], best: Record) -> tuple[list[str], list[str]]:
    """Return the models that the best one is better than, and those it cannot be told from."""
    tests = [c for c in evaluation.get("comparisons", ()) if c["a"] == best["name"]]
    clear = [c["b"] for c in tests if c["better"] == c["a"]]
    return clear, [c["b"] for c in tests if c["better"] != c["a"]]


def _tests_in_words(evaluation: Mapping[str, Any], best: Record) -> list[Markup]:
    clear, unclear = _tested(evaluation, best)
    found = []
    if any(c.get("too_few") for c in evaluation.get("comparisons", ())):
        words = tr(
            "On so few documents no test can tell the models apart; measure on more.",
            "文档如此之少，任何检验都无法分辨这些模型；请用更多文档评估。",
        )
        return [Markup(words)]
    if clear:
        words = tr(
            "A paired test over the documents finds it better than {names}.",
            "按文档配对检验，它优于 {names}。",
        )
        found.append(Markup(words).format(names=_listed(clear)))
    if unclear:
        words = tr(
            "On these documents it is not distinguishable from {names}.",
            "在这些文档上，它与 {names} 无法区分。",
        )
        found.append(Markup(words).format(names=_listed(unclear)))
    return found


def _yardstick_in_words(row: Record, best: Record) -> Markup:
    bits = row["bits_per_byte"]
    share = 1 - float(best["bits_per_byte"]) / float(bits)
    words = (
        tr("{name} needs {bits:.3f} for the same text: the best model is {percent:.0f}\u00a0% below it.",
           "{name} 对同样的文本需要 {bits:.3f}，最好的模型比它低 {percent:.0f}\u00a0%。")
        if share > 0
        else tr("{name} needs only {bits:.3f} for the same text: it still predicts it better than "
                "the best model.",
                "{name} 对同样的文本只需要 {bits:.3f}，仍比最好的模型预测得更好。")
    )  # fmt: skip
    return Markup(words).format(percent=abs(100 * share), name=row["name"], bits=bits)


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return tr(", ", "、").join(names[:-1]) + tr(" and ", " 和 ") + names[-1]


def _loss_in_words(metrics: Sequence[Record]) -> list[Markup]:
    losses = [record["loss"] for record in metrics if is_number(record.get("loss"))]
    validation = [r["validation_loss"] for r in metrics if is_number(r.get("validation_loss"))]
    if not losses:
        return [Markup(escape(tr("This run has recorded no loss.", "本次训练没有记录损失。")))]
    sentences = any("retrieval_accuracy" in record for record in metrics)
    unit = tr("sentence", "句") if sentences else tr("token", "词元")
    words = tr(
        f"The training loss went from {{:.2f}} to <strong>{{:.2f}} nats per {unit}</strong>.",
        f"训练损失由 {{:.2f}} 变为 <strong>{{:.2f}} 奈特/{unit}</strong>。",
    )
    found = [Markup(words).format(losses[0], losses[-1])]
    if validation:
        words = tr("On held-out text it is {:.2f}, at best {:.2f}.", "在留出文本上为 {:.2f}，最好时为 {:.2f}。")
        found.append(Markup(words).format(validation[-1], min(validation)))
    if not sentences:
        found.append(Markup(escape(tr("No evaluation in bits per byte was made.", "尚未以每字节比特数评估。"))))
    return found
