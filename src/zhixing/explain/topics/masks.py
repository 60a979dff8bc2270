"""Topics of attention's masks: who may look at whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import numbered, require, require_length
from zhixing.language import tr
from zhixing.theory import attention as theory
from zhixing.theory.networks import softmax


class CausalMaskInputs(Settings):
    """How many tokens are asked for, and how many are there."""

    queries: int = setting(3, "new tokens (T)", "新词元数 T", ge=1, le=12)
    keys: int = setting(4, "all tokens, those in the cache included (S)", "全部词元数 S，含缓存", ge=1, le=12)

    @model_validator(mode="after")
    def _keys_include_queries(self) -> Self:
        require(
            self.keys >= self.queries,
            f"{self.queries} queries but {self.keys} keys; keys must be at least queries",
            f"查询 {self.queries} 个，键 {self.keys} 个；键不得少于查询",
        )
        return self


def causal_mask() -> Topic[CausalMaskInputs]:
    """No token sees a later one."""
    return Topic(
        name="causal-mask",
        family="attention",
        title=tr("The causal mask", "因果掩码"),
        idea=(
            tr(
                "A model that predicts the next token must not see it, yet all places are computed at once.",
                "预测下一个词元的模型不得看见它，而所有位置却是同时计算的。",
            ),
            tr(
                "Set the scores of later keys to minus infinity before softmax: they get weight zero.",
                "在 softmax 之前把靠后的键的得分设为负无穷：其权重便为零。",
            ),
            tr(
                "Every prefix of the text becomes a training example in a single pass.",
                "文本的每个前缀于是在一次计算中都成为训练样本。",
            ),
        ),
        formula=(r"M_{t,s} = 1 \text{ if } s \le t + S - T,\ \text{else } 0",),
        symbols={
            "M": tr("mask, (T, S); 1 where a query may look", "掩码，(T, S)；可看之处为 1"),
            "t": tr("query, counted from 0; T in all", "查询，自 0 计；共 T 个"),
            "s": tr("key, counted from 0; S in all", "键，自 0 计；共 S 个"),
        },
        inputs=CausalMaskInputs,
        example=_causal_mask_example,
        picture=_causal_mask_picture,
        pitfalls=(
            tr(
                "With a cache T is below S, and the last query must see every key: align at the end, not at the start.",
                "用缓存时 T 小于 S，末个查询须看见所有键：应对齐末端而非开头。",
            ),
            tr(
                "Zeroing weights after softmax leaves rows that do not sum to one; later scores leak into the sum.",
                "在 softmax 之后才置零，行和便不为一，且未来的得分已泄入分母。",
            ),
        ),
        papers=("Vaswani et al. 2017, Attention is all you need, section 3.2.3",),
        theory=(theory.causal_mask, theory.scores),
        practice=("zhixing.nn.attention:attend", "zhixing.nn.attention:cache_mask"),
        related=("attention", "document-mask", "causal-language-modelling"),
    )


def _mask_steps(mask: NDArray[np.bool_], rows: Sequence[str], columns: Sequence[str]) -> Iterator[Step]:
    yield Step(tr("who may look at whom", "谁可以看谁"), mask.astype(float), "M", rows, columns)
    yield Step(
        tr("keys that each query sees", "各查询可见的键数"), mask.sum(axis=1).astype(float), r"\sum_s M_{t,s}", (), rows
    )
    weights = _even_weights(mask)
    yield Step(
        tr("weights if all scores are equal", "得分全等时的权重"), weights, r"\operatorname{softmax}", rows, columns
    )


def _even_weights(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """What attention does with zero queries and keys: an even share for whatever is seen."""
    queries, keys = mask.shape
    return softmax(theory.scores(np.zeros((queries, 1)), np.zeros((keys, 1)), mask))


def _causal_labels(inputs: CausalMaskInputs) -> tuple[tuple[str, ...], tuple[str, ...]]:
    keys = numbered("w", inputs.keys)
    return keys[inputs.keys - inputs.queries :], keys


def _causal_mask_example(inputs: CausalMaskInputs) -> Iterator[Step]:
    yield from _mask_steps(theory.causal_mask(inputs.queries, inputs.keys), *_causal_labels(inputs))


def _causal_mask_picture(inputs: CausalMaskInputs) -> HeatMap:
    weights = _even_weights(theory.causal_mask(inputs.queries, inputs.keys))
    axes = tr("asking", "发问"), tr("answering", "应答")
    return HeatMap(tr("even attention under the mask", "掩码下的均匀注意力"), weights, *_causal_labels(inputs), *axes)


class DocumentMaskInputs(Settings):
    """Tokens of several documents in one row."""

    tokens: tuple[str, ...] = setting(("the", "cat", "sat", "hello", "world"), "tokens", "词元", min_length=1)
    documents: tuple[int, ...] = setting((0, 0, 0, 1, 1), "number of each one's document", "各词元所属文档的编号")

    @model_validator(mode="after")
    def _one_document_each(self) -> Self:
        require_length("documents", self.documents, len(self.tokens))
        return self


def document_mask() -> Topic[DocumentMaskInputs]:
    """Packed documents do not see one another."""
    return Topic(
        name="document-mask",
        family="attention",
        title=tr("The document mask", "文档掩码"),
        idea=(
            tr(
                "Short documents are packed into one row so that no place is wasted on padding.",
                "短文档拼入同一行，以免位置浪费在填充上。",
            ),
            tr(
                "The mask lets a token see earlier tokens of its own document only.",
                "掩码只许词元看见本文档中靠前的词元。",
            ),
            tr(
                "The result is what each document alone would give, at the speed of full rows.",
                "结果与各文档单独计算相同，速度却是满行的速度。",
            ),
        ),
        formula=(r"M_{t,s} = 1 \text{ if } s \le t \text{ and } d_s = d_t,\ \text{else } 0",),
        symbols={
            "M": tr("mask, (T, T); 1 where a token may look", "掩码，(T, T)；可看之处为 1"),
            "d_t": tr("number of the document of token t", "词元 t 所属文档的编号"),
        },
        inputs=DocumentMaskInputs,
        example=_document_mask_example,
        picture=_document_mask_picture,
        pitfalls=(
            tr(
                "Positions must start again with each document, or learned positions see a text that starts late.",
                "位置也须随每篇文档重新计数，否则可学习的位置会以为文本从半途开始。",
            ),
            tr(
                "The last token of one document must not be trained to predict the first of the next, unless a "
                "separator stands between them.",
                "不应训练一篇文档的末词元去预测下一篇的首词元，除非其间有分隔符。",
            ),
            tr(
                "Two documents with the same number are one to the mask, even with another between them.",
                "编号相同的两篇在掩码看来是同一篇，即使其间隔着别的文档。",
            ),
        ),
        papers=("Krell et al. 2021, Efficient sequence packing without cross-contamination",),
        theory=(theory.document_mask, theory.causal_mask),
        practice=("zhixing.nn.attention:document_mask", "zhixing.data.windows:TokenWindows"),
        related=("causal-mask",),
    )


def _document_mask_example(inputs: DocumentMaskInputs) -> Iterator[Step]:
    ids = np.array(inputs.documents)
    same = (ids[:, None] == ids).astype(float)
    yield Step(tr("same document", "同一文档"), same, "d_s = d_t", inputs.tokens, inputs.tokens)
    yield from _mask_steps(theory.document_mask(ids), inputs.tokens, inputs.tokens)


def _document_mask_picture(inputs: DocumentMaskInputs) -> HeatMap:
    weights = _even_weights(theory.document_mask(np.array(inputs.documents)))
    axes = tr("asking", "发问"), tr("answering", "应答")
    return HeatMap(
        tr("even attention under the mask", "掩码下的均匀注意力"), weights, inputs.tokens, inputs.tokens, *axes
    )


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (causal_mask, document_mask)
