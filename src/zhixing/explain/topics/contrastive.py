"""Topics of learning from pairs: InfoNCE and the triplet loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator

from zhixing.config import Settings, setting
from zhixing.explain.pictures import HeatMap, Lines
from zhixing.explain.topic import Step, Topic
from zhixing.explain.topics.inputs import Matrix, Vector, numbered, require, require_length, require_shape
from zhixing.language import tr
from zhixing.theory import contrastive_losses as theory
from zhixing.theory.networks import softmax


class ContrastiveInputs(Settings):
    """A few pairs of vectors, and a temperature."""

    queries: Matrix = setting(((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), "one vector a row", "每行一个向量", min_length=2)
    keys: Matrix = setting(((2.0, 0.2), (0.3, 1.0), (0.5, 1.0)), "row i belongs to query i", "第 i 行与第 i 个查询成对")
    temperature: float = setting(0.5, "below 1 sharpens", "小于 1 变尖", gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_shape("queries", self.queries, len(self.queries), len(self.queries[0]))
        require_shape("keys", self.keys, len(self.queries), len(self.queries[0]))
        full = all(any(row) for row in (*self.queries, *self.keys))
        require(full, "no vector may be zero: it has no direction", "向量不得为零：零向量没有方向")
        return self


def contrastive() -> Topic[ContrastiveInputs]:
    """InfoNCE."""
    return Topic(
        name="contrastive",
        family="losses",
        title=tr("Contrastive learning: InfoNCE", "对比学习：InfoNCE"),
        idea=(
            tr(
                "How does a model learn which texts mean the same, without anyone saying how alike they are?",
                "没有人标注相似程度，模型如何学会哪些文本意思相同？",
            ),
            tr(
                "Give it pairs, and let every query find its own key among all the keys of the batch.",
                "给它成对的样本，让每个查询在整批的键中找出自己的那一个。",
            ),
            tr(
                "That is classification by cosine similarity: pairs are pulled together, all others pushed apart.",
                "这就是以余弦相似度做分类：成对者相吸，其余相斥。",
            ),
        ),
        formula=(
            r"s_{ij} = \frac{q_i \cdot k_j}{\tau \|q_i\| \|k_j\|}",
            r"L = -\frac{1}{N} \sum_{i=1}^{N} \log \frac{\exp(s_{ii})}{\sum_{j=1}^{N} \exp(s_{ij})}",
        ),
        symbols={
            "q_i": tr("query i, (E,); queries are (N, E)", "第 i 个查询，(E,)；全部为 (N, E)"),
            "k_j": tr("key j, (E,)", "第 j 个键，(E,)"),
            r"\tau": tr("temperature, above 0", "温度，大于 0"),
            "N": tr("pairs in the batch", "一批中的对数"),
        },
        inputs=ContrastiveInputs,
        example=_contrastive_example,
        picture=_contrastive_picture,
        pitfalls=(
            tr(
                "Two texts of a batch that mean the same are false negatives; duplicates must be removed first.",
                "同批中意思相同的两段文本是假负例；须先去重。",
            ),
            tr(
                "The negatives are the batch: a small one makes an easy task; losses of different N do not compare.",
                "负例来自同批：批小则任务易，N 不同的损失不可比较。",
            ),
            tr(
                "Without normalising, the loss falls by making vectors longer instead of better.",
                "若不归一化，只要把向量变长损失就会下降，而并未学好。",
            ),
        ),
        papers=(
            "van den Oord, Li & Vinyals 2018, Representation learning with contrastive predictive coding, equation 4",
            "Chen et al. 2020, A simple framework for contrastive learning (SimCLR), equation 1",
        ),
        theory=(theory.info_nce, theory.info_nce_gradient, theory.similarities, theory.unit),
        practice=("zhixing.nn.contrastive_losses:info_nce_sum",),
        related=("triplet", "cross-entropy", "temperature"),
    )


def _contrastive_example(inputs: ContrastiveInputs) -> Iterator[Step]:
    query, key = np.array(inputs.queries), np.array(inputs.keys)
    rows, columns = numbered("q", len(query)), numbered("k", len(key))
    cosine = theory.similarities(query, key, 1.0)
    yield Step(tr("cosine of every query with every key", "每个查询与每个键的余弦"), cosine, rows=rows, columns=columns)
    s = theory.similarities(query, key, inputs.temperature)
    yield Step(tr("divided by the temperature", "除以温度"), s, "s_{ij}", rows=rows, columns=columns)
    yield Step(tr("softmax along each row", "逐行取 softmax"), softmax(s), rows=rows, columns=columns)
    own = -np.log(np.diag(softmax(s)))
    yield Step(tr("minus the logarithm of its own key", "自身之键的负对数"), own, columns=rows)
    loss = theory.info_nce(query, key, inputs.temperature)
    yield Step(tr("their mean: the loss, in nats", "取均值得损失，单位奈特"), loss, "L")
    gradient = theory.info_nce_gradient(query, key, inputs.temperature)[0]
    yield Step(tr("the queries' gradient: it only turns them", "查询的梯度：只改变方向"), gradient, rows=rows)


def _contrastive_picture(inputs: ContrastiveInputs) -> HeatMap:
    s = theory.similarities(np.array(inputs.queries), np.array(inputs.keys), inputs.temperature)
    title = tr("which key each query would choose; the diagonal is right", "各查询会选哪个键；对角线为正确者")
    return HeatMap(title, softmax(s), numbered("q", len(s)), numbered("k", len(s)))


class TripletInputs(Settings):
    """An anchor, something like it, something unlike it."""

    anchor: Vector = setting((0.0, 0.0), "the vector compared", "被比较的向量", min_length=1)
    positive: Vector = setting((1.0, 0.0), "one that should be near", "应当靠近者")
    negative: Vector = setting((0.0, 1.2), "one that should be far", "应当远离者")
    margin: float = setting(1.0, "by how much farther, in squared distance", "应远出多少（平方距离）", ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        require_length("positive", self.positive, len(self.anchor))
        require_length("negative", self.negative, len(self.anchor))
        return self


def triplet() -> Topic[TripletInputs]:
    """The triplet loss."""
    return Topic(
        name="triplet",
        family="losses",
        title=tr("Triplet loss", "三元组损失"),
        idea=(
            tr(
                "Vectors of like things should be nearer than vectors of unlike things.",
                "相似之物的向量应比不相似者更近。",
            ),
            tr(
                "Take an anchor, a positive and a negative; ask that the negative be farther by a margin.",
                "取锚点、正例与负例，要求负例比正例远出一个间隔。",
            ),
            tr(
                "Once it is, the loss and its gradient are zero: only violated triplets teach.",
                "一旦满足，损失与梯度皆为零：只有违反者才提供学习信号。",
            ),
        ),
        formula=(r"L = \frac{1}{N} \sum_{i=1}^{N} \max(0, \|a_i - p_i\|^2 - \|a_i - n_i\|^2 + m)",),
        symbols={
            "a_i": tr("anchor, (E,)", "锚点，(E,)"),
            "p_i": tr("positive, (E,)", "正例，(E,)"),
            "n_i": tr("negative, (E,)", "负例，(E,)"),
            "m": tr("margin, in squared distance", "间隔，单位为平方距离"),
        },
        inputs=TripletInputs,
        example=_triplet_example,
        picture=_triplet_picture,
        pitfalls=(
            tr(
                "Most random triplets are satisfied and teach nothing: choose hard ones, not mislabelled ones.",
                "随机三元组大多已满足，学不到东西：应挑选困难者，但要避开误标者。",
            ),
            tr(
                "The paper squares the distances; some libraries do not, and the same margin means something else.",
                "原文用平方距离，有些库不平方；同一间隔的含义因此不同。",
            ),
            tr(
                "All vectors equal gives the loss m: a plateau that training can get stuck on.",
                "所有向量相同时损失恰为 m：训练可能停在这一平台。",
            ),
        ),
        papers=("Schroff, Kalenichenko & Philbin 2015, FaceNet, section 3.1",),
        theory=(theory.triplet_loss, theory.triplet_loss_gradient),
        practice=("zhixing.nn.contrastive_losses:triplet_sum",),
        related=("contrastive",),
    )


def _triplet_example(inputs: TripletInputs) -> Iterator[Step]:
    a, p, n = (np.array([each]) for each in (inputs.anchor, inputs.positive, inputs.negative))
    near, far = float(((a - p) ** 2).sum()), float(((a - n) ** 2).sum())
    yield Step(tr("squared distance to the positive", "到正例的平方距离"), near, r"\|a - p\|^2")
    yield Step(tr("squared distance to the negative", "到负例的平方距离"), far, r"\|a - n\|^2")
    yield Step(tr("difference plus margin", "两者之差加间隔"), near - far + inputs.margin)
    yield Step(tr("not below zero: the loss", "不低于零：损失"), theory.triplet_loss(a, p, n, inputs.margin), "L")
    gradients = np.concatenate(theory.triplet_loss_gradient(a, p, n, inputs.margin))
    rows = (tr("anchor", "锚点"), tr("positive", "正例"), tr("negative", "负例"))
    yield Step(tr("gradients: each moves against its own", "梯度：各自沿其反方向移动"), gradients, rows=rows)


def _triplet_picture(inputs: TripletInputs) -> Lines:
    a, p = np.array([inputs.anchor]), np.array([inputs.positive])
    near = float(((a - p) ** 2).sum())
    distance = np.linspace(0.0, max(2.0 * (near + inputs.margin), 1.0), 101)
    away = np.zeros((101, len(inputs.anchor)))
    away[:, 0] = np.sqrt(distance)
    losses = [theory.triplet_loss(a, p, a + step, inputs.margin) for step in away]
    curve = {tr("loss", "损失"): np.array(losses)}
    return Lines(tr("the loss as the negative moves away", "负例远离时的损失"), distance, curve, r"‖a − n‖²", "L")


TOPICS: tuple[Callable[[], Topic[Any]], ...] = (contrastive, triplet)
