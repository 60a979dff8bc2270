"""Topics of labels and rankings: precision, recall and F1, nDCG."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Vector, numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import text_measures as theory


class PrecisionRecallInputs(Settings):
    """Labels of a few items, said and true."""

    predicted: tuple[str, ...] = setting(
        ("spam", "spam", "ham", "ham", "ham", "ham"), "predicted labels", "预测标签", min_length=1
    )
    target: tuple[str, ...] = setting(
        ("spam", "ham", "spam", "spam", "ham", "ham"), "true labels", "真实标签", min_length=1
    )
    label: str = setting("spam", "the label looked for", "所关心的标签")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("target", self.target, len(self.predicted))
        known = sorted({*self.predicted, *self.target})
        names = ", ".join(known)
        require(self.label in known, f"label must be one of: {names}", f"label 须为下列之一：{names}")
        return self


def precision_recall() -> Topic[PrecisionRecallInputs]:
    """Precision, recall and F1, micro and macro."""
    return Topic(
        name="precision-recall",
        family="measures",
        title=tr("Precision, recall and F1", "精确率、召回率与 F1"),
        idea=(
            tr(
                "A filter that calls everything spam finds all spam, one that calls nothing spam is never wrong.",
                "把一切都判为垃圾的过滤器能找全，什么都不判的过滤器从不误判。",
            ),
            tr(
                "Precision asks how much of what was found is right, recall how much of what is right was found.",
                "精确率问找到的有多少是对的，召回率问对的有多少被找到。",
            ),
            tr(
                "F1, their harmonic mean, is high only if both are; over several labels it is averaged in two ways.",
                "F1 是两者的调和平均，唯有两者皆高它才高；多个标签时有两种平均方法。",
            ),
        ),
        formula=(
            r"P = \frac{TP}{TP + FP}",
            r"R = \frac{TP}{TP + FN}",
            r"F_1 = \frac{2 P R}{P + R}",
        ),
        symbols={
            "TP": tr("items with the label that were given it", "有该标签且判对的项数"),
            "FP": tr("items given the label wrongly", "误判为该标签的项数"),
            "FN": tr("items with the label that were missed", "有该标签而漏判的项数"),
        },
        inputs=PrecisionRecallInputs,
        example=_precision_recall_example,
        picture=_precision_recall_picture,
        pitfalls=(
            tr(
                "Micro-averaged F1 over all labels is just accuracy; macro-averaging gives rare labels their say.",
                "在全部标签上取微平均，F1 就是准确率；宏平均才让少见标签有分量。",
            ),
            tr(
                "The macro F1 is the mean of the F1s, not the F1 of the mean precision and recall; the two differ.",
                "宏平均 F1 是各标签 F1 的均值，而非平均精确率与平均召回率之 F1；二者不等。",
            ),
            tr(
                "A label never predicted has 0 / 0 precision; it counts as 0, and that should be said.",
                "从未被预测的标签精确率为 0/0；通常计为 0，并应当说明。",
            ),
        ),
        papers=("van Rijsbergen 1979, Information Retrieval, chapter 7",),
        theory=(theory.precision_recall_f1, theory.outcomes, theory.micro_average, theory.macro_average),
        practice=("zhixing.evaluation.label_measures:label_report",),
        related=("bleu", "rouge"),
    )


def _precision_recall_example(inputs: PrecisionRecallInputs) -> Iterator[Step]:
    labels = sorted({*inputs.predicted, *inputs.target})
    counts = theory.outcomes(inputs.predicted, inputs.target, inputs.label)
    yield Step(tr("count the three outcomes", "数出三种结果"), np.array(counts), columns=("TP", "FP", "FN"))
    precision, recall, f1 = theory.precision_recall_f1(*counts)
    yield Step(tr("right among those found", "找到的之中对的占比"), precision, r"P = \frac{TP}{TP + FP}")
    yield Step(tr("found among those that are right", "对的之中被找到的占比"), recall, r"R = \frac{TP}{TP + FN}")
    yield Step(tr("their harmonic mean", "两者的调和平均"), f1, r"F_1 = \frac{2 P R}{P + R}")
    averages = [
        average(inputs.predicted, inputs.target, labels) for average in (theory.micro_average, theory.macro_average)
    ]
    yield Step(
        tr(
            "over all labels: counts added up (micro), scores averaged (macro)",
            "全部标签：计数相加（微），得分平均（宏）",
        ),
        np.array(averages),
        rows=(tr("micro", "微平均"), tr("macro", "宏平均")),
        columns=("P", "R", "F1"),
    )


def _precision_recall_picture(inputs: PrecisionRecallInputs) -> Bars:
    labels = sorted({*inputs.predicted, *inputs.target})
    each = [theory.precision_recall_f1(*theory.outcomes(inputs.predicted, inputs.target, label)) for label in labels]
    series = dict(zip(("P", "R", "F1"), np.array(each).T, strict=True))
    return Bars(tr("every label's scores", "各标签的得分"), labels, series, "0–1")


class NdcgInputs(Settings):
    """How relevant the results are, in the order in which they were shown."""

    relevances: Vector = setting(
        (2.0, 0.0, 3.0, 1.0), "gain of every result, best place first", "按排名给出的各结果增益", min_length=1
    )
    k: int = setting(3, "how many results count", "计入的结果数", ge=1)

    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        require(min(self.relevances) >= 0, "relevances must be 0 or more", "relevances 不得为负")
        return self


def ndcg() -> Topic[NdcgInputs]:
    """Normalised discounted cumulative gain."""
    return Topic(
        name="ndcg",
        family="measures",
        title=tr("nDCG: how good is a ranking", "nDCG：排序的好坏"),
        idea=(
            tr(
                "A search engine finds the right pages; are they at the top?",
                "搜索找到了对的结果，它们排在前面吗？",
            ),
            tr(
                "Add up the gains of the first k results, each divided by a discount that grows with its place.",
                "将前 k 个结果的增益相加，每个增益除以随名次增大的折扣。",
            ),
            tr(
                "Divide by what the best possible order would earn: 1 is perfect, whatever the query.",
                "再除以最佳排序所得：1 为完美，与查询无关。",
            ),
        ),
        formula=(
            r"\operatorname{DCG} = \sum_{i=1}^{k} \frac{g_i}{\log_2(i + 1)}",
            r"\operatorname{nDCG} = \frac{\operatorname{DCG}}{\operatorname{DCG}^{*}}",
        ),
        symbols={
            "g_i": tr("gain of the result at place i, 0 or more", "第 i 名结果的增益，不小于 0"),
            "k": tr("how many results count", "计入的结果数"),
            r"\operatorname{DCG}^{*}": tr("the same sum for the best order", "最佳排序的同一求和"),
        },
        inputs=NdcgInputs,
        example=_ndcg_example,
        picture=_ndcg_picture,
        pitfalls=(
            tr(
                "Two gains are in use: the grade itself, as here, and 2^grade - 1, which lets the best grade rule.",
                "增益有两种：等级本身（此处所用），与 2^等级 - 1（更突出最高等级）。",
            ),
            tr(
                "The best order is that of all relevant results, also of those the engine did not show.",
                "最佳排序须包含所有相关结果，也包括未被返回的。",
            ),
            tr(
                "A query with nothing relevant has 0 / 0; whether it counts as 0, 1 or not at all changes the mean.",
                "没有相关结果的查询为 0/0；计为 0、1 还是剔除，会影响平均值。",
            ),
        ),
        papers=("Järvelin & Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, section 2",),
        theory=(theory.ndcg, theory.discounted_gain),
        practice=("zhixing.evaluation.label_measures:ndcg",),
        related=("precision-recall",),
    )


def _ndcg_example(inputs: NdcgInputs) -> Iterator[Step]:
    gains = np.array(inputs.relevances)
    shown = gains[: inputs.k]
    places = numbered("", len(shown))
    discount = np.log2(np.arange(len(shown)) + 2.0)
    yield Step(tr("the discount of every place", "各名次的折扣"), discount, r"\log_2(i + 1)", columns=places)
    yield Step(tr("gains divided by it", "增益除以折扣"), shown / discount, columns=places)
    yield Step(tr("their sum", "求和"), theory.discounted_gain(shown), r"\operatorname{DCG}")
    best = np.sort(gains)[::-1][: inputs.k]
    yield Step(tr("the best order", "最佳排序"), best, columns=places)
    yield Step(tr("what it earns", "其所得"), theory.discounted_gain(best), r"\operatorname{DCG}^{*}")
    yield Step(tr("divide", "相除"), theory.ndcg(gains, inputs.k), r"\operatorname{nDCG}")


def _ndcg_picture(inputs: NdcgInputs) -> Bars:
    gains = np.array(inputs.relevances)
    shown, best = gains[: inputs.k], np.sort(gains)[::-1][: inputs.k]
    discount = np.log2(np.arange(len(shown)) + 2.0)
    series = {tr("as ranked", "实际排序"): shown / discount, tr("best order", "最佳排序"): best / discount}
    return Bars(tr("what every place earns", "各名次的折扣增益"), numbered("", len(shown)), series, "DCG")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (precision_recall, ndcg)
