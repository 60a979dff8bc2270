"""Topics of attention by distance, and of two streams in a random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import relative_attention as theory
from zhixing.theory.networks import softmax

Array = NDArray[np.float64]
DAI = "Dai et al. 2019, Transformer-XL: attentive language models beyond a fixed-length context, section 3.3"
YANG = "Yang et al. 2019, XLNet: generalized autoregressive pretraining for language understanding"


class RelativeInputs(Settings):
    """Queries and keys of a few words, what each distance is mapped to, and the two biases."""

    text: tuple[str, ...] = setting(("no", "one", "knows"), "the text (T)", "文本 (T)", min_length=2)
    query: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), "queries (T, E)", "查询 (T, E)")
    key: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 0.0)), "keys (T, E)", "键 (T, E)")
    distance: Matrix = setting(
        ((0.0, 0.0), (2.0, 0.0), (0.0, 1.0)), "of the distances 0, 1, 2, ... (T, E)", "距离 0、1、2……的映射 (T, E)"
    )
    content_bias: Vector = setting((0.0, 1.0), "u (E)", "u (E)，内容偏置")
    position_bias: Vector = setting((1.0, 0.0), "v (E)", "v (E)，位置偏置")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        width = len(self.content_bias)
        require(width > 0, "content_bias must have at least one number", "content_bias 至少须有一个数")
        for name in ("query", "key", "distance"):
            require_shape(name, getattr(self, name), len(self.text), width)
        require_length("position_bias", self.position_bias, width)
        return self


def relative_attention() -> Topic[RelativeInputs]:
    """Transformer-XL's scores."""
    return Topic(
        name="relative-attention",
        family="attention",
        title=tr("Relative attention (Transformer-XL)", "相对注意力（Transformer-XL）"),
        idea=(
            tr(
                "A position that is added to a token says where it stands; what matters is how far away the other is.",
                "加在词元上的位置编码说的是它站在何处；要紧的却是它与另一词元相距多远。",
            ),
            tr(
                "Let the query meet the key and, apart from it, the distance; a learned bias is added for each.",
                "让查询既与键相乘，也与距离相乘；两处各加一个可学习的偏置。",
            ),
            tr(
                "A pattern learned at one place holds at every place, and in texts longer than any seen.",
                "在一处学到的模式处处适用，也适用于比训练时更长的文本。",
            ),
        ),
        formula=(r"A_{ij} = (q_i + u)^\top k_j + (q_i + v)^\top r_{i-j}",),
        symbols={
            "q_i, k_j": tr("query of place i and key of place j, (E,)", "位置 i 的查询与位置 j 的键，(E,)"),
            "r_{i-j}": tr("what their distance is mapped to, (E,)", "两者距离的映射，(E,)"),
            "u": tr("which content is looked for whatever the query is, (E,)", "不论查询为何所偏好的内容，(E,)"),
            "v": tr("which distance is looked for whatever the query is, (E,)", "不论查询为何所偏好的距离，(E,)"),
        },
        inputs=RelativeInputs,
        example=_relative_example,
        picture=_relative_picture,
        pitfalls=(
            tr(
                "Mapping the distance of every pair costs T × T maps; there are only 2 T distances: map each once.",
                "逐对映射距离要 T × T 次；距离不过 2 T 种：各映射一次，再移位即可。",
            ),
            tr(
                "The shift is right for rows that stand side by side; rows of a cache with different lengths need a "
                "gather.",
                "移位只适用于彼此相邻的行；缓存中长短不一的各行须用 gather。",
            ),
            tr(
                "The distance of a later key is negative: its sine has the other sign, so before and behind differ.",
                "靠后的键距离为负：正弦变号，故前后有别。",
            ),
        ),
        papers=(DAI,),
        theory=(theory.relative_scores, theory.relative_shift, theory.distance_waves),
        practice=("zhixing.nn.relative_attention:attend_relative", "zhixing.nn.relative_attention:relative_shift"),
        related=("attention", "relative-positions", "two-stream-attention"),
    )


def _relative_parts(inputs: RelativeInputs) -> tuple[Array, Array, Array]:
    """Scores by content and by distance, (T, T) each, and their sum where a key is not later than its query."""
    query, key, distance = (np.array(each) for each in (inputs.query, inputs.key, inputs.distance))
    u, v = np.array(inputs.content_bias), np.array(inputs.position_bias)
    places = np.arange(len(query))
    apart = np.maximum(places[:, None] - places, 0)  # later keys are masked: their distance does not matter
    content = theory.relative_scores(query, key, 0.0 * distance, apart, u, v)
    far = theory.relative_scores(query, 0.0 * key, distance, apart, u, v)
    return content, far, np.where(places <= places[:, None], content + far, -np.inf)


def _relative_example(inputs: RelativeInputs) -> Iterator[Step]:
    words, width = inputs.text, len(inputs.content_bias)
    content, far, scores = _relative_parts(inputs)
    says = tr("queries with the bias for content", "查询加内容偏置")
    yield Step(says, np.array(inputs.query) + np.array(inputs.content_bias), "q_i + u", words, numbered("e", width))
    yield Step(tr("they meet the keys", "与各键相乘"), content, r"(q_i + u)^\top k_j", words, words)
    says = tr("queries with the bias for distance", "查询加位置偏置")
    yield Step(says, np.array(inputs.query) + np.array(inputs.position_bias), "q_i + v", words, numbered("e", width))
    by_distance = (np.array(inputs.query) + np.array(inputs.position_bias)) @ np.array(inputs.distance).T
    names = tuple(str(d) for d in range(len(words)))
    yield Step(
        tr("they meet every distance once", "与每种距离各乘一次"), by_distance, r"(q_i + v)^\top r_d", words, names
    )
    says = tr("shifted: each key gets the score of its distance", "移位：每个键取其距离的得分")
    yield Step(says, np.tril(far), "r_{i-j}", words, words)
    yield Step(tr("the sum; later words are masked", "求和；靠后的词被掩去"), scores, "A_{ij}", words, words)
    says = tr("softmax after the root of the width", "除以宽度的平方根后取 softmax")
    yield Step(says, softmax(scores / np.sqrt(width)), r"\operatorname{softmax}", words, words)


def _relative_picture(inputs: RelativeInputs) -> HeatMap:
    weights = softmax(_relative_parts(inputs)[2] / np.sqrt(len(inputs.content_bias)))
    axes = tr("asking", "发问"), tr("answering", "应答")
    return HeatMap(tr("where each word looks", "每个词看向何处"), weights, inputs.text, inputs.text, *axes)


class TwoStreamInputs(Settings):
    """A short text with one number per word, an order, and how many of its last are predicted."""

    text: tuple[str, ...] = setting(("I", "like", "green", "tea"), "the text (T)", "文本 (T)", min_length=2)
    order: tuple[int, ...] = setting((2, 0, 3, 1), "places in their order, from 0", "各位置的次序，从 0 起")
    predicted: int = setting(2, "the last so many are predicted (P)", "预测次序末尾的几个 (P)", ge=1)
    content: Vector = setting(
        (1.0, 2.0, 4.0, 8.0), "what stands at each place, width 1 (T)", "各位置的内容，宽度 1 (T)"
    )
    query: float = setting(0.0, "what every query begins as", "每个查询的初值")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        length = len(self.text)
        require_length("content", self.content, length)
        permuted = sorted(self.order) == list(range(length))
        require(permuted, f"order must hold 0 to {length - 1}, each once", f"order 须恰含 0 到 {length - 1} 各一次")
        require(self.predicted <= length, f"predicted is at most {length}", f"predicted 至多为 {length}")
        return self


def two_stream_attention() -> Topic[TwoStreamInputs]:
    """XLNet's content and query streams."""
    return Topic(
        name="two-stream-attention",
        family="attention",
        title=tr("Two-stream attention (XLNet)", "双流注意力（XLNet）"),
        idea=(
            tr(
                "In a random order a place must not see itself when it is predicted, yet those after it must see it.",
                "按随机次序预测时，一个位置不得看见自己，而其后的位置又必须看见它。",
            ),
            tr(
                "Keep two vectors per place: content knows what stands there, the query knows only where it is.",
                "每个位置保留两个向量：内容流知道那里是什么，查询流只知道自己在哪里。",
            ),
            tr(
                "Both look at contents by the same weights; the query predicts, and in use only the order is chosen.",
                "两者以同一组权重看向内容；预测由查询流作出，使用时只需选定次序。",
            ),
        ),
        formula=(
            r"h'_i = \operatorname{attend}(h_i;\ h_j \text{ with } \rho_j \le \rho_i)",
            r"g'_i = \operatorname{attend}(g_i;\ h_j \text{ with } \rho_j < \rho_i)",
        ),
        symbols={
            "h_i": tr("content of place i: its token, and what it has seen", "位置 i 的内容：其词元及所见"),
            "g_i": tr("query of place i; begins everywhere the same", "位置 i 的查询；各处初值相同"),
            r"\rho_i": tr("when place i becomes visible; 0 if it is given", "位置 i 何时可见；已知者为 0"),
        },
        inputs=TwoStreamInputs,
        example=_two_stream_example,
        picture=_two_stream_picture,
        pitfalls=(
            tr(
                "The query differs from place to place by distance alone: without it all predict alike.",
                "查询流各处之别只在距离：没有相对位置，各处的预测便完全相同。",
            ),
            tr(
                "A query that sees nothing must attend to nothing; a softmax over masked scores shows it everything.",
                "什么都看不见的查询不应有注意力；对全被掩去的得分取 softmax，反会让它看见一切。",
            ),
            tr(
                "Fine-tuning drops the query stream; the mask token never occurs in text, unlike BERT's.",
                "微调时弃去查询流；与 BERT 不同，文本中从不出现掩码词元。",
            ),
        ),
        papers=(f"{YANG}, sections 2.3 and 2.4",),
        theory=(theory.two_streams, theory.given_rank, theory.content_mask, theory.query_mask, theory.mix),
        practice=("zhixing.models.xlnet:XLNet", "zhixing.nn.relative_attention:two_stream_masks"),
        related=("permutation-language-modelling", "relative-attention", "causal-mask"),
    )


def _two_stream_parts(inputs: TwoStreamInputs) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The rank of every place (T,), the places predicted (P,), their ranks (P,)."""
    rank = theory.given_rank(np.array([inputs.order]), inputs.predicted)[0]
    places = np.array(inputs.order[len(inputs.order) - inputs.predicted :])
    return rank, places, rank[places]


def _two_stream_example(inputs: TwoStreamInputs) -> Iterator[Step]:
    rank, places, asked = _two_stream_parts(inputs)
    words, names = inputs.text, tuple(inputs.text[place] for place in places)
    yield Step(tr("when each becomes visible", "各位置何时可见"), rank, r"\rho_i", columns=words)
    sees = theory.content_mask(rank[None])[0]
    says = tr("whose content (column) a content (row) sees", "内容（行）能看见谁的内容（列）")
    yield Step(says, sees.astype(np.int64), r"\rho_j \le \rho_i", words, words)
    asks = theory.query_mask(rank[None], asked[None])[0]
    says = tr("whose content (column) a query (row) sees", "查询（行）能看见谁的内容（列）")
    yield Step(says, asks.astype(np.int64), r"\rho_j < \rho_i", names, words)
    content, query = _moved(inputs)
    says = tr("new contents: with equal scores, the mean of what is seen", "新的内容：得分全等时即所见之平均")
    yield Step(says, content, "h'_i", columns=words)
    says = tr("new queries: they lack what they are to guess", "新的查询：不含要猜的内容")
    yield Step(says, query, "g'_i", columns=names)


def _moved(inputs: TwoStreamInputs) -> tuple[Array, Array]:
    """A layer of width 1 whose scores are all equal: every stream gets the mean of what it sees."""
    rank, places, asked = _two_stream_parts(inputs)
    no, one, bias = np.zeros((1, 1)), np.ones((1, 1)), np.zeros(1)
    weights = theory.RelativeWeights(no, one, one, no, one, bias, bias, bias, np.zeros((2, 1)))
    content, query = np.array(inputs.content)[:, None], np.full((len(places), 1), inputs.query)
    moved = theory.two_streams(content, query, places, weights, 1, rank, asked)
    return moved[0][:, 0], moved[1][:, 0]


def _two_stream_picture(inputs: TwoStreamInputs) -> HeatMap:
    rank, _, asked = _two_stream_parts(inputs)
    both = np.concatenate([theory.content_mask(rank[None])[0], theory.query_mask(rank[None], asked[None])[0]])
    names = tuple(inputs.text[place] for place in inputs.order[len(inputs.order) - inputs.predicted :])
    rows = tuple(f"h {word}" for word in inputs.text) + tuple(f"g {word}" for word in names)
    title = tr("contents (h) and queries (g): what each sees", "内容 (h) 与查询 (g) 各自所见")
    return HeatMap(title, both.astype(np.float64), rows, inputs.text, "i", "j")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (relative_attention, two_stream_attention)
