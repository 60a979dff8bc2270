"""Topics of word vectors: two ways around the sum over the vocabulary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Lines, Tree
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import word_vectors as theory
from zhixing.theory.networks import sigmoid

DISTRIBUTED = (
    "Mikolov, Sutskever, Chen, Corrado & Dean 2013, Distributed representations of words and phrases and their "
    "compositionality"
)


class NegativeSamplingInputs(Settings):
    """Scores of the right word and of the noise, and the counts that noise is drawn by."""

    score: float = setting(1.0, "score of the right word", "正确词的得分")
    noise_scores: Vector = setting((0.5, -2.0), "scores of the drawn words", "噪声词的得分", min_length=1, max_length=8)
    words: tuple[str, ...] = setting(("the", "king", "zebra"), "words", "词", min_length=2, max_length=8)
    counts: Vector = setting((10000.0, 100.0, 1.0), "how often each occurs", "各词的次数")
    power: float = setting(0.75, "exponent of the counts", "次数的指数", ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("counts", self.counts, len(self.words))
        require(min(self.counts) > 0, "counts must be more than 0", "次数须大于 0")
        return self


def negative_sampling() -> Topic[NegativeSamplingInputs]:
    """A few yes-or-no questions instead of a sum over the vocabulary."""
    return Topic(
        name="negative-sampling",
        family="words",
        title=tr("Negative sampling", "负采样"),
        idea=(
            tr(
                "A softmax over a million words costs a million products for every word of the text.",
                "百万词表上的 softmax，使文本中每个词都要付出百万次乘法。",
            ),
            tr(
                "Ask instead: is this word real or drawn at random? One real word, a few drawn ones.",
                "不如改问：这个词是真的，还是随机抽来的？一个真词，配几个抽来的词。",
            ),
            tr(
                "The vectors become as good, at a cost that no longer depends on the vocabulary.",
                "所得向量同样好，而代价与词表大小无关。",
            ),
        ),
        formula=(
            r"L = -\log \sigma(s_o) - \sum_{k=1}^{K} \log \sigma(-s_k)",
            r"\frac{\partial L}{\partial s_o} = \sigma(s_o) - 1, \quad \frac{\partial L}{\partial s_k} = \sigma(s_k)",
            r"P_n(w) = \frac{n(w)^{3/4}}{\sum_{v=1}^{V} n(v)^{3/4}}",
        ),
        symbols={
            "s_o": tr("score of the right word, its output vector times h", "正确词的得分，即其输出向量与 h 之积"),
            "s_k": tr("score of the k-th drawn word; K of them", "第 k 个噪声词的得分；共 K 个"),
            "P_n(w)": tr("probability of drawing w; (V,)", "抽中 w 的概率；(V,)"),
            "n(w)": tr("how often w occurs in the text", "w 在文本中的次数"),
        },
        inputs=NegativeSamplingInputs,
        example=_negative_sampling_example,
        picture=_negative_sampling_picture,
        pitfalls=(
            tr(
                "The scores are no longer logarithms of probabilities: do not use them as a language model.",
                "得分不再是概率的对数：不可当语言模型用。",
            ),
            tr(
                "A drawn word may be the right one; the programs skip it, or the pair pulls against itself.",
                "抽中的可能恰是正确词；各实现会跳过，否则一推一拉相互抵消。",
            ),
            tr(
                "Drawn by plain counts, noise is mostly 'the'; drawn evenly, mostly rare words. 3/4 lies between.",
                "按次数抽，多是虚词；均匀抽，多是生僻词。指数 3/4 介乎其间。",
            ),
        ),
        papers=(f"{DISTRIBUTED}, section 2.2", "Goldberg & Levy 2014, word2vec explained"),
        theory=(theory.negative_sampling_loss, theory.negative_sampling_gradient, theory.noise_distribution),
        practice=(
            "zhixing.models.word_vector_tables:noise_tables",
            "zhixing.models.word_vector_kernels:skip_gram_place",
        ),
        related=("skip-gram", "cbow", "hierarchical-softmax"),
    )


def _negative_sampling_example(inputs: NegativeSamplingInputs) -> Iterator[Step]:
    names = (tr("right", "正确"), *numbered(tr("noise", "噪声"), len(inputs.noise_scores)))
    scores = np.array([inputs.score, *inputs.noise_scores])
    yield Step(
        tr("probability of 'real' for each word", "各词被判为真的概率"), sigmoid(scores), r"\sigma(s)", columns=names
    )
    signs = np.array([1.0] + [-1.0] * len(inputs.noise_scores))
    surprise = -np.log(sigmoid(signs * scores))
    yield Step(
        tr("surprise at the truth: real for the first, drawn for the others", "对真相的意外程度：首个为真，其余为假"),
        surprise,
        r"-\log \sigma(\pm s)",
        columns=names,
    )
    one = np.array([1.0])
    given = np.array([inputs.score]), np.array(inputs.noise_scores)[:, None]
    yield Step(tr("their sum is the loss", "求和即损失"), theory.negative_sampling_loss(one, *given), "L")
    _, right, wrong = theory.negative_sampling_gradient(one, *given)
    slopes = np.concatenate([right, wrong[:, 0]])
    yield Step(
        tr("the gradient: up with the first, down with the rest", "梯度：首个上升，其余下降"),
        slopes,
        r"\partial s",
        columns=names,
    )
    counts = np.array(inputs.counts)
    yield Step(
        tr("share of each word in the text", "各词在文本中的比例"),
        counts / counts.sum(),
        r"\frac{n(w)}{\sum n}",
        columns=inputs.words,
    )
    drawn = theory.noise_distribution(counts, inputs.power)
    yield Step(tr("how often it is drawn", "被抽中的概率"), drawn, "P_n(w)", columns=inputs.words)


def _negative_sampling_picture(inputs: NegativeSamplingInputs) -> Lines:
    x = np.linspace(-5.0, 5.0, 41)
    curves = {tr("right word", "正确词"): -np.log(sigmoid(x)), tr("drawn word", "噪声词"): -np.log(sigmoid(-x))}
    return Lines(
        tr("loss of one word by its score", "单个词的损失随得分的变化"),
        x,
        curves,
        tr("score", "得分"),
        tr("nats", "奈特"),
    )


class HierarchicalSoftmaxInputs(Settings):
    """Words with their counts, vectors for the inner nodes, and what predicts."""

    words: tuple[str, ...] = setting(("the", "king", "queen", "zebra"), "words", "词", min_length=2, max_length=8)
    counts: tuple[int, ...] = setting((12, 4, 3, 1), "how often each occurs", "各词的次数")
    hidden: Vector = setting((1.0, -0.5), "the vector that predicts", "用于预测的向量", min_length=1)
    nodes: Matrix = setting(
        ((0.2, 0.4), (-0.6, 0.1), (0.5, 0.5)), "one row per inner node, the root last", "每个内部节点一行，根在最后"
    )
    target: str = setting("queen", "the right word", "正确词")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("counts", self.counts, len(self.words))
        require(min(self.counts) > 0, "counts must be more than 0", "次数须大于 0")
        require_shape("nodes", self.nodes, len(self.words) - 1, len(self.hidden))
        known = ", ".join(self.words)
        require(
            self.target in self.words,
            f"target '{self.target}' is none of: {known}",
            f"'{self.target}' 不在其中：{known}",
        )
        return self


def hierarchical_softmax() -> Topic[HierarchicalSoftmaxInputs]:
    """A walk down a Huffman tree."""
    return Topic(
        name="hierarchical-softmax",
        family="words",
        title=tr("Hierarchical softmax", "层次 softmax"),
        idea=(
            tr("Can a vocabulary's probabilities be had without summing over it?", "能否不遍历词表而得到词的概率？"),
            tr(
                "Put the words at the leaves of a tree; a word's probability is the product of the turns towards it.",
                "将词置于树的叶上；词的概率即通往它的各次转向概率之积。",
            ),
            tr(
                "The probabilities sum to one by construction, and frequent words, near the root, cost few turns.",
                "概率之和天然为一，而高频词近根，转向很少。",
            ),
        ),
        formula=(
            r"p(w) = \prod_{l=1}^{L} \sigma\big( (1 - 2 b_l) u_{n_l}^\top h \big)",
            r"\frac{\partial (-\log p)}{\partial u_{n_l}} = \big( \sigma(u_{n_l}^\top h) - (1 - b_l) \big) h",
        ),
        symbols={
            "h": tr("the vector that predicts; (D,)", "用于预测的向量；(D,)"),
            "n_l, b_l": tr(
                "inner nodes on the way to w, and the branch taken, 0 or 1", "通往 w 的内部节点及所走分支，0 或 1"
            ),
            "u_n": tr("vector of inner node n; there are V - 1", "内部节点 n 的向量；共 V - 1 个"),
            "L": tr("length of w's code, about log2(V)", "w 的编码长度，约 log2(V)"),
        },
        inputs=HierarchicalSoftmaxInputs,
        example=_hierarchical_example,
        picture=lambda inputs: _tree(inputs, len(inputs.words) - 2),
        pitfalls=(
            tr(
                "A Huffman tree knows frequency, not meaning: neighbours in it need not be alike.",
                "哈夫曼树只识频率，不识意义：树上相邻的词未必相近。",
            ),
            tr(
                "Which branch is called 0 differs between programs; their node vectors cannot be exchanged.",
                "以哪一支为 0，各实现不同；节点向量不可混用。",
            ),
            tr(
                "Finding the best word still means visiting every leaf.",
                "要找出最佳的词，仍须访问每一片叶。",
            ),
        ),
        papers=(
            f"{DISTRIBUTED}, section 2.1",
            "Morin & Bengio 2005, Hierarchical probabilistic neural network language model",
        ),
        theory=(theory.huffman_codes, theory.hierarchical_softmax_loss, theory.hierarchical_softmax_gradient),
        practice=(
            "zhixing.models.word_vector_tables:huffman_paths",
            "zhixing.models.word_vector_kernels:skip_gram_place",
        ),
        related=("skip-gram", "negative-sampling"),
    )


def _hierarchical_example(inputs: HierarchicalSoftmaxInputs) -> Iterator[Step]:
    codes, hidden, nodes = theory.huffman_codes(inputs.counts), np.array(inputs.hidden), np.array(inputs.nodes)
    spelled = ", ".join(
        f"{word} {''.join(map(str, bits))}" for word, (_, bits) in zip(inputs.words, codes, strict=True)
    )
    yield Step(tr("Huffman codes: short for the frequent", "哈夫曼编码：高频者短"), spelled, "b")
    path, code = codes[inputs.words.index(inputs.target)]
    bits, names = np.array(code), [f"n{node}" for node in path]
    scores = nodes[path] @ hidden
    yield Step(
        tr(f"scores on the way to {inputs.target}", f"通往 {inputs.target} 途中的得分"),
        scores,
        r"u_{n_l}^\top h",
        columns=names,
    )
    turns = sigmoid((1 - 2 * bits) * scores)
    yield Step(
        tr("probability of each turn", "各次转向的概率"), turns, r"\sigma((1 - 2 b_l) u_{n_l}^\top h)", columns=names
    )
    yield Step(tr("their product", "相乘"), float(turns.prod()), "p(w)")
    yield Step(tr("the loss", "损失"), theory.hierarchical_softmax_loss(hidden, nodes[path], bits), r"-\log p(w)")
    every = np.exp([-theory.hierarchical_softmax_loss(hidden, nodes[p], np.array(b)) for p, b in codes])
    yield Step(tr("all words: together one", "所有的词：和为一"), every, "p", columns=inputs.words)
    gradient = theory.hierarchical_softmax_gradient(hidden, nodes[path], bits)[0]
    axes = numbered("d", len(hidden))
    yield Step(tr("the gradient of h", "h 的梯度"), gradient, r"\partial h", columns=axes)


def _tree(inputs: HierarchicalSoftmaxInputs, node: int) -> Tree:
    """The branch below an inner node: the child is the next node of any word that passes here, or the word itself."""
    codes = theory.huffman_codes(inputs.counts)
    children: dict[int, Tree] = {}
    for word, count, (path, bits) in zip(inputs.words, inputs.counts, codes, strict=True):
        if node in path and bits[path.index(node)] not in children:
            place = path.index(node)
            leaf = place + 1 == len(path)
            below = Tree(f"{word} ({count})") if leaf else _tree(inputs, path[place + 1])
            children[bits[place]] = Tree(f"{bits[place]} · {below.text}", below.children)
    return Tree(f"n{node}", tuple(children[bit] for bit in sorted(children)))
