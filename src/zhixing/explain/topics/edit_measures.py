"""Topics of edits: edit distance, word error rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import text_measures as theory


class EditDistanceInputs(Settings):
    """Two short texts, compared character by character."""

    first: str = setting("kitten", "the one text", "文本一", min_length=1, max_length=16)
    second: str = setting("sitting", "the other text", "文本二", min_length=1, max_length=16)


def edit_distance() -> Topic[EditDistanceInputs]:
    """Levenshtein's distance."""
    return Topic(
        name="edit-distance",
        family="measures",
        title=tr("Edit distance", "编辑距离"),
        idea=(
            tr("How far apart are two texts?", "两段文本相差多远？"),
            tr(
                "Count the fewest insertions, deletions and substitutions that turn one into the other.",
                "数出把一段变为另一段所需的最少插入、删除与替换次数。",
            ),
            tr(
                "A table of the distances of all beginnings finds it in m times n steps; each entry looks at three.",
                "列出所有开头之间距离的表，m × n 步即可求得；每格只看三个邻格。",
            ),
        ),
        formula=(
            r"D_{i0} = i, \quad D_{0j} = j",
            r"D_{ij} = \min(D_{i-1,j} + 1, \; D_{i,j-1} + 1, \; D_{i-1,j-1} + c_{ij})",
        ),
        symbols={
            "D_{ij}": tr(
                "distance of the first i and the first j tokens; D is (m+1, n+1)",
                "前 i 个与前 j 个词元的距离；D 为 (m+1, n+1)",
            ),
            "c_{ij}": tr("0 if token i equals token j, else 1", "词元 i 与 j 相同为 0，否则为 1"),
        },
        inputs=EditDistanceInputs,
        example=_edit_distance_example,
        picture=_edit_distance_picture,
        pitfalls=(
            tr(
                "Exchanging two neighbours costs 2; the variant where it costs 1 is Damerau's.",
                "交换相邻两字需 2 步；只计 1 步的变体属于 Damerau。",
            ),
            tr(
                "Comparing the bytes of Chinese texts counts a wrong character up to three times.",
                "若按字节比较中文，一个错字最多会被计三次。",
            ),
            tr(
                "Divide by the reference's length for a rate, not by the longer one's: the two are reported alike.",
                "求比率时应除以参考的长度而非较长者的长度；二者常被混为一谈。",
            ),
        ),
        papers=(
            "Levenshtein 1966, Binary codes capable of correcting deletions, insertions and reversals",
            "Wagner & Fischer 1974, The string-to-string correction problem",
        ),
        theory=(theory.edit_distance, theory.edit_table),
        practice=("zhixing.evaluation.edit_distance:edit_distance",),
        related=("word-error-rate", "rouge"),
    )


def _edit_distance_example(inputs: EditDistanceInputs) -> Iterator[Step]:
    table = theory.edit_table(inputs.first, inputs.second)
    rows, columns = ("∅", *inputs.first), ("∅", *inputs.second)
    yield Step(tr("to or from nothing: one edit each", "与空串相比：每字一步"), table[0], "D_{0j} = j", columns=columns)
    last = inputs.first[0]
    yield Step(tr(f"the row of '{last}'", f"“{last}”所在行"), table[1], "D_{1j}", columns=columns)
    yield Step(tr("the whole table", "整张表"), table, "D_{ij}", rows=rows, columns=columns)
    edits = " ".join(_edits(inputs, table))
    yield Step(tr("walk back from the end: the edits", "自末尾回溯，得各步编辑"), edits or tr("none", "无"))
    yield Step(tr("the last entry is the distance", "最后一格即为距离"), float(table[-1, -1]), "D_{mn}")


def _edits(inputs: EditDistanceInputs, table: np.ndarray[Any, Any]) -> list[str]:
    """One cheapest way, first edit first; k→s a substitution, +g an insertion, -g a deletion."""
    i, j = len(inputs.first), len(inputs.second)
    edits: list[str] = []
    while i or j:
        same = i > 0 and j > 0 and inputs.first[i - 1] == inputs.second[j - 1]
        if i and j and table[i, j] == table[i - 1, j - 1] + (not same):
            edits += [] if same else [f"{inputs.first[i - 1]}→{inputs.second[j - 1]}"]
            i, j = i - 1, j - 1
        elif i and table[i, j] == table[i - 1, j] + 1:
            edits.append(f"-{inputs.first[i - 1]}")
            i -= 1
        else:
            edits.append(f"+{inputs.second[j - 1]}")
            j -= 1
    return edits[::-1]


def _edit_distance_picture(inputs: EditDistanceInputs) -> HeatMap:
    table = theory.edit_table(inputs.first, inputs.second).astype(np.float64)
    title = tr("distances of all beginnings", "所有开头之间的距离")
    return HeatMap(title, table, ("∅", *inputs.first), ("∅", *inputs.second), inputs.first, inputs.second)


class WordErrorRateInputs(Settings):
    """What was heard and what was said; words parted by spaces."""

    candidates: tuple[str, ...] = setting(
        ("the cat sad on mat", "hello word"),
        "transcripts; words parted by spaces",
        "转写结果；以空格分词",
        min_length=1,
    )
    references: tuple[str, ...] = setting(
        ("the cat sat on the mat", "hello world"), "what was said", "参考文本", min_length=1
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("references", self.references, len(self.candidates))
        require(
            any(reference.split() for reference in self.references),
            "references need at least one word",
            "references 至少须有一个词",
        )
        return self


def word_error_rate() -> Topic[WordErrorRateInputs]:
    """Word error rate and character error rate."""
    return Topic(
        name="word-error-rate",
        family="measures",
        title=tr("Word error rate", "词错误率"),
        idea=(
            tr("How much of what was said did a speech recogniser get wrong?", "语音识别错了多少？"),
            tr(
                "Count the edits between transcript and reference, and divide by the words of the reference.",
                "数出转写与参考之间的编辑次数，除以参考的词数。",
            ),
            tr(
                "Over many utterances, edits and words are summed first; with characters for words it is the CER.",
                "多段语音时先分别求和再相除；以字代词则为字错误率（CER）。",
            ),
        ),
        formula=(r"\operatorname{WER} = \frac{\sum_i D(c_i, r_i)}{\sum_i |r_i|}",),
        symbols={
            "D": tr("edit distance in words", "以词计的编辑距离"),
            "c_i": tr("transcript i, words", "第 i 段转写的词"),
            "r_i": tr("reference i, words", "第 i 段参考的词"),
        },
        inputs=WordErrorRateInputs,
        example=_word_error_rate_example,
        picture=_word_error_rate_picture,
        pitfalls=(
            tr(
                "It can exceed 1: a recogniser that invents words in silence makes more errors than there are words.",
                "它可以超过 1：静音时凭空造词的识别器，错误会多于词数。",
            ),
            tr(
                "Punctuation, case and numerals (ten or 10) must be made alike first; many a difference is only that.",
                "须先统一标点、大小写与数字写法（十与 10）；许多差距有一半出自这里。",
            ),
            tr(
                "For Chinese, words depend on the segmenter; the character error rate does not.",
                "中文的词取决于分词器，故通常报告字错误率。",
            ),
        ),
        papers=("Jurafsky & Martin 2025, Speech and Language Processing, chapter on speech recognition",),
        theory=(theory.word_error_rate, theory.edit_distance),
        practice=("zhixing.evaluation.text_measures:word_error_rate",),
        related=("edit-distance",),
    )


def _utterances(inputs: WordErrorRateInputs) -> tuple[list[list[str]], list[list[str]]]:
    return [text.split() for text in inputs.candidates], [text.split() for text in inputs.references]


def _word_error_rate_example(inputs: WordErrorRateInputs) -> Iterator[Step]:
    candidates, references = _utterances(inputs)
    names = numbered("", len(references))
    edits = np.array([theory.edit_distance(c, r) for c, r in zip(candidates, references, strict=True)])
    lengths = np.array([len(reference) for reference in references])
    yield Step(tr("edits of every utterance", "各段的编辑次数"), edits, "D(c_i, r_i)", columns=names)
    yield Step(tr("words of every reference", "各段参考的词数"), lengths, "|r_i|", columns=names)
    yield Step(
        tr("their sums", "各自求和"),
        np.array([edits.sum(), lengths.sum()]),
        columns=(tr("edits", "编辑"), tr("words", "词")),
    )
    rate = theory.word_error_rate(candidates, references)
    yield Step(tr("divide: the word error rate", "相除得词错误率"), rate, r"\operatorname{WER}")
    characters = [["".join(text) for text in texts] for texts in (candidates, references)]
    yield Step(tr("the same with characters: the CER", "以字符计：字错误率"), theory.word_error_rate(*characters))


def _word_error_rate_picture(inputs: WordErrorRateInputs) -> Bars:
    candidates, references = _utterances(inputs)
    edits = [float(theory.edit_distance(c, r)) for c, r in zip(candidates, references, strict=True)]
    series = {
        tr("edits", "编辑次数"): np.array(edits),
        tr("words of the reference", "参考词数"): np.array([float(len(reference)) for reference in references]),
    }
    return Bars(tr("edits against length", "编辑次数与长度"), numbered("", len(edits)), series, tr("words", "词"))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (edit_distance, word_error_rate)
