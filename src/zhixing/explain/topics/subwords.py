"""Topics of sub-words: FastText's n-grams and WordPiece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import require, require_length
from zhixing.language import tr
from zhixing.theory import tokenization, word_vectors

FASTTEXT = "Bojanowski, Grave, Joulin & Mikolov 2017, Enriching word vectors with subword information"


class FastTextInputs(Settings):
    """Words to compare, and the n-grams they are made of."""

    words: tuple[str, ...] = setting(
        ("walking", "walked", "talking", "fish"),
        "words; the first is cut up",
        "词；切分其中第一个",
        min_length=2,
        max_length=6,
    )
    shortest: int = setting(3, "shortest n-gram", "最短的 n 元组", unit="characters", ge=1, le=6)
    longest: int = setting(4, "longest n-gram", "最长的 n 元组", unit="characters", ge=1, le=6)
    buckets: int = setting(1000, "rows of the shared table", "共享表的行数", ge=2, le=100_000)
    width: int = setting(100, "numbers per vector", "向量的维数", ge=2, le=300)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require(
            self.shortest <= self.longest,
            f"shortest ({self.shortest}) must not exceed longest ({self.longest})",
            f"shortest（{self.shortest}）不可大于 longest（{self.longest}）",
        )
        require(
            all(1 <= len(word) <= 20 for word in self.words),
            "words must have 1 to 20 letters",
            "每词须为 1 到 20 个字母",
        )
        return self

    def grams(self, word: str) -> list[str]:
        """The n-grams of a word."""
        return word_vectors.subwords(word, self.shortest, self.longest)

    def cosines(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """How alike the words are (N, N) when every n-gram's vector is random: only shared n-grams make it so."""
        table = np.random.default_rng(0).normal(size=(self.buckets, self.width))
        vectors = np.array([word_vectors.compose(self.grams(word), table) for word in self.words])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors @ vectors.T)


def fasttext() -> Topic[FastTextInputs]:
    """A word's vector is the sum of its n-grams' vectors."""
    return Topic(
        name="fasttext",
        family="words",
        title=tr("FastText: vectors from sub-words", "FastText：由子词合成词向量"),
        idea=(
            tr(
                "A table of word vectors knows nothing of a word it has not met, and little of a rare one.",
                "词向量表对未见之词一无所知，对罕见之词所知甚少。",
            ),
            tr(
                "Cut every word into overlapping n-grams of letters, and let its vector be the sum of theirs.",
                "把每个词切成相互重叠的字母 n 元组，以其向量之和为词向量。",
            ),
            tr(
                "Words that share a stem or an ending are alike from the start, and every string has a vector.",
                "于是同词干、同词尾的词天然相近，任何字符串都有向量。",
            ),
        ),
        formula=(
            r"v_w = \sum_{g \in G_w} z_g",
            r"s(w, c) = \sum_{g \in G_w} z_g^\top u_c",
        ),
        symbols={
            "G_w": tr("n-grams of <word>, and <word> itself", "<词> 的各 n 元组及其自身"),
            "z_g": tr(
                "vector of n-gram g, found by its hash in a table (buckets, D)",
                "n 元组 g 的向量，按哈希值查表 (buckets, D)",
            ),
            "v_w": tr("vector of the word; (D,)", "词向量；(D,)"),
            "s(w, c)": tr("score of c as a neighbour of w", "c 作为 w 之邻词的得分"),
        },
        inputs=FastTextInputs,
        example=_fasttext_example,
        picture=lambda inputs: HeatMap(
            tr("cosine of the words, before anything is learned", "学习之前各词的余弦相似度"),
            inputs.cosines(),
            inputs.words,
            inputs.words,
        ),
        pitfalls=(
            tr(
                "The marks < and > matter: 'her' inside 'where' is another n-gram than the word <her>.",
                "标记 < 与 > 不可省：where 中的 her 与单词 <her> 是不同的 n 元组。",
            ),
            tr(
                "Many n-grams share a row of the table; too few buckets and strangers become relatives.",
                "许多 n 元组共用一行；行数太少，陌生的词便成了亲戚。",
            ),
            tr(
                "N-grams are of characters, buckets of bytes: cutting bytes splits Chinese characters in the middle.",
                "n 元组按字符切，哈希按字节算：若按字节切，汉字会被拦腰截断。",
            ),
        ),
        papers=(f"{FASTTEXT}, section 3.2",),
        theory=(word_vectors.subwords, word_vectors.subword_bucket, word_vectors.compose),
        practice=("zhixing.models.word_vector_tables:gram_tables", "zhixing.models.word_vectors:WordVectors.vector"),
        related=("skip-gram", "wordpiece"),
    )


def _fasttext_example(inputs: FastTextInputs) -> Iterator[Step]:
    word, other = inputs.words[:2]
    grams = inputs.grams(word)
    yield Step(tr(f"the n-grams of {word}", f"{word} 的 n 元组"), " ".join(grams), "G_w")
    first = grams[: min(6, len(grams))]
    rows = np.array([[float(word_vectors.subword_bucket(gram, inputs.buckets)) for gram in first]])
    yield Step(tr("the rows that the first ones use", "前几个所用的行号"), rows, rows=(tr("row", "行"),), columns=first)
    shared = [gram for gram in grams if gram in inputs.grams(other)]
    yield Step(tr(f"shared with {other}", f"与 {other} 共有者"), " ".join(shared) or "–")
    counts = np.array([float(len(set(grams) & set(inputs.grams(w)))) for w in inputs.words])
    yield Step(tr("how many each word shares with the first", "各词与首词共有的个数"), counts, columns=inputs.words)
    cosines = inputs.cosines()[0]
    yield Step(tr("cosine with the first, all rows random", "各行随机时与首词的余弦"), cosines, columns=inputs.words)


class WordPieceInputs(Settings):
    """Counted words, how many joins to learn, and a word to cut."""

    words: tuple[str, ...] = setting(
        ("hug", "pug", "pun", "bun", "hugs"), "words of the text", "文本中的词", min_length=1, max_length=12
    )
    counts: tuple[int, ...] = setting((10, 5, 12, 4, 5), "how often each occurs", "各词的次数")
    joins: int = setting(4, "pieces to learn", "要学的片段数", unit="pieces", ge=1, le=50)
    word: str = setting("bugs", "a word to cut", "要切分的词", min_length=1, max_length=20)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("counts", self.counts, len(self.words))
        require(min(self.counts) > 0, "counts must be more than 0", "次数须大于 0")
        require(min(map(len, self.words)) > 0, "words must not be empty", "词不可为空")
        return self

    def word_counts(self) -> dict[str, int]:
        """The words with their counts."""
        return dict(zip(self.words, self.counts, strict=True))

    def scores(self) -> dict[tuple[str, str], float]:
        """The score of each pair of neighbours, the best first."""
        symbols = {tokenization.wordpiece_symbols(word): count for word, count in self.word_counts().items()}
        found = tokenization.wordpiece_scores(symbols)
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def wordpiece() -> Topic[WordPieceInputs]:
    """Join what belongs together; cut by the longest match."""
    return Topic(
        name="wordpiece",
        family="tokenization",
        title="WordPiece",
        idea=(
            tr(
                "Byte-pair encoding joins the most frequent pair, even where its parts are frequent anyway.",
                "字节对编码合并最频繁的一对，哪怕各部分本就频繁。",
            ),
            tr(
                "Join the pair that is frequent for its parts: it makes the text most likely. Cut by longest match.",
                "应合并相对其各部分而言频繁的一对，使文本似然增加最多；切分则取最长匹配。",
            ),
            tr(
                "BERT's vocabulary was made so, and its pieces inside a word are marked ##.",
                "BERT 的词表即由此而来，词中的片段以 ## 标记。",
            ),
        ),
        formula=(
            r"\text{score}(a, b) = \frac{n(ab)}{n(a) n(b)}",
            r"\text{gain}(a, b) = n(ab) \log \frac{n(ab) N}{n(a) n(b)}",
        ),
        symbols={
            "n(a)": tr("how often piece a stands in the text", "片段 a 在文本中的次数"),
            "n(ab)": tr("how often b follows a inside a word", "词内 b 紧随 a 的次数"),
            "N": tr("all pieces of the text, counted", "文本中片段的总数"),
        },
        inputs=WordPieceInputs,
        example=_wordpiece_example,
        picture=_wordpiece_picture,
        pitfalls=_wordpiece_pitfalls(),
        papers=(
            "Schuster & Nakajima 2012, Japanese and Korean voice search, section 3",
            "Song, Salcianu, Song, Dopson & Zhou 2021, Fast WordPiece tokenization, section 3",
        ),
        theory=(
            tokenization.wordpiece_scores,
            tokenization.wordpiece_gains,
            tokenization.learn_wordpieces,
            tokenization.encode_wordpiece,
        ),
        practice=(
            "zhixing.tokenizers.wordpiece_training:learn_wordpieces",
            "zhixing.tokenizers.wordpiece:WordPieceTokenizer",
        ),
        related=("byte-pair-encoding", "unigram-tokenizer", "fasttext"),
    )


def _wordpiece_pitfalls() -> tuple[str, ...]:
    return (
        tr(
            "A word with one piece that does not fit becomes [UNK] as a whole, not only that part.",
            "只要有一处匹配不上，整个词便成为 [UNK]，而非仅那一处。",
        ),
        tr(
            "Greedy matching is not the merges in order: the joins are not kept, only the pieces.",
            "切分是贪心匹配，而非依次合并：保存的只有片段，没有合并次序。",
        ),
        tr(
            "The tokenizers library's trainer of that name joins the most frequent pair, like byte-pair encoding.",
            "tokenizers 库中同名的训练器其实与字节对编码一样，合并最频繁的一对。",
        ),
        tr(
            "The score is the gain per occurrence: in real text the rarest win. Training uses the whole gain.",
            "得分是每次出现的增益，在真实文本上胜出的总是最罕见的对；训练须用合计增益。",
        ),
    )


def _wordpiece_example(inputs: WordPieceInputs) -> Iterator[Step]:
    counts = inputs.word_counts()
    spelled = ", ".join(f"{' '.join(tokenization.wordpiece_symbols(word))} ({n})" for word, n in counts.items())
    yield Step(tr("the words as symbols, with their counts", "各词拆成符号，附次数"), spelled)
    best = list(inputs.scores().items())[:6]
    if best:
        names = [" ".join(pair) for pair, _ in best]
        yield Step(
            tr("the best scores", "得分最高者"), np.array([score for _, score in best]), r"\text{score}", columns=names
        )
    pieces = tokenization.learn_wordpieces(counts, inputs.joins)
    alphabet = len(tokenization.learn_wordpieces(counts, 0))
    yield Step(tr("learned, in this order", "依次学得"), " ".join(pieces[alphabet:]) or "–")
    cut = " ".join(tokenization.encode_wordpiece(inputs.word, pieces))
    yield Step(tr(f"'{inputs.word}', cut by the longest match", f"“{inputs.word}”按最长匹配切分"), cut)
    symbols = {tokenization.wordpiece_symbols(word): count for word, count in counts.items()}
    gains = sorted(tokenization.wordpiece_gains(symbols).items(), key=lambda pair: -pair[1])[:6]
    if gains:
        names = [" ".join(pair) for pair, _ in gains]
        says = tr("what training ranks by: gains of all occurrences together", "训练所用的次序：所有出现的合计增益")
        yield Step(says, np.array([gain for _, gain in gains]), r"\text{gain}", columns=names)


def _wordpiece_picture(inputs: WordPieceInputs) -> Bars:
    best = list(inputs.scores().items())[:8]
    title = tr("score of each pair", "各相邻对的得分")
    return Bars(title, [" ".join(pair) for pair, _ in best], {"score": np.array([score for _, score in best])})


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (fasttext, wordpiece)
