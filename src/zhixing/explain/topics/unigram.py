"""The topic of the unigram model: many ways to cut a word, and how probable each is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import require, require_length
from zhixing.language import tr
from zhixing.theory import tokenization

KUDO = "Kudo 2018, Subword regularization: improving neural network translation models with multiple subword candidates"


class UnigramInputs(Settings):
    """Counted words, rounds of learning, and a word to cut."""

    words: tuple[str, ...] = setting(
        ("hug", "pug", "pun", "bun", "hugs"), "words of the text", "文本中的词", min_length=1, max_length=12
    )
    counts: tuple[int, ...] = setting((10, 5, 12, 4, 5), "how often each occurs", "各词的次数")
    longest: int = setting(3, "longest piece", "最长的片段", unit="characters", ge=1, le=8)
    rounds: int = setting(3, "passes of expectation-maximisation", "EM 迭代次数", ge=1, le=20)
    kept: int = setting(12, "pieces kept by pruning", "剪枝后保留的片段数", unit="pieces", ge=1, le=100)
    word: str = setting(
        "hugs", "a word to cut, of letters above", "要切分的词，字母须见于上文", min_length=1, max_length=8
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("counts", self.counts, len(self.words))
        require(min(self.counts) > 0, "counts must be more than 0", "次数须大于 0")
        require(
            all(1 <= len(word) <= 12 for word in self.words),
            "words must have 1 to 12 letters",
            "每词须为 1 到 12 个字母",
        )
        unknown = sorted(set(self.word) - set("".join(self.words)))
        require(not unknown, f"letters {unknown} stand in no word of the text", f"字母 {unknown} 未见于文本")
        return self

    def word_counts(self) -> dict[str, int]:
        """The words with their counts."""
        return dict(zip(self.words, self.counts, strict=True))

    def learned(self) -> dict[str, float]:
        """The pieces after learning; single letters stay, however little they are needed."""
        probabilities = tokenization.seed_pieces(self.word_counts(), self.longest)
        for _ in range(self.rounds):
            stepped = tokenization.unigram_em_step(self.word_counts(), probabilities)
            probabilities = {p: max(stepped.get(p, 0.0), 1e-4) for p in probabilities if p in stepped or len(p) == 1}
            total = sum(probabilities.values())
            probabilities = {piece: p / total for piece, p in probabilities.items()}
        return probabilities


def unigram_tokenizer() -> Topic[UnigramInputs]:
    """Many pieces first, then fewer."""
    return Topic(
        name="unigram-tokenizer",
        family="tokenization",
        title=tr("Unigram tokenizer", "Unigram 分词"),
        idea=(
            tr(
                "A word can be cut in many ways; which pieces should the vocabulary hold?",
                "一个词有多种切法；词表应收哪些片段？",
            ),
            tr(
                "Begin with far too many pieces, learn how probable each is, and drop those that are missed least.",
                "先收极多片段，学出各自的概率，再剔除最不可惜者。",
            ),
            tr(
                "A text is cut the most probable way, or, in training, some other way now and then.",
                "切分时取概率最大者；训练时亦可偶尔另取一种。",
            ),
        ),
        formula=(
            r"L = \sum_{w} n(w) \log \sum_{x \in S(w)} \prod_{i} p(x_i)",
            r"x^{*} = \operatorname{argmax}_{x \in S(w)} \prod_{i} p(x_i)",
            r"\text{loss}(x) = L(p) - L\big(p \text{ without } x\big)",
        ),
        symbols={
            "S(w)": tr("all ways of cutting word w into pieces", "词 w 的所有切法"),
            "p(x_i)": tr("probability of a piece; all together sum to one", "片段的概率；总和为一"),
            "n(w)": tr("how often w stands in the text", "w 在文本中的次数"),
            "L": tr("log-likelihood of the text, in nats", "文本的对数似然，单位为奈特"),
        },
        inputs=UnigramInputs,
        example=_unigram_example,
        picture=_unigram_picture,
        pitfalls=(
            tr(
                "Single characters are never dropped, or some words could not be cut at all.",
                "单个字符绝不剔除，否则有的词将无从切分。",
            ),
            tr(
                "The likelihood sums over all ways; counting only the best is an approximation: longer pieces win.",
                "似然对所有切法求和；只计最佳切法是偏好长片段的近似。",
            ),
            tr(
                "With sampling turned on, the same text gives other ids each time: turn it off for evaluation.",
                "开启采样时，同一文本每次得到的编号不同：评测时务必关闭。",
            ),
        ),
        papers=(f"{KUDO}, section 3.2",),
        theory=(
            tokenization.seed_pieces,
            tokenization.unigram_log_likelihood,
            tokenization.unigram_em_step,
            tokenization.pruning_loss,
            tokenization.prune,
            tokenization.encode_unigram,
        ),
        practice=("zhixing.tokenizers.unigram_training:learn_unigram", "zhixing.tokenizers.unigram:UnigramTokenizer"),
        related=("wordpiece", "byte-pair-encoding", "viterbi"),
    )


def _unigram_example(inputs: UnigramInputs) -> Iterator[Step]:
    counts, learned = inputs.word_counts(), inputs.learned()
    seeds = tokenization.seed_pieces(counts, inputs.longest)
    yield Step(tr("pieces to begin with", "初始片段数"), float(len(seeds)))
    before, after = (tokenization.unigram_log_likelihood(counts, p) for p in (seeds, learned))
    yield Step(tr("log-likelihood of the text at first", "起初文本的对数似然"), before, "L")
    yield Step(tr("and after learning", "学习之后"), after, "L")
    top = sorted(learned, key=lambda piece: -learned[piece])[:6]
    yield Step(
        tr("the most probable pieces", "概率最大的片段"), np.array([learned[p] for p in top]), "p(x)", columns=top
    )
    long = [piece for piece in learned if len(piece) > 1]
    losses = {piece: tokenization.pruning_loss(counts, learned, piece) for piece in long}
    missed = sorted(losses, key=lambda piece: -losses[piece])[:6]
    if missed:
        values = np.array([losses[piece] for piece in missed])
        yield Step(tr("those that would be missed most", "最可惜者"), values, r"\text{loss}(x)", columns=missed)
    pruned = tokenization.prune(counts, learned, inputs.kept)
    yield Step(tr("the vocabulary after pruning", "剪枝后的词表"), " ".join(pruned))
    cut = " ".join(tokenization.encode_unigram(inputs.word, pruned))
    yield Step(tr(f"the best way to cut '{inputs.word}'", f"“{inputs.word}”的最佳切法"), cut, "x^{*}")


def _unigram_picture(inputs: UnigramInputs) -> Bars:
    pieces = tokenization.prune(inputs.word_counts(), inputs.learned(), inputs.kept)
    ways = {" ".join(way): math.prod(pieces.get(piece, 0.0) for piece in way) for way in _ways(inputs.word)}
    best = sorted((way for way in ways if ways[way] > 0), key=lambda way: -ways[way])[:8]
    total = tokenization.unigram_sums(inputs.word, pieces)[-1]
    title = tr(f"ways of cutting '{inputs.word}', their shares", f"“{inputs.word}”各切法所占的比重")
    return Bars(title, best, {"p": np.array([ways[way] / total for way in best])})


def _ways(word: str) -> Iterator[list[str]]:
    """Yield all ways of cutting a word of at most 8 letters: 128 of them."""
    for cuts in itertools.product((False, True), repeat=len(word) - 1):
        ends = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(word)]
        yield [word[a:b] for a, b in itertools.pairwise(ends)]


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (unigram_tokenizer,)
