"""Which model to choose: the one that predicts best among those that the user's own limits admit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from zhixing.evaluation.significance import Comparison
from zhixing.language import tr
from zhixing.training.charts import short


class Figures(Protocol):
    """The figures of a row that a choice looks at."""

    @property
    def model(self) -> str:
        """Its name."""

    @property
    def bits_per_byte(self) -> float | None:
        """How well it predicts; None if it failed."""

    @property
    def parameters(self) -> int | None:
        """Weights or stored probabilities."""

    @property
    def megabytes(self) -> float | None:
        """Memory while it writes."""

    @property
    def milliseconds_per_token(self) -> float | None:
        """Time to write a token of one text."""


@dataclass(frozen=True)
class Limits:
    """What the user's machine and patience allow; None: no limit.

    Attributes:
        max_params: parameters.
        max_memory: megabytes (10**6 bytes) while it writes.
        max_latency: milliseconds for a token of one text.
    """

    max_params: int | None = None
    max_memory: float | None = None
    max_latency: float | None = None

    @property
    def given(self) -> bool:
        """Whether there is any limit."""
        return any(value is not None for value in asdict(self).values())

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    def in_words(self) -> str:
        """Return the limits as one says them."""
        said = []
        if self.max_params is not None:
            said.append(tr(f"{short(self.max_params)} parameters", f"{short(self.max_params)} 个参数"))
        if self.max_memory is not None:
            said.append(f"{self.max_memory:,.4g} MB")
        if self.max_latency is not None:
            said.append(tr(f"{self.max_latency:g} ms per token", f"每词元 {self.max_latency:g} 毫秒"))
        return tr("at most ", "至多 ") + tr(", ", "、").join(said)

    def broken_by(self, row: Figures) -> list[str]:
        """Return the limits that a model does not keep, each with its figure; empty: it is admitted."""
        found = []
        if self.max_params is not None and _above(row.parameters, self.max_params):
            found.append(tr(f"{_figure(row.parameters)} parameters", f"参数 {_figure(row.parameters)}"))
        if self.max_memory is not None and _above(row.megabytes, self.max_memory):
            found.append(f"{_figure(row.megabytes)} MB")
        if self.max_latency is not None and _above(row.milliseconds_per_token, self.max_latency):
            value = _figure(row.milliseconds_per_token)
            found.append(tr(f"{value} ms per token", f"每词元 {value} 毫秒"))
        return found


@dataclass(frozen=True)
class Choice:
    """``best`` within the limits (None: nobody), who was left out and why, and all of that in ``sentences``."""

    best: str | None
    excluded: Mapping[str, Sequence[str]]
    sentences: Sequence[str]


def admitted(ranked: Sequence[Figures], limits: Limits) -> list[str]:
    """Return the names of the models within the limits, in the order given."""
    return [row.model for row in ranked if not limits.broken_by(row)]


def choose(ranked: Sequence[Figures], limits: Limits, test: Comparison | None) -> Choice:
    """Choose among models ranked by bits per byte, the best first.

    Args:
        ranked: those that have figures.
        limits: of the user.
        test: the best of the admitted against the next of them; None if there is no next.
    """
    names = admitted(ranked, limits)
    excluded = {row.model: reasons for row in ranked if (reasons := limits.broken_by(row))}
    best = next((row for row in ranked if row.model in names), None)
    sentences = [_chosen(best, len(names), limits, test) if best else _nobody(bool(ranked), limits)]
    if excluded:
        told = tr("; ", "；").join(tr(f"{n} ({', '.join(r)})", f"{n}（{'、'.join(r)}）") for n, r in excluded.items())
        sentences.append(tr(f"Left out: {told}.", f"超出限制而未列入：{told}。"))
    return Choice(best.model if best else None, excluded, sentences)


def _chosen(best: Figures, count: int, limits: Limits, test: Comparison | None) -> str:
    bits = f"{best.bits_per_byte:.3f}"
    doubt = ""
    if test is not None and test.too_few:
        doubt = tr("; too few documents to be sure of it", "；文档太少，尚不足以确认")
    elif test is not None and test.better is None:
        doubt = tr(f"; on this text it is not distinguishable from {test.b}", f"；在此文本上它与 {test.b} 无法区分")
    if not limits.given:
        among = tr(f"the lowest of {count} models", f"{count} 个模型中最低") if count > 1 else ""
        among = among or tr("the only model", "是唯一的模型")
        return tr(
            f"Choose {best.model}: {bits} bits per byte, {among}{doubt}.",
            f"选 {best.model}：每字节 {bits} 比特，{among}{doubt}。",
        )
    among = (
        tr(f"the lowest of the {count} models that keep them", f"符合限制的 {count} 个模型中最低") if count > 1 else ""
    )
    among = among or tr("the only model that keeps them", "是唯一符合限制的模型")
    return tr(
        f"Within your limits ({limits.in_words()}) choose {best.model}: {bits} bits per byte, {among}{doubt}.",
        f"在您的限制内（{limits.in_words()}），选 {best.model}：每字节 {bits} 比特，{among}{doubt}。",
    )


def _nobody(any_finished: bool, limits: Limits) -> str:
    if not any_finished:
        return tr("No model was finished, so there is none to choose.", "没有模型训练完成，无从选择。")
    return tr(
        f"No model keeps your limits ({limits.in_words()}); allow more, or add a smaller model.",
        f"没有模型符合您的限制（{limits.in_words()}）；请放宽限制或加入更小的模型。",
    )


def _above(value: float | None, limit: float) -> bool:
    return value is None or value > limit


def _figure(value: float | None) -> str:
    return tr("unknown", "未知") if value is None else short(value, 4)
