"""Topics of n-gram models: counting, and how probability is found for what was never seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import require
from zhixing.language import tr
from zhixing.theory import ngram as theory

CHEN = "Chen & Goodman 1998, An empirical study of smoothing techniques for language modeling"
END = "</s>"
SEPARATOR = 0


class NgramInputs(Settings):
    """A corpus of a few sentences, and the question: how probable is ``word`` after ``context``?"""

    sentences: tuple[str, ...] = setting(
        ("the cat sat", "the cat ran", "the dog sat"),
        "the corpus, words apart by blanks",
        "语料，词以空格分开",
        min_length=1,
    )
    context: str = setting("the", "words before, may be empty", "前文，可为空")
    word: str = setting("dog", "the word asked about", "所问的词", min_length=1)

    @model_validator(mode="after")
    def _words_are_known(self) -> Self:
        known = self.vocabulary
        require(len(known) > 1, "sentences must hold at least one word", "sentences 至少须有一个词")
        strange = [word for word in (*self.context.split(), self.word) if word not in known]
        require(
            not strange,
            f"not a word of the corpus: {', '.join(strange)}; it has {', '.join(known)}",
            f"不是语料中的词：{'、'.join(strange)}；语料有 {'、'.join(known)}",
        )
        return self

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The sentences' end, then the words in sorted order; a word's place is its id."""
        return (END, *sorted({word for sentence in self.sentences for word in sentence.split()} - {END}))

    def ids(self, text: str) -> tuple[int, ...]:
        """The words of ``text`` as ids."""
        return tuple(self.vocabulary.index(word) for word in text.split())

    @property
    def asked(self) -> tuple[int, theory.Ngram]:
        """The ids of word and context."""
        return self.vocabulary.index(self.word), self.ids(self.context)

    @property
    def sequences(self) -> list[list[int]]:
        """Each sentence between two separators."""
        return [[SEPARATOR, *self.ids(sentence), SEPARATOR] for sentence in self.sentences]

    @property
    def order(self) -> int:
        """The length of the longest n-gram that the question needs."""
        return len(self.context.split()) + 1

    def counts(self) -> Counter[theory.Ngram]:
        """How often each n-gram occurs."""
        return theory.count_ngrams(self.sequences, self.order, SEPARATOR)

    def contexts(self) -> list[theory.Ngram]:
        """The context, then one word shorter each time, down to none."""
        _, context = self.asked
        return [context[i:] for i in range(len(context) + 1)]

    def shown(self, context: theory.Ngram) -> str:
        """A question as it is written: ``p(dog | the)``."""
        words = " ".join(self.vocabulary[i] for i in context)
        return f"p({self.word} | {words})" if words else f"p({self.word})"


def _followers(inputs: NgramInputs, counts: Any, context: theory.Ngram) -> Any:
    return np.array([counts.get((*context, v), 0) for v in range(len(inputs.vocabulary))], dtype=float)


def _chain(inputs: NgramInputs, probability: Callable[[theory.Ngram], float]) -> Tree:
    """The question, and under it the same with ever shorter contexts, down to the even share."""
    even = len(inputs.vocabulary)
    tree = Tree(f"1 / V = 1 / {even} = {1 / even:.4f}")
    for context in reversed(inputs.contexts()):
        tree = Tree(f"{inputs.shown(context)} = {probability(context):.4f}", (tree,))
    return tree


def n_gram() -> Topic[NgramInputs]:
    """Counting what follows what."""
    return Topic(
        name="n-gram",
        family="ngram",
        title=tr("N-gram models", "n 元模型"),
        idea=(
            tr("How probable is a word after the words before it?", "在前面的词之后，某个词有多大可能？"),
            tr(
                "Pretend that only the last n-1 words matter, count what followed them, and divide.",
                "假设只有最后 n-1 个词要紧，数一数其后出现过什么，再相除。",
            ),
            tr(
                "It is the maximum-likelihood estimate: right about what is frequent, and zero for all it never saw.",
                "这就是极大似然估计：常见的估得准，没见过的一律为零。",
            ),
        ),
        formula=(
            r"p(w_t \mid w_{<t}) \approx p(w_t \mid w_{t-n+1}, \dots, w_{t-1})",
            r"p(w \mid h) = \frac{c(h w)}{\sum_v c(h v)}",
        ),
        symbols={
            "h": tr("context (history), n-1 words", "前文（历史），n-1 个词"),
            "c": tr("how often these words occur in a row", "这些词相连出现的次数"),
            "V": tr("number of different words, the sentence's end included", "不同词的个数，含句末标记"),
        },
        inputs=NgramInputs,
        example=_n_gram_example,
        picture=_n_gram_picture,
        pitfalls=(
            tr(
                "One unseen word makes the whole text impossible: perplexity is infinite without smoothing.",
                "只要有一个没见过的词，整段文本的概率就为零：不平滑，困惑度便是无穷。",
            ),
            tr(
                "The end of a sentence is a word to predict, its beginning is context only.",
                "句末是须预测的词，句首只作前文。",
            ),
            tr(
                "Perplexities compare only over the same vocabulary and the same tokens.",
                "只有词表与切分都相同，困惑度才可比较。",
            ),
        ),
        papers=("Shannon 1948, A mathematical theory of communication, section 3", CHEN),
        theory=(theory.count_ngrams, theory.maximum_likelihood),
        practice=("zhixing.models.ngram_counts:count_orders", "zhixing.models.ngram:NgramModel"),
        related=("witten-bell", "kneser-ney", "perplexity"),
    )


def _n_gram_example(inputs: NgramInputs) -> Iterator[Step]:
    counts, (word, context) = inputs.counts(), inputs.asked
    after = tr(f"after '{inputs.context}'", f"“{inputs.context}”之后") if context else tr("in all", "总计")
    followers = _followers(inputs, counts, context)
    yield Step(tr(f"counts {after}", f"{after}的计数"), followers, "c(h v)", columns=inputs.vocabulary)
    yield Step(tr("their sum", "其和"), float(followers.sum()), r"\sum_v c(h v)")
    size = len(inputs.vocabulary)
    every = np.array([theory.maximum_likelihood(v, context, counts, size) for v in range(size)])
    yield Step(tr("divide: all probabilities", "相除得全部概率"), every, r"p(v \mid h)", columns=inputs.vocabulary)
    yield Step(inputs.shown(context), theory.maximum_likelihood(word, context, counts, size), r"p(w \mid h)")


def _n_gram_picture(inputs: NgramInputs) -> Bars:
    counts, size = inputs.counts(), len(inputs.vocabulary)
    series = {
        " ".join(inputs.vocabulary[i] for i in c) or "∅": np.array(
            [theory.maximum_likelihood(v, c, counts, size) for v in range(size)]
        )
        for c in inputs.contexts()
    }
    return Bars(tr("what follows each context", "各前文之后"), inputs.vocabulary, series, "p")


def witten_bell() -> Topic[NgramInputs]:
    """Reserve probability by how many different words followed."""
    return Topic(
        name="witten-bell",
        family="ngram",
        title=tr("Witten–Bell smoothing", "Witten–Bell 平滑"),
        idea=(
            tr(
                "How much probability should be kept for words that never followed this context?",
                "该为从未在此前文后出现的词留多少概率？",
            ),
            tr(
                "As much as new words came before: each different follower was once new, so count each once more.",
                "过去出现过多少“新”词就留多少：每种后续词都曾是新词，故各多计一次。",
            ),
            tr(
                "That share goes to the shorter context, and so on down to an even share for every word.",
                "这一份交给更短的前文，如此递推，直到各词均分。",
            ),
        ),
        formula=(r"p(w \mid h) = \frac{c(h w) + t(h)\, p(w \mid h')}{\sum_v c(h v) + t(h)}",),
        symbols={
            "c": tr("counts", "计数"),
            "t(h)": tr("how many different words followed h", "h 之后出现过的不同词数"),
            "h'": tr("the context without its first word", "去掉首词的前文"),
        },
        inputs=NgramInputs,
        example=_witten_bell_example,
        picture=_witten_bell_picture,
        pitfalls=(
            tr(
                "t counts different words, not occurrences: a word that followed a hundred times counts once.",
                "t 数的是不同的词而非次数：出现一百次的词也只计一次。",
            ),
            tr(
                "A context never seen has nothing to mix: all goes to the shorter one, and 0/0 must not be computed.",
                "从未见过的前文无可混合：全部交给更短者，不可去算 0/0。",
            ),
        ),
        papers=("Witten & Bell 1991, The zero-frequency problem, method C", f"{CHEN}, section 2.5"),
        theory=(theory.witten_bell, theory.count_ngrams),
        related=("n-gram", "kneser-ney"),
    )


def _witten_bell_example(inputs: NgramInputs) -> Iterator[Step]:
    counts, (word, _), size = inputs.counts(), inputs.asked, len(inputs.vocabulary)
    yield Step(tr("start: an even share for every word", "起点：各词均分"), 1 / size, r"\frac{1}{V}")
    rows, table = [], []
    for context in reversed(inputs.contexts()):
        followers = _followers(inputs, counts, context)
        shorter = theory.witten_bell(word, context[1:], counts, size) if context else 1 / size
        p = theory.witten_bell(word, context, counts, size)
        rows.append(inputs.shown(context))
        table.append([followers[word], followers.sum(), float((followers > 0).sum()), shorter, p])
    columns = ("c(hw)", "∑c(hv)", "t(h)", "p(w|h')", "p(w|h)")
    says = tr("from the shortest context to the longest", "由最短的前文到最长的")
    yield Step(says, np.array(table), r"\frac{c + t\, p'}{\sum_v c + t}", rows, columns)
    _, context = inputs.asked
    total = sum(theory.witten_bell(v, context, counts, size) for v in range(size))
    yield Step(tr("check: all words together", "核对：全部词之和"), total, r"\sum_w p(w \mid h)")


def _witten_bell_picture(inputs: NgramInputs) -> Tree:
    counts, (word, _), size = inputs.counts(), inputs.asked, len(inputs.vocabulary)
    return _chain(inputs, lambda context: theory.witten_bell(word, context, counts, size))


class KneserNeyInputs(NgramInputs):
    """The same, and whether each order has one discount or three."""

    modified: bool = setting(False, "three discounts per order instead of one", "每阶用三个折扣而非一个")

    def model(self) -> theory.Smoothing:
        """The smoothed model of the corpus."""
        return theory.kneser_ney(self.sequences, self.order, SEPARATOR, len(self.vocabulary), self.modified)


def kneser_ney() -> Topic[KneserNeyInputs]:
    """Discount what was seen, and ask of shorter contexts in how many places a word fits."""
    return Topic(
        name="kneser-ney",
        family="ngram",
        title=tr("Kneser–Ney smoothing", "Kneser–Ney 平滑"),
        idea=(
            tr(
                "'Francisco' is frequent, but only after 'San': its count says little about a new context.",
                "“Francisco”很常见，却只在“San”之后：其次数于新的前文几无意义。",
            ),
            tr(
                "Take a discount off every count, and give it to a shorter model that counts different predecessors.",
                "从每个计数中扣去一点，交给更短的模型；后者数的是不同前词的个数。",
            ),
            tr(
                "With one discount for counts of 1, 2 and 3 or more it is the best n-gram smoothing known.",
                "若对计数 1、2、3 及以上各用一个折扣，便是已知最好的 n 元平滑。",
            ),
        ),
        formula=(
            r"p(w \mid h) = \frac{\max(a(h w) - D, 0)}{\sum_v a(h v)} + \gamma(h)\, p(w \mid h')",
            r"\gamma(h) = \frac{D\, t(h)}{\sum_v a(h v)}",
            r"D = \frac{n_1}{n_1 + 2 n_2}",
        ),
        symbols={
            "a": tr("counts; in lower orders of different words before", "计数；低阶时为不同前词的个数"),
            "D": tr("discount, from the counts of counts", "折扣，由计数的计数得出"),
            "n_1, n_2": tr("n-grams counted once, twice", "计数为一、为二的 n 元组个数"),
            "t(h)": tr("how many different words followed h", "h 之后的不同词数"),
            "h'": tr("the context without its first word", "去掉首词的前文"),
        },
        inputs=KneserNeyInputs,
        example=_kneser_ney_example,
        picture=_kneser_ney_picture,
        pitfalls=(
            tr(
                "Shorter orders count different predecessors, the highest occurrences; they are often swapped.",
                "低阶数不同的前词，最高阶数次数；两者常被弄反。",
            ),
            tr(
                "N-grams at the beginning of a sentence have nothing before them and keep their occurrences.",
                "句首的 n 元组之前无词，保留其出现次数。",
            ),
            tr(
                "On a tiny or filtered corpus n1 or n2 may be 0 and the discount undefined: programs then differ.",
                "语料过小或经筛选时，n1 或 n2 可能为 0，折扣无定义：各程序做法不一。",
            ),
        ),
        papers=(
            "Kneser & Ney 1995, Improved backing-off for m-gram language modeling",
            "Ney, Essen & Kneser 1994, On structuring probabilistic dependences in stochastic language modelling",
            f"{CHEN}, section 3, equation 26",
        ),
        theory=(theory.kneser_ney, theory.adjusted_counts, theory.single_discount, theory.modified_discounts),
        practice=("zhixing.models.ngram:NgramModel.fit", "zhixing.models.ngram_counts:smooth"),
        related=("n-gram", "witten-bell", "warm-start"),
    )


def _kneser_ney_example(inputs: KneserNeyInputs) -> Iterator[Step]:
    model, (_, context) = inputs.model(), inputs.asked
    counts = [theory.counts_of_counts(model.counts, n)[:2] for n in range(1, inputs.order + 1)]
    orders = [f"n = {n}" for n in range(1, inputs.order + 1)]
    says = tr("n-grams counted once and twice", "计数为一与为二的 n 元组")
    yield Step(says, np.array(counts, dtype=float), "n_1, n_2", orders, ("n1", "n2"))
    discounts = np.array([model.discounts[n] for n in range(1, inputs.order + 1)])
    yield Step(tr("discounts for counts 1, 2, 3+", "计数 1、2、3+ 的折扣"), discounts, "D", orders, ("1", "2", "3+"))
    table = [_kneser_ney_row(inputs, model, c) for c in reversed(inputs.contexts())]
    rows = [inputs.shown(c) for c in reversed(inputs.contexts())]
    columns = ("a(hw)", "∑a(hv)", "t(h)", "p(w|h')", "p(w|h)")
    yield Step(
        tr("from the shortest context to the longest", "由最短的前文到最长的"), np.array(table), "", rows, columns
    )
    total = sum(model.probability(v, context) for v in range(len(inputs.vocabulary)))
    yield Step(tr("check: all words together", "核对：全部词之和"), total, r"\sum_w p(w \mid h)")


def _kneser_ney_row(inputs: KneserNeyInputs, model: theory.Smoothing, context: theory.Ngram) -> list[float]:
    word, _ = inputs.asked
    followers = _followers(inputs, model.counts, context)
    shorter = model.probability(word, context[1:]) if context else 1 / model.vocab_size
    return [followers[word], followers.sum(), float((followers > 0).sum()), shorter, model.probability(word, context)]


def _kneser_ney_picture(inputs: KneserNeyInputs) -> Tree:
    model, (word, _) = inputs.model(), inputs.asked
    return _chain(inputs, lambda context: model.probability(word, context))


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (n_gram, witten_bell, kneser_ney)
