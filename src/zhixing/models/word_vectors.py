"""Word vectors: skip-gram and CBOW, FastText (n-grams of letters), GloVe.

Papers: Mikolov et al. 2013 (a, b); Bojanowski et al. 2017; Pennington, Socher & Manning 2014.

A model of this family says nothing of the next word: it is no ``LanguageModel`` but a table of words and vectors,
in which nearness is likeness. Trained by ``zhixing.pretraining.word_vectors``, saved as a model folder
(``config.json``, ``model.safetensors``, ``vocabulary.txt``: a word a line, the most frequent first), exchanged by
``zhixing.models.interop.vectors``.

What differs from the papers: a vector made of n-grams is their mean, as in the authors' program, where the paper
sums (the direction is the same); GloVe's vector is the sum of the word's and the context's, as its section 4.2 says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.errors import DataError, ModelFolderError, nearest
from zhixing.language import tr
from zhixing.model_folder import read_bytes, read_config, read_tensors
from zhixing.models.word_vector_tables import gram_bucket, word_grams

Floats = NDArray[np.float32]
VOCABULARY = "vocabulary.txt"


class WordVectorSettings(Settings):
    """Settings of word vectors and of their training; the recipe's ``tokenizer`` and ``training`` have no say."""

    family: Literal["word_vectors"] = "word_vectors"
    kind: Literal["skip_gram", "cbow", "glove"] = setting(
        "skip_gram",
        "a word predicts its neighbours, they predict it, or their counts are fitted",
        "由词预测邻词、由邻词预测词，或拟合共现计数",
    )
    loss: Literal["negative_sampling", "hierarchical_softmax"] = setting(
        "negative_sampling", "of skip-gram and CBOW", "skip-gram 与 CBOW 的损失"
    )
    subwords: bool = setting(
        False, "FastText: a word is the mean of its n-grams", "FastText：词向量为其字符 n 元组的均值"
    )
    width: int = setting(100, "numbers in a vector", "向量维数", ge=1)
    window: int = setting(5, "neighbours on each side at most", "每侧最多的邻词数", unit="words", ge=1)
    negatives: int = setting(5, "noise words drawn for each word", "每个词抽取的噪声词数", ge=1)
    noise_power: float = setting(0.75, "exponent of counts in the noise", "噪声分布中计数的指数", ge=0)
    thinning: float = setting(
        1e-3,
        "a word whose share is above is sometimes left out; 0: never",
        "占比高于此值的词会被随机略去；0 表示从不",
        ge=0,
    )
    min_count: int = setting(5, "rarer words are left out", "更少见的词不计", ge=1)
    max_words: int = setting(1_000_000, "words at most, the most frequent", "最多保留的词数（按频次）", ge=2)
    lowercase: bool = setting(True, "the text is read in lower case", "文本转为小写")
    words: Literal["unicode", "spaces"] = setting(
        "unicode",
        "runs of letters and digits, each Han character alone; or whatever stands between spaces",
        "连续的字母数字为一词、汉字各成一词；或以空白分隔",
    )
    shortest_gram: int = setting(3, "of FastText", "FastText 的最短 n 元组", unit="characters", ge=1)
    longest_gram: int = setting(6, "of FastText", "FastText 的最长 n 元组", unit="characters", ge=1)
    buckets: int = setting(200_000, "rows that n-grams share", "n 元组共用的行数", ge=1)
    count_cap: float = setting(100.0, "GloVe: count from which a pair weighs 1", "GloVe：权重为 1 的计数下限", gt=0)
    count_power: float = setting(0.75, "GloVe: exponent of the weight below", "GloVe：其下权重的指数", gt=0)
    epochs: int = setting(5, "passes over the text", "遍历文本的次数", ge=1)
    learning_rate: float | None = setting(
        None,
        "at the start; null: 0.025 for skip-gram, 0.1 for CBOW, 0.05 for GloVe",
        "起始学习率；null：skip-gram 0.025，CBOW 0.1，GloVe 0.05",
        gt=0,
    )
    workers: int = setting(
        1, "threads; with more than one, runs differ a little", "线程数；多于一个时各次结果略有不同", ge=1, le=256
    )

    @model_validator(mode="after")
    def _fits(self) -> WordVectorSettings:
        if self.shortest_gram > self.longest_gram:
            raise ValueError(tr("shortest_gram is above longest_gram", "shortest_gram 大于 longest_gram"))
        if self.kind == "glove" and (self.subwords or self.loss == "hierarchical_softmax"):
            raise ValueError(
                tr(
                    "kind: glove has neither subwords nor hierarchical_softmax",
                    "kind: glove 不支持 subwords 与 hierarchical_softmax",
                )
            )
        return self

    @property
    def rate(self) -> float:
        """The learning rate at the start."""
        return self.learning_rate or {"skip_gram": 0.025, "cbow": 0.1, "glove": 0.05}[self.kind]


class WordVectors:
    """Words and their vectors."""

    family = "word_vectors"

    def __init__(
        self,
        words: Sequence[str],
        vectors: Floats,
        grams: Floats | None = None,
        lengths: tuple[int, int] = (3, 6),
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a table.

        Args:
            words: V different ones.
            vectors: (V, D).
            grams: (buckets, D) vectors of n-grams, for words that are not in the table; None: they have no vector.
            lengths: shortest and longest n-gram.
            made_by: the settings, for the record.
        """
        self.words, self.vectors, self.grams, self.lengths = tuple(words), vectors, grams, lengths
        self.made_by = dict(made_by or {})
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @property
    def width(self) -> int:
        """``D``."""
        return self.vectors.shape[1]

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def __len__(self) -> int:
        return len(self.words)

    def number(self, word: str) -> int | None:
        """Return the row of a word, None if the table has none."""
        return self._numbers.get(word)

    def vector(self, word: str) -> Floats:
        """Return (D,) a word's vector; with n-grams, that of any word with one.

        Raises:
            DataError: the word has no vector; the nearest spelling is named.
        """
        number = self._numbers.get(word)
        if number is not None:
            return self.vectors[number]
        if self.grams is not None and (found := word_grams(word, *self.lengths)):
            return mean_of_grams(found, self.grams)
        hint = nearest(word, self.words[:50_000]) if len(self.words) > 20 else ""
        hint = hint if "'" in hint else ""
        raise DataError(tr(f"'{word}' has no vector; {hint}", f"'{word}' 没有向量；{hint}").rstrip("；; "))

    def similarity(self, first: str, second: str) -> float:
        """Return the cosine of two words' vectors, -1 to 1; 0 where one is all zeros."""
        a, b = self.vector(first).astype(np.float64), self.vector(second).astype(np.float64)
        return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300))

    def nearest_to(self, target: Floats, number: int, without: Sequence[str] = ()) -> list[tuple[str, float]]:
        """Return the words whose vectors have the largest cosine with ``target`` (D,), the best first."""
        cosines = self.directions @ (target / max(float(np.linalg.norm(target)), 1e-30)).astype(np.float32)
        cosines[[self._numbers[word] for word in without if word in self._numbers]] = -np.inf
        number = min(number, int(np.isfinite(cosines).sum()))
        best = np.argpartition(-cosines, max(number - 1, 0))[:number]
        order = best[np.lexsort((best, -cosines[best]))]
        return [(self.words[i], float(cosines[i])) for i in order]

    def neighbours(self, word: str, number: int = 10) -> list[tuple[str, float]]:
        """Return the words nearest to a word, without itself, and their cosines."""
        return self.nearest_to(self.vector(word), number, (word,))

    def analogy(self, first: str, second: str, third: str, number: int = 1) -> list[tuple[str, float]]:
        """Return what is to ``third`` as ``second`` is to ``first``: nearest to b - a + c of unit vectors."""
        a, b, c = (_unit(self.vector(word)) for word in (first, second, third))
        return self.nearest_to(b - a + c, number, (first, second, third))

    @cached_property
    def directions(self) -> Floats:
        """(V, D): every vector divided by its length; zeros stay."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return np.asarray(self.vectors / np.maximum(lengths, 1e-30), np.float32)

    def config(self) -> dict[str, Any]:
        """Return what ``load_word_vectors`` needs besides tensors and words."""
        shape = {"model_type": "word_vectors", "vocab_size": len(self), "width": self.width}
        grams = {} if self.grams is None else {"gram_lengths": list(self.lengths), "buckets": len(self.grams)}
        return {**shape, **grams, "settings": self.made_by}

    def save_tensors(self) -> dict[str, Floats]:
        """Return ``vectors`` (V, D), and ``grams`` (buckets, D) if there are."""
        return {"vectors": self.vectors} | ({} if self.grams is None else {"grams": self.grams})


def mean_of_grams(grams: Sequence[str], vectors: Floats) -> Floats:
    """Return (D,) the mean of the rows (buckets, D) that n-grams share."""
    return np.asarray(vectors[[gram_bucket(gram, len(vectors)) for gram in grams]].mean(axis=0))


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-30))


def load_word_vectors(folder: str | Path) -> WordVectors:
    """Open a model folder of word vectors.

    Raises:
        ModelFolderError: it is missing, damaged, or of another family.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ModelFolderError(tr(f"there is no model folder at {folder}", f"{folder} 处没有模型文件夹"))
    config = read_config(folder)
    if config.get("model_type") != "word_vectors":
        kind = config.get("model_type")
        raise ModelFolderError(
            tr(
                f"{folder} holds a model of the family {kind!r}, not word vectors",
                f"{folder} 中是 {kind!r} 类模型，而不是词向量",
            )
        )
    tensors = read_tensors(folder, framework="numpy")
    try:
        words = read_bytes(folder, VOCABULARY).decode("utf-8", "surrogatepass").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ModelFolderError(
            tr(f"{folder}/{VOCABULARY} is not UTF-8: {error}", f"{folder}/{VOCABULARY} 不是 UTF-8：{error}")
        ) from error
    _check(folder, config, tensors, words)
    lengths = tuple(config.get("gram_lengths") or (3, 6))
    return WordVectors(words, tensors["vectors"], tensors.get("grams"), lengths, config.get("settings") or {})


def _check(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], words: list[str]) -> None:
    shapes: dict[str, tuple[Any, ...]] = {"vectors": (config.get("vocab_size"), config.get("width"))}
    if "buckets" in config:
        shapes["grams"] = (config["buckets"], config.get("width"))
    lengths = config.get("gram_lengths", [3, 6])
    problem = ""
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        problem = tr("the tensors' names or shapes do not fit config.json", "张量的名称或形状与 config.json 不符")
    elif any(tensor.dtype != np.float32 for tensor in tensors.values()):
        problem = tr("the tensors are not float32", "张量不是 float32")
    elif len(words) != config.get("vocab_size") or len(set(words)) != len(words):
        problem = tr(
            f"{VOCABULARY} does not hold one different word for each vector", f"{VOCABULARY} 中的词与向量不是一一对应"
        )
    elif not (isinstance(lengths, list) and len(lengths) == 2 and all(isinstance(n, int) and n > 0 for n in lengths)):
        problem = tr("gram_lengths should be two numbers above 0", "gram_lengths 应为两个正整数")
    elif not isinstance(config.get("settings") or {}, dict):
        problem = tr("settings should be an object", "settings 应为对象")
    if problem:
        raise ModelFolderError(f"{folder}: {problem}")
