"""Topics of tokenization: how text is cut into pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import require, require_length
from zhixing.language import tr
from zhixing.theory import tokenization as theory


class BytePairInputs(Settings):
    """Words with their counts, how many merges to learn, and a word to cut."""

    words: tuple[str, ...] = setting(
        ("low", "lower", "newest", "widest"), "words of the corpus", "语料中的词", min_length=1
    )
    counts: tuple[int, ...] = setting((5, 2, 6, 3), "how often each occurs", "各词出现的次数")
    merges: int = setting(5, "merges to learn", "要学的合并数", ge=1, le=50)
    encode: str = setting("lowest", "a word to cut, seen or not", "要切分的词，见过与否均可", min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("counts", self.counts, len(self.words))
        require(min(self.counts) > 0, "counts must be at least 1", "counts 须不小于 1")
        require(all(self.words), "words must not hold an empty word", "words 中不可有空词")
        distinct = len(set(self.words)) == len(self.words)
        require(distinct, "words must differ from one another; add up their counts", "words 不可重复；请合并计数")
        require(any(len(word) > 1 for word in self.words), "one word needs two letters", "至少须有一个两字母以上的词")
        return self

    def learned(self) -> list[theory.Pair]:
        """The merges, in the order they were learned."""
        return theory.learn_merges(dict(zip(self.words, self.counts, strict=True)), self.merges)


def byte_pair_encoding() -> Topic[BytePairInputs]:
    """Join the most frequent pair, again and again."""
    return Topic(
        name="byte-pair-encoding",
        family="tokenization",
        title=tr("Byte-pair encoding (BPE)", "字节对编码（BPE）"),
        idea=(
            tr(
                "Whole words leave most words unknown; single letters make texts far too long.",
                "以整词为单位，大多数词都不认识；以字母为单位，文本又太长。",
            ),
            tr(
                "Start from letters and join the most frequent pair of neighbours into a new symbol, again and again.",
                "从字母出发，反复把最常见的相邻对合成一个新符号。",
            ),
            tr(
                "Frequent words become one piece, rare words a few, and no word is ever unknown.",
                "常见词成为一块，罕见词成为几块，没有任何词是未知的。",
            ),
        ),
        formula=(
            r"\operatorname{count}(a, b) = \sum_w n(w) \cdot \#(a b \text{ in } w)",
            r"(a, b)^* = \operatorname{argmax}_{a, b} \operatorname{count}(a, b)",
        ),
        symbols={
            "a, b": tr("neighbouring symbols", "相邻的符号"),
            "n(w)": tr("how often word w occurs", "词 w 出现的次数"),
            r"\#": tr("how often the pair stands in the word", "该对在词中出现的次数"),
        },
        inputs=BytePairInputs,
        example=_byte_pair_example,
        picture=_byte_pair_picture,
        pitfalls=(
            tr(
                "Encoding merges in the order learned, not longest piece first: the results differ.",
                "编码按学得的先后合并，而非先取最长的块：结果不同。",
            ),
            tr(
                "Ties are left open by the paper: two programs learn different merges from the same counts.",
                "论文未规定平局：同样的计数，两个程序会学出不同的合并。",
            ),
            tr(
                "Over bytes a piece may end inside a Chinese character: decode the whole, never piece by piece.",
                "在字节上，一块可能在汉字中间断开：须整串解码，不可逐块解码。",
            ),
            tr(
                "Words are cut apart first and no merge crosses the cut: the cutting rule is part of the tokenizer.",
                "先把文本切成词，合并不越过切口，故切词规则也是分词器的一部分。",
            ),
        ),
        papers=(
            "Sennrich, Haddow & Birch 2016, Neural machine translation of rare words with subword units, algorithm 1",
            "Gage 1994, A new algorithm for data compression",
        ),
        theory=(theory.learn_merges, theory.pair_counts, theory.merge_pair, theory.encode),
        practice=("zhixing.tokenizers.train:train_tokenizer", "zhixing.tokenizers.bpe:BpeTokenizer"),
        related=("bits-per-byte",),
    )


def _byte_pair_example(inputs: BytePairInputs) -> Iterator[Step]:
    split = {tuple(word): count for word, count in zip(inputs.words, inputs.counts, strict=True)}
    top = theory.pair_counts(split).most_common(6)
    says = tr("the most frequent pairs of letters", "最常见的字母对")
    yield Step(says, np.array([float(count) for _, count in top]), "", columns=["".join(pair) for pair, _ in top])
    merges = inputs.learned()
    joined, times = [], []
    for pair in merges:
        joined.append(f"{pair[0]} + {pair[1]}")
        times.append(float(theory.pair_counts(split)[pair]))
        split = {theory.merge_pair(word, pair): count for word, count in split.items()}
    says = tr("merges in the order learned, and their counts", "依次学得的合并及其计数")
    yield Step(says, np.array(times), r"(a, b)^*", columns=joined)
    yield Step(tr("the corpus afterwards", "合并之后的语料"), " · ".join("|".join(word) for word in split))
    pieces = theory.encode(inputs.encode, merges)
    yield Step(tr(f"'{inputs.encode}' in pieces", f"“{inputs.encode}”的切分"), "|".join(pieces))
    yield Step(tr("letters per piece", "每块的字母数"), len(inputs.encode) / len(pieces))


def _byte_pair_picture(inputs: BytePairInputs) -> Tree:
    """How the pieces of the word were put together."""
    merges = inputs.learned()
    nodes = [Tree(letter) for letter in inputs.encode]
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    while known := [p for p in zip((n.text for n in nodes), (n.text for n in nodes[1:]), strict=False) if p in ranks]:
        nodes = _merge_nodes(nodes, min(known, key=ranks.__getitem__))
    return Tree(inputs.encode, tuple(nodes)) if len(nodes) > 1 else nodes[0]


def _merge_nodes(nodes: list[Tree], pair: theory.Pair) -> list[Tree]:
    merged: list[Tree] = []
    rest = list(nodes)
    while rest:
        if len(rest) > 1 and (rest[0].text, rest[1].text) == pair:
            merged.append(Tree("".join(pair), (rest.pop(0), rest.pop(0))))
        else:
            merged.append(rest.pop(0))
    return merged


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (byte_pair_encoding,)
