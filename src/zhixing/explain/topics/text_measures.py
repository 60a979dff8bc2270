"""Topics of text measures: translations and summaries; labels, rankings and edits from their own files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import edit_measures, label_measures
from zhixing.explain.topics.inputs import require
from zhixing.language import tr
from zhixing.theory import text_measures as theory


class BleuInputs(Settings):
    """One translation and one reference, cut at spaces."""

    candidate: str = setting("the cat sat on the mat", "the translation; words parted by spaces", "译文；以空格分词")
    reference: str = setting("the cat sat on a red mat", "a person's translation", "人工参考译文")
    order: int = setting(4, "longest run of words", "最长的连续词数", ge=1, le=6)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        words = len(self.candidate.split())
        require(
            words >= self.order and bool(self.reference.split()),
            f"candidate has {words} words; it needs order = {self.order} or more, and the reference at least one",
            f"candidate 有 {words} 个词；至少须有 order = {self.order} 个，reference 至少一个",
        )
        return self


def bleu() -> Topic[BleuInputs]:
    """BLEU."""
    return Topic(
        name="bleu",
        family="measures",
        title="BLEU",
        idea=(
            tr(
                "How good is a translation when a sentence can be said in many ways?",
                "一句话有多种说法，怎样衡量译文的好坏？",
            ),
            tr(
                "Count how many of its runs of one to four words also stand in a reference, each at most as often.",
                "数一数其中一至四词的连续片段有多少也见于参考译文，每个片段至多计参考中的次数。",
            ),
            tr(
                "The four shares are averaged geometrically, and a translation shorter than the reference is punished.",
                "四个比例取几何平均；译文短于参考时再加以惩罚。",
            ),
        ),
        formula=(
            r"\operatorname{BLEU} = \operatorname{BP} \cdot \exp\left(\frac{1}{N} \sum_{n=1}^{N} \log p_n\right)",
            r"\operatorname{BP} = \exp(\min(0, 1 - r / c))",
        ),
        symbols={
            "p_n": tr("share of runs of n words that match, clipped", "n 词片段的匹配比例（截断计数）"),
            "N": tr("longest run, usually 4", "最长片段，通常为 4"),
            "c": tr("words of all candidates", "全部译文的词数"),
            "r": tr("words of the references closest in length", "长度最接近的参考译文的词数"),
        },
        inputs=BleuInputs,
        example=_bleu_example,
        picture=_bleu_picture,
        pitfalls=(
            tr(
                "Chinese cut at spaces is one word a sentence: cut it into characters, and say so beside the score.",
                "中文若按空格切分，一句只是一个词：应切成单字，并在分数旁注明。",
            ),
            tr(
                "BLEU measures a corpus: counts are summed before dividing. A mean over sentences is another number.",
                "BLEU 是语料级指标：先汇总计数再相除；对各句得分取平均得到的是另一个数。",
            ),
            tr(
                "One zero makes the whole zero, so single sentences need smoothing, and there are seven kinds of it.",
                "一个零使全体为零，故单句须平滑，而平滑方法就有七种。",
            ),
        ),
        papers=(
            "Papineni et al. 2002, BLEU: a method for automatic evaluation of machine translation, section 2",
            "Post 2018, A call for clarity in reporting BLEU scores",
        ),
        theory=(theory.bleu, theory.clipped_matches, theory.brevity_penalty, theory.smoothed_precisions),
        practice=("zhixing.evaluation.text_measures:bleu",),
        related=("chrf", "rouge"),
    )


def _bleu_counts(inputs: BleuInputs) -> np.ndarray[Any, Any]:
    candidate, reference = inputs.candidate.split(), inputs.reference.split()
    return np.array([theory.clipped_matches(candidate, [reference], n) for n in range(1, inputs.order + 1)])


def _bleu_example(inputs: BleuInputs) -> Iterator[Step]:
    candidate, reference = inputs.candidate.split(), inputs.reference.split()
    counts = _bleu_counts(inputs)
    orders = tuple(f"n = {n}" for n in range(1, inputs.order + 1))
    yield Step(
        tr("runs of n words that match, and all of them", "匹配的 n 词片段数与总数"),
        counts.T,
        rows=(tr("match", "匹配"), tr("all", "总数")),
        columns=orders,
    )
    precisions = theory.smoothed_precisions(counts[:, 0].tolist(), counts[:, 1].tolist())
    yield Step(tr("divide", "相除"), np.array(precisions), "p_n", columns=orders)
    penalty = theory.brevity_penalty(len(candidate), len(reference))
    lengths = f"c = {len(candidate)}, r = {len(reference)}"
    yield Step(tr(f"the penalty for brevity ({lengths})", f"简短惩罚（{lengths}）"), penalty, r"\operatorname{BP}")
    score = theory.bleu([candidate], [[reference]], inputs.order)
    yield Step(tr("geometric mean times penalty", "几何平均乘以惩罚"), score, r"\operatorname{BLEU}")
    if min(precisions) == 0:
        smoothed = theory.bleu([candidate], [[reference]], inputs.order, "exponential")
        yield Step(
            tr("with zeros smoothed: the k-th becomes 1/(2^k total)", "平滑零值：第 k 个零改为 1/(2^k·总数)"), smoothed
        )


def _bleu_picture(inputs: BleuInputs) -> Bars:
    counts = _bleu_counts(inputs)
    precisions = np.array(theory.smoothed_precisions(counts[:, 0].tolist(), counts[:, 1].tolist()))
    labels = [f"n = {n}" for n in range(1, inputs.order + 1)]
    return Bars(tr("longer runs match less often", "片段越长，匹配越少"), labels, {"p_n": precisions}, "p_n")


class RougeInputs(Settings):
    """One summary and one reference, cut at spaces."""

    candidate: str = setting("the gunman kill police", "the summary; words parted by spaces", "摘要；以空格分词")
    reference: str = setting("police killed the gunman", "a person's summary", "人工参考摘要")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        full = bool(self.candidate.split()) and bool(self.reference.split())
        require(full, "candidate and reference need a word each", "candidate 与 reference 各须至少一个词")
        return self


def rouge() -> Topic[RougeInputs]:
    """ROUGE-1, ROUGE-2 and ROUGE-L."""
    return Topic(
        name="rouge",
        family="measures",
        title="ROUGE",
        idea=(
            tr("Does a summary hold what a person's summary holds?", "摘要是否包含了人工摘要的内容？"),
            tr(
                "ROUGE-1 and ROUGE-2 count common words and pairs; ROUGE-L the longest common sequence, gaps allowed.",
                "ROUGE-1 与 ROUGE-2 数共同的词与词对；ROUGE-L 取两者的最长公共子序列，允许间隔。",
            ),
            tr(
                "Unlike BLEU it began as recall: what matters is how much of the reference was covered.",
                "与 BLEU 不同，它源于召回率：重在参考被覆盖了多少。",
            ),
        ),
        formula=(
            r"R_n = \frac{\text{common runs of } n}{\text{runs of } n \text{ in the reference}}",
            r"R_L = \frac{\operatorname{LCS}(c, r)}{|r|}",
            r"P_L = \frac{\operatorname{LCS}(c, r)}{|c|}",
            r"F = \frac{2 P R}{P + R}",
        ),
        symbols={
            "c": tr("the summary, words", "待评摘要（词序列）"),
            "r": tr("the reference, words", "参考摘要（词序列）"),
            r"\operatorname{LCS}": tr(
                "length of the longest common subsequence, words", "最长公共子序列的长度，单位为词"
            ),
        },
        inputs=RougeInputs,
        example=_rouge_example,
        picture=_rouge_picture,
        pitfalls=(
            tr(
                "The usual package keeps only a–z and 0–9: it gives a perfect Chinese summary 0.",
                "常用工具包只保留 a–z 与 0–9：完美的中文摘要也只得 0 分。",
            ),
            tr(
                "Recall alone rewards copying the whole article; report F1, and the length.",
                "只看召回率会奖励照抄全文；应报告 F1 及长度。",
            ),
            tr(
                "Stemming, lower case and cutting change the number; name them. A corpus score is the mean over texts.",
                "词干化、大小写与切分都会改变分数，须注明；语料得分为各篇的均值。",
            ),
        ),
        papers=("Lin 2004, ROUGE: a package for automatic evaluation of summaries, sections 2 and 3",),
        theory=(theory.rouge_n, theory.rouge_l, theory.common_subsequence),
        practice=("zhixing.evaluation.text_measures:rouge",),
        related=("bleu", "edit-distance"),
    )


def _rouge_all(inputs: RougeInputs) -> np.ndarray[Any, Any]:
    candidate, reference = inputs.candidate.split(), inputs.reference.split()
    runs = [theory.rouge_n(candidate, reference, n) for n in (1, 2)]
    return np.array([*runs, theory.rouge_l(candidate, reference)])


def _rouge_example(inputs: RougeInputs) -> Iterator[Step]:
    candidate, reference = inputs.candidate.split(), inputs.reference.split()
    for n, en, zh in ((1, "words", "词"), (2, "pairs", "词对")):
        written, wanted = theory.ngrams(candidate, n), theory.ngrams(reference, n)
        common = " · ".join(" ".join(map(str, run)) for run in (written & wanted).elements()) or "–"
        counts = (written & wanted).total(), written.total(), wanted.total()
        yield Step(
            tr(f"common {en}: {common}", f"共同的{zh}：{common}"),
            np.array(counts),
            columns=(tr("common", "共同"), tr("summary", "摘要"), tr("reference", "参考")),
        )
    longest = theory.common_subsequence(candidate, reference)
    yield Step(tr("longest common subsequence", "最长公共子序列的长度"), float(longest), r"\operatorname{LCS}(c, r)")
    yield Step(
        tr("divide, and take the harmonic mean", "相除，并取调和平均"),
        _rouge_all(inputs),
        rows=("ROUGE-1", "ROUGE-2", "ROUGE-L"),
        columns=("P", "R", "F1"),
    )


def _rouge_picture(inputs: RougeInputs) -> Bars:
    scores = _rouge_all(inputs)
    series = {"P": scores[:, 0], "R": scores[:, 1], "F1": scores[:, 2]}
    return Bars(
        tr("three views of one summary", "同一摘要的三种衡量"), ("ROUGE-1", "ROUGE-2", "ROUGE-L"), series, "0–1"
    )


class ChrfInputs(Settings):
    """One translation and one reference; any language."""

    candidate: str = setting("猫坐在垫上", "the translation", "译文")
    reference: str = setting("猫坐在垫子上", "a person's translation", "人工参考译文")
    order: int = setting(3, "longest run of characters; 6 is usual", "最长的连续字符数；通常为 6", ge=1, le=6)
    beta: float = setting(2.0, "how many times recall weighs as much as precision", "召回率之于精确率的权重倍数", gt=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        full = bool(self.candidate.split()) and bool(self.reference.split())
        require(full, "candidate and reference need a character each", "candidate 与 reference 各须至少一个字符")
        return self


def chrf() -> Topic[ChrfInputs]:
    """The character n-gram F-score."""
    return Topic(
        name="chrf",
        family="measures",
        title=tr("chrF: character n-grams", "chrF：字符 n 元组"),
        idea=(
            tr(
                "Words are the wrong unit for languages with many endings, and for those written without spaces.",
                "对词尾变化丰富的语言，以及不用空格书写的语言，词并不是合适的单位。",
            ),
            tr(
                "Compare runs of one to six characters instead, spaces removed: precision and recall, averaged.",
                "不妨去掉空格，比较一至六个字符的片段，将各长度的精确率与召回率分别平均。",
            ),
            tr(
                "Their F-measure weighs recall more, needs no tokenizer, and agrees with people better than BLEU.",
                "二者的 F 值偏重召回，无需分词，且比 BLEU 更接近人的判断。",
            ),
        ),
        formula=(r"\operatorname{chrF}_\beta = \frac{(1 + \beta^2) P R}{\beta^2 P + R}",),
        symbols={
            "P": tr("mean over n of the share of the candidate's runs that match", "译文片段匹配比例对 n 的均值"),
            "R": tr("mean over n of the share of the reference's runs that match", "参考片段匹配比例对 n 的均值"),
            r"\beta": tr("weight of recall, usually 2", "召回率的权重，通常为 2"),
        },
        inputs=ChrfInputs,
        example=_chrf_example,
        picture=_chrf_picture,
        pitfalls=(
            tr(
                "The mean is taken of precisions and recalls first, then the F-measure, not of the six F-measures.",
                "先分别平均精确率与召回率，再求 F 值，而非对六个 F 值取平均。",
            ),
            tr(
                "Runs longer than the text exist in neither; they must be left out of the mean, not counted as 0.",
                "长于文本的片段根本不存在；应从均值中剔除，而非计为 0。",
            ),
        ),
        papers=("Popović 2015, chrF: character n-gram F-score for automatic MT evaluation, section 2",),
        theory=(theory.chrf, theory.ngrams, theory.f_measure),
        practice=("zhixing.evaluation.text_measures:chrf",),
        related=("bleu", "precision-recall"),
    )


def _chrf_counts(inputs: ChrfInputs) -> np.ndarray[Any, Any]:
    """(3, orders): common, the candidate's, the reference's; only lengths that both have."""
    candidate, reference = "".join(inputs.candidate.split()), "".join(inputs.reference.split())
    longest = min(inputs.order, len(candidate), len(reference))
    pairs = [(theory.ngrams(candidate, n), theory.ngrams(reference, n)) for n in range(1, longest + 1)]
    return np.array([[(c & r).total(), c.total(), r.total()] for c, r in pairs]).T


def _chrf_example(inputs: ChrfInputs) -> Iterator[Step]:
    common, written, wanted = counts = _chrf_counts(inputs)
    orders = tuple(f"n = {n + 1}" for n in range(len(common)))
    rows = (tr("common", "共同"), tr("candidate", "译文"), tr("reference", "参考"))
    yield Step(tr("runs of n characters", "n 个字符的片段数"), counts, rows=rows, columns=orders)
    yield Step(tr("precision for every n", "各 n 的精确率"), common / written, columns=orders)
    yield Step(tr("recall for every n", "各 n 的召回率"), common / wanted, columns=orders)
    means = np.array([(common / written).mean(), (common / wanted).mean()])
    yield Step(tr("their means", "各自的均值"), means, columns=("P", "R"))
    score = theory.chrf([inputs.candidate], [inputs.reference], inputs.order, inputs.beta)
    yield Step(tr("the F-measure", "F 值"), score, r"\frac{(1 + \beta^2) P R}{\beta^2 P + R}")


def _chrf_picture(inputs: ChrfInputs) -> Bars:
    common, written, wanted = _chrf_counts(inputs)
    labels = [f"n = {n + 1}" for n in range(len(common))]
    return Bars(tr("by length of the run", "按片段长度"), labels, {"P": common / written, "R": common / wanted}, "0–1")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (*label_measures.TOPICS, bleu, rouge, chrf, *edit_measures.TOPICS)
"""All seven, in the order in which a course would tell them."""
