"""Topics of attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import Bars, HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics import masks, two_streams
from zhixing.explain.topics.inputs import Matrix, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import attention as theory
from zhixing.theory.networks import softmax

VASWANI = "Vaswani et al. 2017, Attention is all you need"


class AttentionInputs(Settings):
    """Queries that ask, keys that are matched, values that are mixed."""

    asking: tuple[str, ...] = setting(("it", "slept"), "words that ask (T)", "发问的词 (T)", min_length=1)
    answering: tuple[str, ...] = setting(("the", "cat", "sat"), "words that answer (S)", "应答的词 (S)", min_length=1)
    query: Matrix = setting(((2.0, 0.0), (0.0, 2.0)), "queries (T, E)", "查询 (T, E)", min_length=1)
    key: Matrix = setting(((0.0, 0.0), (2.0, 0.0), (0.0, 1.0)), "keys (S, E)", "键 (S, E)", min_length=1)
    value: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), "values (S, E)", "值 (S, E)", min_length=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        width = len(self.query[0])
        require(width > 0, "query must have at least one number per word", "query 每个词至少须有一个数")
        require_shape("query", self.query, len(self.asking), width)
        require_shape("key", self.key, len(self.answering), width)
        require_shape("value", self.value, len(self.answering), width)
        return self


def attention() -> Topic[AttentionInputs]:
    """Scaled dot-product attention."""
    return Topic(
        name="attention",
        family="attention",
        title=tr("Scaled dot-product attention", "缩放点积注意力"),
        idea=(
            tr(
                "Which of the other words should a word listen to, and what should it take from them?",
                "一个词该听哪些词的，又该从中取些什么？",
            ),
            tr(
                "Its query is multiplied with every key; softmax turns the products into weights for the values.",
                "以其查询与每个键作点积，经 softmax 变为各个值的权重。",
            ),
            tr(
                "The answer is a mean of the values, chosen by content and not by place.",
                "结果是值的加权平均：由内容而非位置选定。",
            ),
        ),
        formula=(r"\operatorname{Attention}(Q, K, V) = \operatorname{softmax}(\frac{Q K^\top}{\sqrt{E}}) V",),
        symbols={
            "Q": tr("queries, (T, E)", "查询，(T, E)"),
            "K": tr("keys, (S, E)", "键，(S, E)"),
            "V": tr("values, (S, E)", "值，(S, E)"),
            "E": tr("width of a head, numbers per word", "头宽，每词的数的个数"),
        },
        inputs=AttentionInputs,
        example=_attention_example,
        picture=_attention_picture,
        pitfalls=(
            tr(
                "Leaving out the root of E lets products grow with the width: softmax saturates and learning stops.",
                "不除以 √E，点积会随宽度增大：softmax 饱和，学习停滞。",
            ),
            tr(
                "Softmax runs over the keys, the last axis; over the queries nothing warns, and the model is wrong.",
                "softmax 作用于键所在的末轴；若误用于查询轴，不会报错，但模型是错的。",
            ),
            tr(
                "A row whose keys are all masked has no weights: softmax of minus infinities is not a number.",
                "若一行的键全被遮住，便没有权重可言：全为负无穷的 softmax 得 NaN。",
            ),
        ),
        papers=(f"{VASWANI}, section 3.2.1, equation 1", "Dao et al. 2022, FlashAttention, appendix B.2 (gradient)"),
        theory=(theory.attention, theory.scores, theory.attention_gradient),
        practice=("zhixing.nn.attention:attend",),
        related=("causal-mask", "multi-head-attention", "rotary-positions"),
    )


def _attention_example(inputs: AttentionInputs) -> Iterator[Step]:
    query, key, value = (np.array(part) for part in (inputs.query, inputs.key, inputs.value))
    asking, answering = inputs.asking, inputs.answering
    yield Step(
        tr("match each query with each key", "每个查询与每个键作点积"), query @ key.T, r"Q K^\top", asking, answering
    )
    scores = theory.scores(query, key)
    says = tr("divide by the root of the width", "除以宽度的平方根")
    yield Step(says, scores, r"\frac{Q K^\top}{\sqrt{E}}", asking, answering)
    weights = softmax(scores)
    yield Step(tr("softmax of each row", "每行取 softmax"), weights, "P", asking, answering)
    mixed = theory.attention(query, key, value)
    yield Step(
        tr("mix the values by these weights", "以此权重混合各值"), mixed, "P V", asking, numbered("v", value.shape[1])
    )


def _attention_picture(inputs: AttentionInputs) -> HeatMap:
    weights = softmax(theory.scores(np.array(inputs.query), np.array(inputs.key)))
    axes = tr("asking", "发问"), tr("answering", "应答")
    return HeatMap(tr("who listens to whom", "谁在听谁"), weights, inputs.asking, inputs.answering, *axes)


class CrossAttentionInputs(AttentionInputs):
    """The same with two texts: a translation asks, the source answers."""

    asking: tuple[str, ...] = setting(("le", "chat", "dort"), "target words (T)", "译文词 (T)", min_length=1)
    answering: tuple[str, ...] = setting(("the", "cat", "sleeps"), "source words (S)", "原文词 (S)", min_length=1)
    query: Matrix = setting(
        ((3.0, 0.0), (0.0, 3.0), (-2.0, -2.0)), "from the decoder (T, E)", "来自解码器 (T, E)", min_length=1
    )
    key: Matrix = setting(
        ((2.0, 0.0), (0.0, 2.0), (-1.0, -1.0)), "from the encoder (S, E)", "来自编码器 (S, E)", min_length=1
    )


def cross_attention() -> Topic[CrossAttentionInputs]:
    """Queries from one text, keys and values from another."""
    return Topic(
        name="cross-attention",
        family="attention",
        title=tr("Cross-attention", "交叉注意力"),
        idea=(
            tr(
                "A decoder that writes a translation must look at the source text at every word.",
                "解码器写译文时，每写一词都要看原文。",
            ),
            tr(
                "Its queries come from the text written so far, keys and values from the encoder's output.",
                "查询来自已写出的文本，键与值来自编码器的输出。",
            ),
            tr(
                "The weights then align words of the two texts, and the source is encoded only once.",
                "权重由此对齐两个文本的词，而原文只需编码一次。",
            ),
        ),
        formula=(
            r"Q = X W_Q,\quad K = M W_K,\quad V = M W_V",
            r"Y = \operatorname{softmax}(\frac{Q K^\top}{\sqrt{E}}) V",
        ),
        symbols={
            "X": tr("the decoder's vectors, (T, D)", "解码器的向量，(T, D)"),
            "M": tr("the encoder's output (memory), (S, D)", "编码器的输出（记忆），(S, D)"),
            "W_Q, W_K, W_V": tr("projections, (D, E) each", "投影，各为 (D, E)"),
            "Y": tr("what the decoder reads, (T, E)", "解码器读到的内容，(T, E)"),
        },
        inputs=CrossAttentionInputs,
        example=_attention_example,
        picture=_attention_picture,
        pitfalls=(
            tr("No causal mask here: all of the source may be seen.", "此处不用因果掩码：原文可全部看见。"),
            tr(
                "The mask must hide the source's padding; T and S differ, so a square mask is a sign of a mistake.",
                "掩码须遮住原文的填充；T 与 S 不同，出现方阵掩码便是出错的征兆。",
            ),
            tr(
                "Keys and values do not change while writing: compute them once per source.",
                "写作过程中键与值不变：每段原文只需算一次。",
            ),
        ),
        papers=(
            f"{VASWANI}, section 3.2.3",
            "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate",
        ),
        theory=(theory.multi_head_attention, theory.attention),
        practice=("zhixing.nn.attention:attend",),
        related=("attention",),
    )


class MultiHeadInputs(Settings):
    """Vectors of a few words, split between heads; the projections are identities."""

    words: tuple[str, ...] = setting(("a", "b"), "words (T)", "词 (T)", min_length=1)
    x: Matrix = setting(((2.0, 0.0, 1.0, 1.0), (0.0, 2.0, 1.0, 1.0)), "vectors (T, D)", "向量 (T, D)", min_length=1)
    heads: int = setting(2, "heads (H), a divisor of D", "头数 H，须整除 D", ge=1)

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        width = len(self.x[0])
        require_shape("x", self.x, len(self.words), width)
        fits = width > 0 and width % self.heads == 0
        require(
            fits,
            f"{self.heads} heads do not divide the width {width}; choose a divisor of it",
            f"头数 {self.heads} 不能整除宽度 {width}；请取其因数",
        )
        return self


def multi_head_attention() -> Topic[MultiHeadInputs]:
    """Several small attentions side by side."""
    return Topic(
        name="multi-head-attention",
        family="attention",
        title=tr("Multi-head attention", "多头注意力"),
        idea=(
            tr(
                "One set of weights can look at one thing at a time, but a word relates to others in several ways.",
                "一组权重一次只能看一样东西，而词与词的关系不止一种。",
            ),
            tr(
                "Split the width into H heads, let each attend on its own, join the answers and project them.",
                "把宽度分给 H 个头，各自作注意力，再拼接并投影。",
            ),
            tr(
                "Each head costs 1/H, so together they cost what one wide head would.",
                "每个头只花 1/H 的代价，合起来与一个宽头相当。",
            ),
        ),
        formula=(
            r"\operatorname{head}_h = \operatorname{Attention}(X W_{Q,h}, X W_{K,h}, X W_{V,h})",
            r"Y = \operatorname{concat}(\operatorname{head}_1, \dots, \operatorname{head}_H)\, W_O",
        ),
        symbols={
            "X": tr("vectors of the words, (T, D)", "各词的向量，(T, D)"),
            r"W_{Q,h}": tr("query weights of head h, (D, E) with E = D/H", "第 h 头的查询权重，(D, E)，E = D/H"),
            "W_O": tr("output weights, (D, D)", "输出权重，(D, D)"),
        },
        inputs=MultiHeadInputs,
        example=_multi_head_example,
        picture=_multi_head_picture,
        pitfalls=(
            tr(
                "The scale is the root of the head's width E, not of the model's width D.",
                "缩放用的是头宽 E 的平方根，而非模型宽度 D 的。",
            ),
            tr(
                "Reshape to (T, H, E), then move the head axis; reshaping straight to (H, T, E) mixes words and heads.",
                "先变形为 (T, H, E) 再移动头轴；直接变形为 (H, T, E) 会把词与头搅混。",
            ),
        ),
        papers=(f"{VASWANI}, section 3.2.2",),
        theory=(theory.multi_head_attention, theory.split_heads, theory.join_heads),
        practice=("zhixing.models.gpt2:Attention",),
        related=("attention", "grouped-query-attention"),
    )


def _multi_head_example(inputs: MultiHeadInputs) -> Iterator[Step]:
    x = np.array(inputs.x)
    split = theory.split_heads(x, inputs.heads)
    names = numbered("e", split.shape[-1])
    for head in range(min(inputs.heads, 2)):
        says = tr(f"head {head + 1} takes these columns", f"第 {head + 1} 头取这些列")
        yield Step(says, split[head], "Q = K = V", inputs.words, names)
        weights = softmax(theory.scores(split[head], split[head]))
        yield Step(tr("and weighs the words", "并给各词以权重"), weights, f"P_{head + 1}", inputs.words, inputs.words)
    identity = np.eye(x.shape[1])
    projections = theory.Projections(identity, identity, identity, identity)
    joined = theory.multi_head_attention(x, x, projections, inputs.heads)
    yield Step(tr("all heads' answers, joined", "拼接各头的结果"), joined, "Y", inputs.words, numbered("y", x.shape[1]))


def _multi_head_picture(inputs: MultiHeadInputs) -> HeatMap:
    split = theory.split_heads(np.array(inputs.x), inputs.heads)
    weights = softmax(theory.scores(split, split))
    rows = [f"h{head + 1} {word}" for head in range(inputs.heads) for word in inputs.words]
    values = weights.reshape(len(rows), len(inputs.words))
    return HeatMap(tr("the heads' weights", "各头的权重"), values, rows, inputs.words)


class GroupedQueryInputs(Settings):
    """How many heads ask, how many answer, and what a cache of their keys and values costs."""

    query_heads: int = setting(4, "query heads (H)", "查询头数 H", ge=1, le=64)
    key_value_heads: int = setting(2, "key-value heads (G), a divisor of H", "键值头数 G，须整除 H", ge=1)
    values: tuple[float, ...] = setting((1.0, 2.0), "the value of each group's only key", "各组唯一的键所对应的值")
    layers: int = setting(32, "layers of the model", "模型层数", ge=1)
    head_width: int = setting(128, "width of a head (E)", "头宽 E", ge=1)
    context: int = setting(4096, "cached tokens", "缓存的词元数", unit="tokens", ge=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        heads, groups = self.query_heads, self.key_value_heads
        require(
            heads % groups == 0,
            f"{groups} key-value heads do not divide {heads} query heads",
            f"键值头数 {groups} 不能整除查询头数 {heads}",
        )
        require_length("values", self.values, groups)
        return self


def grouped_query_attention() -> Topic[GroupedQueryInputs]:
    """Many query heads share few key-value heads."""
    return Topic(
        name="grouped-query-attention",
        family="attention",
        title=tr("Grouped-query attention", "分组查询注意力"),
        idea=(
            tr(
                "While writing, a model keeps every token's keys and values; that cache soon outgrows the weights.",
                "生成时模型须保留每个词元的键与值；这份缓存很快大过权重。",
            ),
            tr(
                "Let H query heads share G key-value heads: H/G neighbours read the same keys and values.",
                "让 H 个查询头共用 G 个键值头：每相邻 H/G 个读同一组键与值。",
            ),
            tr(
                "The cache shrinks by H/G at hardly any loss; G = H is multi-head, G = 1 is multi-query.",
                "缓存缩小 H/G 倍而几无损失；G = H 即多头，G = 1 即多查询。",
            ),
        ),
        formula=(
            r"\operatorname{head}_h = \operatorname{Attention}(Q_h, K_g, V_g),\quad g = \lfloor \frac{h G}{H} \rfloor",
            r"\text{cache} = 2\, L\, G\, E\, S",
        ),
        symbols={
            "Q": tr("queries, (H, T, E)", "查询，(H, T, E)"),
            "K, V": tr("keys and values, (G, S, E)", "键与值，(G, S, E)"),
            "h, g": tr("heads and groups, counted from 0", "头与组的编号，自 0 计"),
            "L, S": tr("layers; cached tokens", "层数；缓存的词元数"),
        },
        inputs=GroupedQueryInputs,
        example=_grouped_query_example,
        picture=_grouped_query_picture,
        pitfalls=(
            tr(
                "Heads of one group are neighbours: repeat each key head, do not tile the whole set.",
                "同组的头彼此相邻：应逐个重复键头，而非整组平铺。",
            ),
            tr(
                "It saves cache and reading, not the products: the scores are still H times T times S.",
                "省下的是缓存与读取，而非乘法：得分仍有 H×T×S 个。",
            ),
        ),
        papers=(
            "Ainslie et al. 2023, GQA: training generalized multi-query transformer models, section 2.2",
            "Shazeer 2019, Fast transformer decoding: one write-head is all you need",
        ),
        theory=(theory.grouped_query_attention,),
        practice=("zhixing.models.llama:Attention", "zhixing.nn.cache:KeyValueCache"),
        related=("multi-head-attention", "llama"),
    )


def _grouped_query_example(inputs: GroupedQueryInputs) -> Iterator[Step]:
    heads, groups = inputs.query_heads, inputs.key_value_heads
    names = [f"h{head}" for head in range(heads)]
    yield Step(tr("query heads per group", "每组的查询头数"), float(heads // groups), r"\frac{H}{G}")
    group = np.arange(heads) * groups // heads
    yield Step(
        tr("the group that each head reads", "各头所读的组"), group, r"g = \lfloor \frac{h G}{H} \rfloor", (), names
    )
    value = np.array(inputs.values)[:, None, None]
    out = theory.grouped_query_attention(np.ones((heads, 1, 1)), np.ones((groups, 1, 1)), value)
    says = tr("each head's answer: its group's value", "各头的结果：即该组的值")
    yield Step(says, out[:, 0, 0], r"\operatorname{head}_h", columns=names)
    sizes = np.array([_cache_bytes(inputs, g) / 2**20 for g in (heads, groups, 1)])
    says = tr("cache of 16-bit numbers, MiB", "16 位数的缓存，MiB")
    yield Step(says, sizes, r"2 \cdot 2\, L\, G\, E\, S", columns=(f"G = {heads}", f"G = {groups}", "G = 1"))


def _cache_bytes(inputs: GroupedQueryInputs, groups: int) -> int:
    return 2 * 2 * inputs.layers * groups * inputs.head_width * inputs.context


def _grouped_query_picture(inputs: GroupedQueryInputs) -> Bars:
    counts = [g for g in range(1, inputs.query_heads + 1) if inputs.query_heads % g == 0]
    sizes = np.array([_cache_bytes(inputs, g) / 2**20 for g in counts])
    title = tr("the cache by the number of key-value heads", "缓存大小与键值头数")
    return Bars(title, [f"G = {g}" for g in counts], {tr("cache", "缓存"): sizes}, "MiB")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (
    attention,
    *masks.TOPICS,
    *two_streams.TOPICS,
    multi_head_attention,
    grouped_query_attention,
    cross_attention,
)
